#!/usr/bin/env bash
# From a bare Debian 12 to a first fit: installs what is missing, builds voxpop, simulates a million votes and fits them.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/quickstart

run() {
  echo
  echo "\$ $*"
  "$@"
}

bash "$root/scripts/install_dependencies.sh"
cmake -S "$root" --preset release -B "$build" -DVOXPOP_TESTS=OFF -DVOXPOP_BENCH=OFF
cmake --build "$build" --target voxpop -j"$(nproc)"

mkdir -p "$root/quickstart"
cd "$root/quickstart"
PATH=$build:$PATH
run voxpop simulate votes.h5 --seed 1
run voxpop check votes.h5
run voxpop fit votes.h5 -o fit.h5
run voxpop info fit.h5
