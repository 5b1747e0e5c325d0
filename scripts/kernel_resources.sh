#!/usr/bin/env bash
# What each kernel takes of a multiprocessor, for each architecture: registers, stack, spills, shared memory of its own.
# Fails where a hot kernel, one that passes over votes, spills registers.
#   bash scripts/kernel_resources.sh [80 90 ...]      architectures; default 80 90
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
architectures=("$@")
[[ $# -gt 0 ]] || architectures=(80 90)
flags=$(sed -n 's/.*PRIVATE \(--prec-div[^)]*\)).*/\1/p' kernels/CMakeLists.txt)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

for architecture in "${architectures[@]}"; do
  # shellcheck disable=SC2086  # several flags
  nvcc -std=c++20 -arch="sm_$architecture" -cubin -Iinclude -Isrc -Ikernels $flags -Xptxas=-v \
    -o "$folder/cubin" kernels/cuda_engine.cu 2>&1 | c++filt >"$folder/$architecture.log"
done
awk '
  FNR == 1 { split(FILENAME, part, "/"); architecture = part[length(part)]; sub(".log", "", architecture) }
  /Compiling entry function/ {
    name = $0
    sub(/.*run_block<(voxpop::ForEach<)?voxpop::/, "", name)
    each = /ForEach/
    sub(/>\(.*/, "", name)
    if (each) sub(/ ?>$/, "", name)
  }
  /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
  /Used [0-9]+ registers/ {
    registers = $0; sub(/.*Used /, "", registers); sub(/ .*/, "", registers)
    if (!header++) printf "%-5s %-26s %9s %6s %14s\n", "sm", "kernel", "registers", "stack", "spills st/ld"
    printf "%-5s %-26s %9d %6d %7d %6d\n", architecture, name, registers, stack, stores, loads
    if (name ~ /Pass/ && stores + loads > 0) bad++
    if (name ~ /Pass/) hot++
  }
  END {
    if (!hot) { print "no hot kernel found: has its name changed?"; exit 1 }
    if (bad) { print bad " hot kernels spill registers"; exit 1 }
  }' "$folder"/*.log
