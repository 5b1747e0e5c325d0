#!/usr/bin/env bash
# From a bare Debian 12 to first labels: installs what is missing, builds voxpop, simulates a million votes, fits them, and
# writes a report and rows for a trainer.
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
run voxpop report fit.h5 -o report.html
run voxpop export fit.h5 --format jsonl -o rows.jsonl
