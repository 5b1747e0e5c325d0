#!/usr/bin/env bash
# Builds the libraries that the Python wheel has in it, and takes the glibc that it is linked against: docs/packaging.md.
#   bash scripts/wheel_dependencies.sh [FOLDER]      default build/wheel-dependencies; there lib, include, licenses, sysroot
# The sources are those of Debian 12. Its own builds do not serve: it has no static fmt, simdjson or oneTBB, and its HDF5
# needs libcurl and szip. With apt they come by apt, else (in a manylinux image) from snapshot.debian.org.
# What is there already is not done again. VOXPOP_SYSROOT=none: no older glibc; the wheel then needs that of this machine.
# Exit code 77: something cannot be downloaded, or a tool is missing.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
script=$(realpath "${BASH_SOURCE[0]}")
folder=$(realpath -m "${1:-build/wheel-dependencies}")
# What is built, and how, is in this file: after a change to it everything is built again.
wanted=$(sha256sum <"$script")${VOXPOP_SYSROOT:-}
[[ -f $folder/complete && $(<"$folder/complete") == "$wanted" ]] && exit 0

fail() {  # fail CODE TEXT
  echo "wheel_dependencies.sh: $2" >&2
  exit "$1"
}
for tool in cmake ninja gcc g++ ar xz bzip2 sha256sum; do
  command -v "$tool" >/dev/null || fail 77 "no $tool here (Debian: bash scripts/install_dependencies.sh)"
done
if [[ ! -f $folder/begun || $(<"$folder/begun") != "$wanted" ]]; then rm -rf "$folder"; fi
mkdir -p "$folder"/{apt/lists/partial,apt/cache,downloads,sources,objects,lib/pkgconfig,include,licenses}
echo "$wanted" >"$folder/begun"

# apt with lists of its own: this machine's stay as they are, and need not have source packages.
debian=http://deb.debian.org/debian
key=signed-by=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb-src [$key] $debian bookworm main" >"$folder/apt/sources.list"
echo "deb [$key arch=amd64] $debian bullseye main" >"$folder/apt/old.list"
apt() {  # apt LIST ARGUMENTS...
  local list=$1
  shift
  apt-get -qq -o Dir::Etc::SourceList="$folder/apt/$list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$folder/apt/lists" \
    -o Dir::Cache="$folder/apt/cache" -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 "$@"
}

# Name of the folder, file in Debian's pool, its SHA-256.
sources="
hdf5       main/h/hdf5/hdf5_1.10.8+repack1.orig.tar.gz          7b38e58ff83b13fd8959a90b13bf896bc318ba096c940ab0847abf3ad41a0b31
onetbb     main/o/onetbb/onetbb_2021.8.0.orig.tar.xz            7e9111b8bb59c8800bf6d0b06afe7b0891937443d2dae1ee1101c8e2ede6a7ef
fmtlib     main/f/fmtlib/fmtlib_9.1.0+ds1.orig.tar.gz           84ce1c2d0be3a9863935137969dcec6970125caac032f82474640bfc81463583
simdjson   main/s/simdjson/simdjson_3.0.1.orig.tar.gz           156b1bc5eb0561b2bd166b46d191fd3d95a3e709cc63761477d3b7aec2b6e9ed
xxhash     main/x/xxhash/xxhash_0.8.1.orig.tar.gz               3bb6b7d6f30c591dd65aaaff1c8b7a5b94d81687998ca9400082c739a690436c
libdeflate main/libd/libdeflate/libdeflate_1.14.orig.tar.gz     89e7df898c37c3427b0f39aadcf733731321a278771d20fc553f92da8d4808ac
utf8proc   main/u/utf8proc/utf8proc_2.8.0.orig.tar.gz           a0a60a79fe6f6d54e7d411facbfcc867a6e198608f2cd992490e46f04b1bcecc
libcsv     main/libc/libcsv/libcsv_3.0.3+dfsg.orig.tar.gz       06fddfaca720a4be7603bad63eb1833bca5b6c5a69b42b1c518a02cda2a73aef
zlib       main/z/zlib/zlib_1.2.13.dfsg.orig.tar.bz2            71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1
"
# Headers, which Debian has installed; elsewhere they are taken out of its packages. Library, package, file, SHA-256.
headers="
Eigen         libeigen3-dev      main/e/eigen3/libeigen3-dev_3.4.0-4_all.deb                1a167bb381acb90c1d8450a8f3e66a09d216dbc64b33ac8a082a0912513ef939
CLI11         libcli11-dev       main/c/cli11/libcli11-dev_2.1.2+ds-1_all.deb               f1f6ee9ec053e0e0bcec47345e241b6a8ee006321248b4329e9ce88d2b4b64a8
nlohmann-json nlohmann-json3-dev main/n/nlohmann-json3/nlohmann-json3-dev_3.11.2-2_all.deb  ec57940def6b6186c30be0e0ee81d1e58f86d11a54a145b28686a1e3e4aae801
Chart.js      libjs-chart.js     main/n/node-chart.js/libjs-chart.js_3.9.1+~0.2.1-2_all.deb 16456ab02ad662f480ae3f4d0769a069f69133d0a957821925bbdd648ae5390a
"

download() {  # download PATH SHA256: to downloads/
  local file=$folder/downloads/${1##*/}
  if [[ ! -f $file ]]; then
    curl -fsSL --retry 3 -o "$file.part" "https://snapshot.debian.org/archive/debian/20250520T000000Z/pool/$1" ||
      fail 77 "${1##*/} cannot be downloaded"
    mv "$file.part" "$file"
  fi
  echo "$2  $file" | sha256sum --check --quiet || fail 1 "$file is not what it should be"
}

have_apt=no
if command -v apt-get >/dev/null; then have_apt=yes; fi
if [[ $have_apt == yes && ! -f $folder/downloads/complete ]]; then
  apt sources.list update || fail 77 "Debian's list of sources cannot be downloaded"
  # shellcheck disable=SC2046  # several packages
  (cd "$folder/downloads" && apt sources.list source --download-only $(awk 'NF { print $1 }' <<<"$sources") >/dev/null) ||
    fail 77 "Debian's sources cannot be downloaded"
  touch "$folder/downloads/complete"
fi
while read -r name path sum; do
  [[ -n $name ]] || continue
  download "$path" "$sum"
  mkdir -p "$folder/sources/$name"
  tar -C "$folder/sources/$name" --strip-components=1 -xf "$folder/downloads/${path##*/}"
done <<<"$sources"

licence() {  # licence NAME FILE...: named so in the wheel; files that are not there are left out
  local name=$1 file
  shift
  for file in "$@"; do
    if [[ -f $file ]]; then cat "$file"; fi
  done >"$folder/licenses/$name.txt"
  [[ -s $folder/licenses/$name.txt ]] || fail 1 "no licence of $name found"
}
while read -r name package path sum; do
  [[ -n $name ]] || continue
  root=
  if [[ ! -f /usr/share/doc/$package/copyright ]]; then
    download "$path" "$sum"
    root=$folder/debian
    mkdir -p "$root"
    (cd "$root" && ar p "$folder/downloads/${path##*/}" data.tar.xz | tar -xJ)
    # Where CMake looks for them: of Chart.js one file.
    if [[ $name == Chart.js ]]; then
      cp "$root/usr/share/javascript/chart.js/chart.min.js" "$folder/include"
    else
      cp -r "$root/usr/include/." "$folder/include"
      if [[ -d $root/usr/share/cmake ]]; then mkdir -p "$folder/share" && cp -r "$root/usr/share/cmake" "$folder/share"; fi
      if [[ -d $root/usr/share/eigen3 ]]; then mkdir -p "$folder/share" && cp -r "$root/usr/share/eigen3" "$folder/share"; fi
    fi
  fi
  more=
  if [[ $name == Eigen ]]; then more=/usr/share/common-licenses/MPL-2.0; fi
  licence "$name" "$root/usr/share/doc/$package/copyright" $more
done <<<"$headers"
# Of libstdc++, with the exception that lets anybody link it; by Debian's path, then by Red Hat's.
licence GCC-runtime /usr/share/doc/libstdc++6/copyright /usr/share/licenses/libgcc/COPYING3 /usr/share/licenses/libgcc/COPYING.RUNTIME

flags="-fPIC -ffunction-sections -fdata-sections -fstack-protector-strong -fcf-protection -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
  -ffile-prefix-map=$folder=."
flags=${flags//$'\n'/}

compile() {  # compile LIBRARY HEADER SOURCES... -- OPTIONS...: the static library of a few C files; in their folder
  local library=$1 header=$2 files=()
  shift 2
  while [[ $1 != -- ]]; do
    files+=("$1")
    shift
  done
  shift
  mkdir -p "$folder/objects/$library"
  local source
  for source in "${files[@]}"; do
    # shellcheck disable=SC2086  # several flags
    gcc -O3 $flags "$@" -c "$source" -o "$folder/objects/$library/$(tr / _ <<<"${source#./}").o"
  done
  rm -f "$folder/lib/lib$library.a"
  ar crs "$folder/lib/lib$library.a" "$folder/objects/$library"/*.o
  cp "$header" "$folder/include"
  cat >"$folder/lib/pkgconfig/lib$library.pc" <<END
Name: lib$library
Description: static, for the wheel of voxpop
Version: 1
Cflags: -I$folder/include
Libs: -L$folder/lib -l$library
END
}
(cd "$folder/sources/xxhash" && compile xxhash xxhash.h xxhash.c --)
(cd "$folder/sources/utf8proc" && compile utf8proc utf8proc.h utf8proc.c -- -DUTF8PROC_STATIC)
(cd "$folder/sources/libdeflate" && compile deflate libdeflate.h lib/*.c lib/x86/*.c lib/arm/*.c -- -I.)
(cd "$folder/sources/zlib" && compile z zlib.h ./*.c -- -DHAVE_UNISTD_H -D_LARGEFILE64_SOURCE=1 && cp zconf.h "$folder/include")
# The LGPL lets whoever has the wheel replace this one: it stays a shared library.
# shellcheck disable=SC2086  # several flags
gcc -O2 $flags -shared -Wl,-soname,libcsv.so.3 -o "$folder/lib/libcsv.so.3" "$folder/sources/libcsv/libcsv.c"
ln -sf libcsv.so.3 "$folder/lib/libcsv.so"
cp "$folder/sources/libcsv/csv.h" "$folder/include"

build() {  # build NAME CMAKE_OPTIONS...
  local name=$1 log=$folder/$1.log
  shift
  [[ ! -f $folder/build/$name/installed ]] || return 0
  mkdir -p "$folder/build/$name"
  # From that folder: a check of HDF5's writes to the current one.
  (
    cd "$folder/build/$name" &&
      cmake -S "$folder/sources/$name" -B . -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$folder" -DCMAKE_INSTALL_LIBDIR=lib \
        -DCMAKE_PREFIX_PATH="$folder" -DBUILD_SHARED_LIBS=OFF -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DBUILD_TESTING=OFF \
        -DCMAKE_C_FLAGS="$flags" -DCMAKE_CXX_FLAGS="$flags" "$@" &&
      cmake --build . -j"$(nproc)" &&
      cmake --install . &&
      touch installed
  ) >"$log" 2>&1 || {
    tail -30 "$log" >&2
    fail 1 "$name cannot be built; $log has the rest"
  }
}
build fmtlib -DFMT_DOC=OFF -DFMT_TEST=OFF
build simdjson -DSIMDJSON_DEVELOPER_MODE=OFF
build onetbb -DTBB_TEST=OFF -DTBB_STRICT=OFF -DTBBMALLOC_BUILD=OFF -DTBB_DISABLE_HWLOC_AUTOMATIC_SEARCH=ON
# As Debian configures it, so that both read and write alike; of the filters deflate alone.
build hdf5 -DDEFAULT_API_VERSION=v18 -DALLOW_UNSUPPORTED=ON -DHDF5_ENABLE_THREADSAFE=ON -DHDF5_ENABLE_Z_LIB_SUPPORT=ON -DHDF5_ENABLE_SZIP_SUPPORT=OFF -DHDF5_ENABLE_EMBEDDED_LIBINFO=OFF \
  -DHDF5_BUILD_HL_LIB=OFF -DHDF5_BUILD_CPP_LIB=OFF -DHDF5_BUILD_FORTRAN=OFF -DHDF5_BUILD_TOOLS=OFF -DHDF5_BUILD_EXAMPLES=OFF

cd "$folder/sources"
licence HDF5 hdf5/COPYING hdf5/COPYING_LBNL_HDF5
licence oneTBB onetbb/LICENSE.txt
licence fmt fmtlib/LICENSE.rst
licence simdjson simdjson/LICENSE
licence xxHash xxhash/LICENSE
licence libdeflate libdeflate/COPYING
licence utf8proc utf8proc/LICENSE.md
licence zlib zlib/LICENSE
licence libcsv libcsv/README libcsv/COPYING.LESSER

# An older C library to link against, so that the wheel runs on older systems: its symbols have older versions.
if [[ ${VOXPOP_SYSROOT:-} != none && $have_apt == yes && ! -d $folder/sysroot ]]; then
  if apt old.list update && (cd "$folder/downloads" && apt old.list -o Dir::State::status=/dev/null download libc6 libc6-dev libgcc-s1 >/dev/null); then
    for package in "$folder"/downloads/lib{c6,c6-dev,gcc-s1}_*.deb; do dpkg-deb -x "$package" "$folder/sysroot.part"; done
    # Links with absolute names lead out of the folder.
    find "$folder/sysroot.part" -type l -lname '/*' | while read -r link; do
      ln -sfr "$folder/sysroot.part$(readlink "$link")" "$link"
    done
    mv "$folder/sysroot.part" "$folder/sysroot"
  else
    echo "wheel_dependencies.sh: no older glibc to be had; the wheel will need the one of this machine" >&2
  fi
fi
echo "$wanted" >"$folder/complete"
