#!/usr/bin/env bash
# Builds with coverage counters, runs every test, and prints which share of the lines of src/ and include/ they reach. Takes
# half an hour on two cores. Pages, line by line: build/coverage/pages/index.html
#   bash scripts/coverage.sh [ctest arguments]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/install_dependencies.sh --python
# shellcheck source=/dev/null
source .venv/bin/activate
python -m pip install --quiet --disable-pip-version-check --no-deps ./python
python -m pip install --quiet --disable-pip-version-check gcovr

build=build/coverage
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DVOXPOP_CUDA=OFF -DVOXPOP_TESTS=ON -DVOXPOP_BENCH=OFF \
  -DCMAKE_CXX_FLAGS="--coverage -fprofile-update=atomic -DVOXPOP_COVERAGE=1" -DCMAKE_CXX_FLAGS_DEBUG="-O1"
cmake --build "$build" -j"$(nproc)"
find "$build" -name '*.gcda' -delete
# A test that fails here fails in test.sh, too; timeouts are not for so slow a build.
ctest --test-dir "$build" --no-tests=error -j"$(nproc)" --timeout 1800 --output-on-failure "$@" || true
mkdir -p "$build/pages"
gcovr --root . --filter src/ --filter include/ --gcov-ignore-parse-errors=negative_hits.warn --merge-mode-functions=separate \
  --sort uncovered-percent --txt "$build/coverage.txt" --html-details "$build/pages/index.html" --print-summary "$build"
head -40 "$build/coverage.txt"
