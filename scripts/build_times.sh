#!/usr/bin/env bash
# The N files that took longest to build, with seconds by the clock, from ninja's log: of use after a build of everything, on a machine
# that did nothing else.
#   bash scripts/build_times.sh [BUILD_FOLDER [N]]
set -euo pipefail

log=${1:-build/test}/.ninja_log
[[ -r $log ]] || { echo "build_times.sh: $log: cannot be read; name the build folder" >&2; exit 2; }
# Columns: begin and end in milliseconds, a time stamp, the file. Later lines are of later builds.
awk -F'\t' '/^[0-9]/ { took[$4] = ($2 - $1) / 1000 } END { for (file in took) printf "%8.1f  %s\n", took[file], file }' "$log" |
  sort -rn | sed -n "1,${2:-10}p"
