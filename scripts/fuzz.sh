#!/usr/bin/env bash
# Fuzzes whatever reads files, and the fit, by libFuzzer under the address and undefined-behaviour sanitizers.
#   bash scripts/fuzz.sh [SECONDS [HARNESS...]]    all of fuzz/*_*.cc unless told otherwise
# Without SECONDS, a short run of so many inputs as are listed below, drawn alike each time: a test that fails by chance says nothing
# about the change before it. (Where a reader has a second thread, or HDF5 may crash and takes a process along, nearly alike.)
# With SECONDS, others each time; they lie in build/fuzz/corpus, for the next run to go on from. Inputs that once failed are in
# fuzz/found, and are run each time; what fails now is in build/fuzz/findings. Then the exit status is 1.
set -euo pipefail

declare -A inputs=([export_texts]=30000 [fit_votes]=2000 [import_votes]=12000 [read_fit_structure]=800 [read_votes_structure]=2500 [resume_checkpoint]=1500)
short=no
[[ $# -gt 0 ]] || short=yes
seconds=${1:-20}
if [[ ! $seconds =~ ^[0-9]+$ ]]; then
  echo "fuzz.sh: '$seconds' is no number of seconds (usage: fuzz.sh [SECONDS [HARNESS...]])" >&2
  exit 2
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
harnesses=("${@:2}")
if [[ ${#harnesses[@]} -eq 0 ]]; then
  for source in fuzz/*_*.cc; do harnesses+=("$(basename "$source" .cc)"); done
fi

bash scripts/install_dependencies.sh --python --fuzz
cmake --preset fuzz
cmake --build --preset fuzz --target "${harnesses[@]}" -j"$(nproc)"

# The program itself, without sanitizers: it writes the first inputs, and must survive what the HDF5 library does not.
program=build/test/voxpop
if [[ ! -x $program ]]; then
  cmake --preset release -DVOXPOP_TESTS=OFF -DVOXPOP_BENCH=OFF
  cmake --build --preset release --target voxpop -j"$(nproc)"
  program=build/release/voxpop
fi
.venv/bin/python fuzz/seeds.py "$program" build/fuzz/seeds

TMPDIR=$(mktemp -d -p /dev/shm voxpop-fuzz.XXXXXX)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
export UBSAN_OPTIONS=print_stacktrace=1
export ASAN_OPTIONS=allocator_may_return_null=1:quarantine_size_mb=16:allocator_release_to_os_interval_ms=-1

# Whether a report's stack begins in a library that we only call.
begins_in_hdf5() {
  grep -E '^ +#[0-9]+ ' "$1" |
    grep -vE ' in (__asan_|__interceptor_|__sanitizer_|___?interceptor|malloc|calloc|realloc|free|fuzzer::|mem(cpy|move|set) |str(dup|len|cmp|cpy) |strn(dup|len|cmp|cpy) )' |
    grep -vE 'libc\.so|nptl/|sysdeps/|stdlib/abort' | head -1 | grep -qE '/lib(hdf5|z|sz|aec)[^/]*\.so'
}

# The HDF5 library crashes on some damaged files, or goes round in circles. The program's answer is what counts then.
survives() {
  local verb status
  for verb in check info; do
    status=0
    timeout 120 "$program" "$verb" "$1" >/dev/null 2>"$TMPDIR/stderr" || status=$?
    if [[ $status -ne 0 && $status -ne 3 && $status -ne 4 ]] ||
      [[ $status -ne 0 && $(grep -c '^voxpop: ' "$TMPDIR/stderr") -ne 1 ]]; then
      echo "voxpop $verb: exit $status: $(head -3 "$TMPDIR/stderr")"
      return 1
    fi
  done
}

run_harness() {
  local name=$1 corpus=build/fuzz/corpus/$1 findings=build/fuzz/findings/$1 log=build/fuzz/$1.log status=0 input
  local options=(-timeout=60 -rss_limit_mb=2500 -malloc_limit_mb=1000 -len_control=0 -max_len=4096 -artifact_prefix="$findings/")
  local alike=()
  if [[ $short == yes ]]; then
    corpus=$TMPDIR/corpus/$name
    options+=(-seed=1 -use_cmp=0 -reload=0)  # what is compared holds addresses
    if setarch -R true 2>/dev/null; then alike=(setarch -R); fi
  fi
  if [[ $short == yes && -n ${inputs[$name]:-} ]]; then
    options+=(-runs="${inputs[$name]}" -max_total_time=120)
  else
    options+=(-max_total_time="$seconds")
  fi
  rm -rf "$findings"
  mkdir -p "$corpus" "$findings"
  local earlier=()
  [[ ! -d fuzz/found/$name ]] || earlier=("fuzz/found/$name")
  if [[ $name == read_bytes ]]; then
    # Another process goes on after a crash. Leaks are the library's, in which an error jumps over what it had opened.
    options+=(-fork=1 -ignore_crashes=1 -ignore_timeouts=1 -ignore_ooms=1 -detect_leaks=0 -max_len=65536)
  fi
  "${alike[@]}" "build/fuzz/fuzz/$name" "${options[@]}" "$corpus" "build/fuzz/seeds/$name" "${earlier[@]}" >"$log" 2>&1 || status=$?
  if [[ $name == read_bytes ]]; then
    status=0
    for input in "$findings"/*; do
      [[ -s $input ]] || continue  # of none: the guard ended the process, as it should
      "build/fuzz/fuzz/$name" -detect_leaks=0 -timeout=60 -rss_limit_mb=2500 -malloc_limit_mb=1000 "$input" \
        >"$TMPDIR/report" 2>&1 || begins_in_hdf5 "$TMPDIR/report" || status=1
      survives "$input" >>"$log" || status=1
      [[ $status -eq 0 ]] && rm "$input"
      [[ $status -ne 0 ]] && cat "$TMPDIR/report" >>"$log" && break
    done
  fi
  local reached
  reached=$(grep -E '^#[0-9]+.* cov: ' "$log" | tail -1 | sed -E 's/\t/ /g; s/ (exec|oom|lim:).*//') || true
  [[ -n $reached ]] || status=${status/#0/1}  # it has not run at all
  printf '%-22s %s\n' "$name" "$reached"
  [[ $status -eq 0 ]] && return
  grep -vE '^(#|INFO|  NEW_FUNC)' "$log" | tail -40
  echo "fuzz.sh: $name fails (exit $status); the input is in $findings: build/fuzz/fuzz/$name INPUT shows it again" >&2
  return 1
}

failed=0
running=()
for name in "${harnesses[@]}"; do
  while [[ $(jobs -rp | wc -l) -ge $(nproc) ]]; do sleep 0.2; done
  run_harness "$name" &
  running+=($!)
done
for job in "${running[@]}"; do wait "$job" || failed=1; done
exit $failed
