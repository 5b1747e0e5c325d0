#!/usr/bin/env bash
# Installs what voxpop is built from. Run it as often as you like: it touches no network when nothing is missing.
#   bash scripts/install_dependencies.sh            compilers and libraries
#   bash scripts/install_dependencies.sh --python   also .venv, with what the tests and comparisons import
#   bash scripts/install_dependencies.sh --fuzz     also clang, with libFuzzer
set -euo pipefail

packages=(
  g++ cmake ninja-build pkg-config
  libhdf5-dev hdf5-tools libtbb-dev libeigen3-dev libcli11-dev nlohmann-json3-dev libfmt-dev libxxhash-dev
  libsimdjson-dev libcsv-dev libdeflate-dev libisal-dev libutf8proc-dev zlib1g-dev libjs-chart.js libgtest-dev libbenchmark-dev
  python3 python3-venv bzip2 xz-utils
  dpkg-dev groff-base shellcheck
)
test_packages=(
  clang-format clang-tidy              # scripts/format.sh, a test, and scripts/tidy.sh
  doxygen                              # comments of the API, tested to make sense to it
  chromium chromium-driver             # the report's page is tested in a real browser
  python3-torch                        # voxpop.losses are tested with it
  libopenmpi-dev openmpi-bin           # fits on several ranks; a build finds MPI where it is
  slurmctld slurmd slurm-client munge  # scripts for Slurm in a real one, which the test starts itself, without systemd
)
fuzz_packages=(clang-16 libclang-rt-16-dev llvm-16)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

is_installed() {
  dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed
}

install_packages() {
  local missing=() package
  for package in "${packages[@]}"; do
    is_installed "$package" || missing+=("$package")
  done
  [[ ${#missing[@]} -eq 0 ]] && return

  local as_root=()
  [[ $(id -u) -eq 0 ]] || as_root=(sudo)
  echo "Installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

install_python() {
  local wanted stamp="$root/.venv/requirements.sha256"
  wanted=$(sha256sum <"$root/scripts/requirements.txt")
  [[ -x "$root/.venv/bin/python" && -f "$stamp" && $(<"$stamp") == "$wanted" ]] && return

  python3 -m venv "$root/.venv"
  "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$root/scripts/requirements.txt"
  echo "$wanted" >"$stamp"  # last, so that an interrupted installation is taken up again
}

python=no fuzz=no
for argument in "$@"; do
  case $argument in
    --python) python=yes ;;
    --fuzz) fuzz=yes ;;
    *)
      echo "install_dependencies.sh: unknown argument '$argument' (the options are --python and --fuzz)" >&2
      exit 2
      ;;
  esac
done
if [[ $python == yes ]]; then
  packages+=("${test_packages[@]}")
fi
if [[ $fuzz == yes ]]; then
  packages+=("${fuzz_packages[@]}")
fi

if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
  install_packages
else
  echo "No apt here. voxpop needs these packages, by their Debian names; please see that they are installed:" >&2
  echo "  ${packages[*]}" >&2
fi
if [[ $python == yes ]]; then
  install_python
fi
