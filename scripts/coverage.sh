#!/usr/bin/env bash
# Builds with coverage counters, runs the tests, and prints which share of the lines of src/ and include/ they reach: a line
# of a template counts once, and what only a GPU runs does not count. Takes half an hour on two cores.
# Line by line: build/coverage/pages/index.html
#   bash scripts/coverage.sh [ctest arguments]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/install_dependencies.sh --python --fuzz
# shellcheck source=/dev/null
source .venv/bin/activate
python -m pip install --quiet --disable-pip-version-check --no-deps -C wheel.cmake=false .

# Counters lie in a mapped file that all processes share: they are kept however a process ends, by _exit or a signal.
build=build/coverage profiles=$PWD/build/coverage/profiles
rm -rf "$profiles"
mkdir -p "$profiles"
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=clang-16 -DCMAKE_CXX_COMPILER=clang++-16 \
  -DCMAKE_CXX_FLAGS_DEBUG="-O1" -DVOXPOP_CUDA=OFF -DVOXPOP_BENCH=OFF \
  -DCMAKE_CXX_FLAGS="-fprofile-instr-generate=$profiles/%m%c.profraw -fcoverage-mapping -fprofile-update=atomic -mllvm -runtime-counter-relocation"
cmake --build "$build" -j"$(nproc)" --target voxpop voxpop_tests
# Tests that cannot run with counters skip themselves when VOXPOP_COVERAGE is set. SparseGraphs would take half an hour, and
# reaches what Sparse does; format runs nothing. Where tests fail, the figures are printed all the same.
failed=0
VOXPOP_COVERAGE=1 ctest --test-dir "$build" --no-tests=error -j"$(nproc)" --timeout 1800 \
  -E 'sanitized|SparseGraphs|^slurm$|^install$|^format$' --output-on-failure "$@" || failed=$?

llvm-profdata-16 merge "$profiles"/*.profraw -o "$build/coverage.profdata"
lines=("$build/voxpop" -object "$build/tests/voxpop_tests" -instr-profile "$build/coverage.profdata"
  -ignore-filename-regex '/tests/|/kernels/|^/usr/|report_assets')
llvm-cov-16 show "${lines[@]}" -path-equivalence="$build,." -format html -output-dir "$build/pages" -show-branches=count
llvm-cov-16 report "${lines[@]}" -show-region-summary=false -show-branch-summary=false | tee "$build/coverage.txt"
if [[ $failed -ne 0 ]]; then
  echo "coverage.sh: tests failed (above): lines that only they reach are missing from these figures" >&2
  exit "$failed"
fi
