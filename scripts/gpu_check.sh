#!/usr/bin/env bash
# On a machine with a GPU: device tests, compute-sanitizer, benchmarks; one JSON and one table. From a bundle that
# scripts/gpu_bundle.sh made, which this script lies in; needs CUDA's driver, cuSOLVER for components of
# more than 32 items, and compute-sanitizer for that part.
#   bash gpu_check.sh [RESULTS]                  folder for results; default ./results
#   VOXPOP_CHECK="tests sanitizer bench"         parts to run, in this order
#   VOXPOP_VOTES="1000000 10000000 100000000"    sizes of the benchmark
# Exit codes: 0 all passed; 1 something failed; 6 no GPU can be used.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
results=${1:-results}
parts=${VOXPOP_CHECK:-tests sanitizer bench}
read -ra votes <<<"${VOXPOP_VOTES:-1000000 10000000 100000000}"
rm -f "$results/bench.json"
mkdir -p "$results" && results=$(cd "$results" && pwd) || exit 1

# How a program of the bundle runs: with the machine's own C library where that is new enough, else with ours. cuSOLVER is
# the CUDA toolkit's.
libraries=$root/lib:/usr/local/cuda/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
start=(env "LD_LIBRARY_PATH=$libraries")
if ! "${start[@]}" "$root/bin/voxpop" devices >/dev/null 2>&1; then
  start=("$root"/loader/ld-linux*.so.* --library-path "$root/loader:$libraries")
  if ! "${start[@]}" "$root/bin/voxpop" devices >/dev/null; then
    echo "gpu_check.sh: $root/bin/voxpop does not run here" >&2
    exit 1
  fi
fi

"${start[@]}" "$root/bin/voxpop" devices | tee "$results/devices.txt"
if ! grep -q '^cuda:0' "$results/devices.txt" || grep -q '^cuda:0.*NOT USABLE' "$results/devices.txt"; then
  echo "gpu_check.sh: no GPU can be used here; nothing was measured" >&2
  exit 6
fi

failed=0 steps=""
step() {  # step NAME COMMAND...: runs it, keeps what it prints, notes how it ended
  local name=$1 begin=$SECONDS code
  shift
  echo "== $name"
  "$@" >"$results/$name.txt" 2>&1
  code=$?
  tail -n 4 "$results/$name.txt"
  echo "   exit code $code, $((SECONDS - begin)) s"
  [[ $code -eq 0 ]] || failed=1
  steps+="${steps:+,}{\"step\":\"$name\",\"exit_code\":$code,\"seconds\":$((SECONDS - begin))}"
}

for part in $parts; do
  case $part in
    tests) step tests "${start[@]}" "$root/bin/voxpop_tests" '--gtest_filter=CudaDevice0.*' ;;
    sanitizer)
      sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
      for tool in memcheck racecheck initcheck; do
        step "$tool" timeout 600 "$sanitizer" --tool "$tool" --error-exitcode 1 --target-processes all "${start[@]}" "$root/bin/voxpop_tests" \
          '--gtest_filter=CudaDevice0.one_vote:CudaDevice0.components_of_every_small_size:CudaDevice0.groups:CudaDevice0.slabs_of_small_components'
      done
      ;;
    bench)
      sizes=()
      for count in "${votes[@]}"; do sizes+=(--votes "$count"); done
      step bench "${start[@]}" "$root/bin/voxpop_gpu_bench" "${sizes[@]}" --json "$results/bench.json"
      cat "$results/bench.txt"
      ;;
    *)
      echo "gpu_check.sh: unknown part '$part' (tests, sanitizer, bench)" >&2
      exit 2
      ;;
  esac
done

bench=null
[[ -s $results/bench.json ]] && bench=$(<"$results/bench.json")
printf '{"commit":"%s","steps":[%s],"bench":%s}\n' "$(<"$root/commit")" "$steps" "$bench" >"$results/gpu.json"
echo "wrote $results/gpu.json; bench.txt is the table"
exit "$failed"
