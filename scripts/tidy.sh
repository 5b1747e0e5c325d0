#!/usr/bin/env bash
# clang-tidy, with the checks of .clang-tidy, over the folders of src/ that are named; without names over all of them, which takes
# some 15 minutes of one core. Exit 77 (skipped) without clang-tidy.
#   bash scripts/tidy.sh BUILD_FOLDER [FOLDER...]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
if ! command -v clang-tidy >/dev/null; then
  echo "tidy.sh: skipped: no clang-tidy (Debian: clang-tidy)" >&2
  exit 77
fi
build=${1:?name the build folder, whose compile_commands.json says how sources are compiled}
shift
build=$(realpath "$build")
cd src
folders=("$@")
[[ $# -gt 0 ]] || folders=(*/)
find "${folders[@]}" -name '*.cc' -print0 |
  xargs -0 -n 2 -P "$(nproc)" clang-tidy -p "$build" --quiet --warnings-as-errors='*' \
    --extra-arg=-Wno-unknown-warning-option  # g++'s
