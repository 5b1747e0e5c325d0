#!/usr/bin/env bash
# Builds voxpop for GPUs and packs it, with its tests, benchmarks and every shared library it needs, for a machine that
# has CUDA and nothing else. There, unpacked: bash gpu_check.sh
#   bash scripts/gpu_bundle.sh [BUNDLE.tar.gz]
# VOXPOP_ARCHITECTURES="90" builds for fewer than all architectures that nvcc knows of 80, 86, 89, 90, 100, 120.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bundle=$(realpath -m "${1:-build/voxpop-gpu.tar.gz}")
build=build/gpu

bash scripts/install_dependencies.sh
command -v nvcc >/dev/null || { echo "gpu_bundle.sh: no nvcc here: install the CUDA toolkit" >&2; exit 6; }
architectures=${VOXPOP_ARCHITECTURES:-}
if [[ -z $architectures ]]; then
  for architecture in 80 86 89 90 100 120; do
    if nvcc --list-gpu-arch | grep -qx "compute_$architecture"; then architectures+=" $architecture"; fi
  done
fi
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DVOXPOP_CUDA=ON -DVOXPOP_MPI=OFF -DVOXPOP_TESTS=ON -DVOXPOP_BENCH=ON \
  "-DCMAKE_CUDA_ARCHITECTURES=$(tr ' ' ';' <<<"${architectures# }")"
cmake --build "$build" -j"$(nproc)" --target voxpop voxpop_tests voxpop_gpu_bench

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
root=$folder/voxpop-gpu
mkdir -p "$root/bin" "$root/lib" "$root/loader"
cp "$build/voxpop" "$build/tests/voxpop_tests" "$build/bench/voxpop_gpu_bench" "$root/bin"
cp scripts/gpu_check.sh "$root"
git rev-parse HEAD >"$root/commit" 2>/dev/null || echo unknown >"$root/commit"
# The C library and its loader apart: gpu_check.sh takes them only where the machine's own are older.
for program in "$root"/bin/*; do ldd "$program"; done | awk '$2 == "=>" { print $3 } $1 ~ /ld-linux/ { print $1 }' |
  sort -u | while read -r library; do
  case $(basename "$library") in
    libc.so.* | libm.so.* | libpthread.so.* | libdl.so.* | librt.so.* | libresolv.so.* | ld-linux*)
      cp -L "$library" "$root/loader" ;;
    *) cp -L "$library" "$root/lib" ;;
  esac
done
tar -C "$folder" -czf "$bundle" voxpop-gpu
echo "wrote $bundle ($(du -h "$bundle" | cut -f1), for sm_${architectures# })"
