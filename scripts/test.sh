#!/usr/bin/env bash
# Builds everything and runs every test, then the fuzzers for a moment. With --asan also under the address and undefined-behaviour sanitizers.
set -euo pipefail

asan=no
for argument in "$@"; do
  case $argument in
    --asan) asan=yes ;;
    *)
      echo "test.sh: unknown argument '$argument' (the only option is --asan)" >&2
      exit 2
      ;;
  esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
jobs=$(nproc)

bash scripts/install_dependencies.sh --python
# shellcheck source=/dev/null
source .venv/bin/activate  # CMake and the tests find this Python

python -m pip install --quiet --disable-pip-version-check --no-deps -C wheel.cmake=false .

# What the wheel has in it, for tests/wheel_test.py; without a network that test is skipped.
wheel=$PWD/build/wheel-dependencies status=0
bash scripts/wheel_dependencies.sh "$wheel" || status=$?
case $status in
  0) ;;
  77) wheel= ;;
  *) exit "$status" ;;
esac
cmake -B build/test -G Ninja -DCMAKE_BUILD_TYPE=Release -DVOXPOP_CUDA=AUTO -DVOXPOP_TESTS=ON -DVOXPOP_BENCH=ON "-DVOXPOP_WHEEL_DEPENDENCIES=$wheel"
cmake --build build/test -j"$jobs"
# Tests of killed processes and of Slurm go by the clock: on a busy machine one may fail that passes when run again.
ctest --test-dir build/test --no-tests=error --output-on-failure -j"$jobs" --repeat until-pass:2

if [[ $asan == yes ]]; then
  cmake --preset asan
  cmake --build --preset asan -j"$jobs"
  ctest --preset asan -j"$jobs"
fi

bash scripts/fuzz.sh
