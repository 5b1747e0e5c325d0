#!/usr/bin/env bash
# Builds the committed source twice, in two folders and with different numbers of jobs, and compares the programs byte by
# byte. Takes twice as long as a build.
#   bash scripts/reproducible.sh [CMake options]    e.g. -DVOXPOP_CUDA=OFF
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/install_dependencies.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for build in first the-second; do
  mkdir "$folder/$build"
  git archive HEAD | tar -x -C "$folder/$build"
  cmake -S "$folder/$build" -B "$folder/$build/out/$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DVOXPOP_TESTS=OFF -DVOXPOP_BENCH=OFF \
    "$@" >/dev/null
  jobs=$(nproc)
  [[ $build == first ]] || jobs=$((jobs + 1))
  env CCACHE_DISABLE=1 cmake --build "$folder/$build/out/$build" -j"$jobs" --target voxpop >/dev/null
  sha256sum "$folder/$build/out/$build/voxpop" | cut -d' ' -f1 | tee "$folder/$build.sha256"
done
cmp "$folder/first.sha256" "$folder/the-second.sha256" || { echo "reproducible.sh: the two builds differ" >&2; exit 1; }
echo "both builds gave the same bytes"
