#!/usr/bin/env bash
# Builds a Debian package in build/package, for the release of Debian or Ubuntu that this runs on; with the CUDA engine
# where nvcc is. Without MPI: a cluster's own is not Debian's.
#   bash scripts/package.sh
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=build/package

bash scripts/install_dependencies.sh
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DVOXPOP_DEBIAN=ON -DVOXPOP_MPI=OFF -DVOXPOP_TESTS=OFF -DVOXPOP_BENCH=OFF
cmake --build "$build" -j"$(nproc)" --target voxpop voxpop_shared
cpack --config "$build/CPackConfig.cmake" -G DEB -B "$build"
