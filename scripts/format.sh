#!/usr/bin/env bash
# Says which sources are not formatted as .clang-format has it, and fails if any is not; with --fix formats them.
# Exit 77 (skipped) without clang-format 14, Debian 12's: other versions break lines elsewhere.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
format=
for name in clang-format-14 clang-format; do
  if command -v "$name" >/dev/null && [[ $("$name" --version) == *"version 14."* ]]; then
    format=$name
    break
  fi
done
if [[ -z $format ]]; then
  echo "format.sh: skipped: no clang-format 14 (Debian 12: clang-format)" >&2
  exit 77
fi

case ${1:-} in
  "") how=(--dry-run -Werror) ;;
  --fix) how=(-i) ;;
  *)
    echo "format.sh: unknown argument '$1' (the only option is --fix)" >&2
    exit 2
    ;;
esac
find src include tests fuzz bench kernels \
  \( -name '*.cc' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' -o -name '*.c' \) -exec "$format" "${how[@]}" {} +
