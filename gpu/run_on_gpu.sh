#!/bin/bash
# Asks a machine with a GPU what only such a machine can answer, within ten minutes.
#
# usage: gpu/run_on_gpu.sh pack [DIR [BAZEL_FLAG...]]
#        gpu/run_on_gpu.sh [run [--pack DIR] [--golden DIR]]
#
# pack  where Strata builds: puts the test programs and benchmarks, stripped, and the shared
#       libraries that they load, into DIR (gpu-pack beside this tree), with this script. Flags of
#       bazel replace --config=opt. DIR is all that the other machine needs.
# run   where the GPU is: the conformance table of the driver, the suites of the backend over it,
#       the speed table, PyTorch and CuPy where they are installed. One failing step does not stop
#       the others. Writes what the driver answered into the golden directory (tests/gpu/golden, or
#       golden beside the pack) without host names, UUIDs or serial numbers. Without a pack it
#       builds one first.
#
# Needs bash and coreutils there, the driver of the GPU, and a C library that is not older than that
# of the building machine; nothing is installed. On the fake driver of tests/fake_cuda it runs too,
# to test this script: it says FAKE, and writes nothing.
# Exits 0 if no step failed.
set -u

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit 1
most_kib=$((60 * 1024))
run_seconds=590

# Of which programs a pack is made, as bazel names them.
programs=(
  //tests/gpu:conformance
  //tests/gpu:driver_facts
  //tests/conformance:cuda_test
  //gpu:holder_fixture
  //tests/gpu:cuda_kill_test
  //tests/gpu:cuda_soak_test
  //tests/gpu:cuda_cycles_test
  //tests/gpu:cuda_exit_test
  //tests/gpu:libpython_client.so
  //bench:descriptor_bench
  //tools:strata
)
# What the C library brings itself: a copy from another machine would not fit its loader.
of_libc='^(ld-linux.*|libc|libm|libdl|libpthread|librt|libresolv|libutil)\.so'

say() { printf '%s\n' "$*"; }
give_up() {
  say "run_on_gpu.sh: $*" >&2
  exit 1
}

# --- pack ---------------------------------------------------------------------------------------

libraries_of() {
  ldd "$@" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u | while read -r library; do
    [[ $(basename "$library") =~ $of_libc ]] || say "$library"
  done
}

# The newest version of the C library that any of the files asks for.
glibc_needed_by() {
  objdump -T "$@" 2>/dev/null | grep -o 'GLIBC_[0-9.]*' | cut -d_ -f2 | sort -uV | tail -1
}

pack() {
  local tree dir bin target file
  tree=$(dirname "$here")
  [ -f "$tree/WORKSPACE" ] || give_up "pack: $tree is no tree of Strata to build from"
  dir=${1:-$tree/gpu-pack}
  shift || true
  [ $# -gt 0 ] || set -- --config=opt
  (cd "$tree" && bazel build "$@" "${programs[@]}") || give_up "pack: the build failed"
  bin=$(cd "$tree" && bazel info "$@" bazel-bin 2>/dev/null) || give_up "pack: bazel info failed"

  rm -rf "$dir/bin" "$dir/lib" && mkdir -p "$dir/bin" "$dir/lib" || give_up "pack: no $dir"
  for target in "${programs[@]}"; do
    file=${target#//}
    install -m 0755 "$bin/${file/://}" "$dir/bin/" || give_up "pack: no $file in $bin"
  done
  libraries_of "$dir"/bin/* | xargs -r install -m 0755 -t "$dir/lib" || give_up "pack: no libraries"
  if ls "$dir/lib" | grep -q '^libcuda'; then give_up "pack: a program is linked with CUDA"; fi
  strip --strip-unneeded "$dir"/bin/* "$dir"/lib/* || give_up "pack: strip failed"
  glibc_needed_by "$dir"/bin/* "$dir"/lib/* >"$dir/glibc_needed"
  install -m 0755 "$here/run_on_gpu.sh" "$tree/tests/gpu/python_clients.py" "$dir/" ||
    give_up "pack: cannot write to $dir"

  local kib
  kib=$(du -sk "$dir" | cut -f1)
  [ "$kib" -le "$most_kib" ] || give_up "pack: $dir takes $kib KiB, and may take $most_kib"
  say "packed $(ls "$dir/bin" | wc -l) programs and $(ls "$dir/lib" | wc -l) libraries," \
    "$kib KiB, into $dir; needs glibc $(cat "$dir/glibc_needed") or newer"
}

# --- run ----------------------------------------------------------------------------------------

rows=()     # of the closing table: NAME|RESULT|SECONDS|WHAT
failures=0
started=$SECONDS

# With the pack's libraries, for its programs alone: the rest of the machine keeps its own.
packed() {
  LD_LIBRARY_PATH="$pack/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$@"
}
alone() { "$@"; }

# The one line of a log that tells most.
gist_of() {
  local log=$1
  { grep -h '^verified: ' "$log" | sed 's/^verified: //' | paste -sd, - | sed 's/,/, /g'
    grep -hE '^(All tests passed|test cases:|SKIPPED )' "$log" | tail -1
    tail -1 "$log"; } | grep -v '^$' | head -1 | cut -c1-100
}

# step NAME SECONDS COMMAND...   Exit code 77 means: skipped, and the last line says why.
step() {
  local name=$1 seconds=$2 left rc=0 result begun=$SECONDS
  shift 2
  left=$((run_seconds - (SECONDS - started)))
  local log="$logs/$name.log"
  if [ "$left" -lt 5 ]; then
    rows+=("$name|not run|0|the $run_seconds s of this run are spent")
    failures=$((failures + 1))
    return
  fi
  [ "$seconds" -le "$left" ] || seconds=$left
  say "--- $name (at most $seconds s)"
  ${run_with:-packed} timeout -k 5 "$seconds" "$@" >"$log" 2>&1 </dev/null || rc=$?
  case $rc in
    0) result=passed ;;
    77) result=skipped ;;
    124 | 137) result="out of time" ;;
    *) result="failed ($rc)" ;;
  esac
  if [[ $result != passed && $result != skipped ]]; then
    failures=$((failures + 1))
    tail -40 "$log"
  fi
  rows+=("$name|$result|$((SECONDS - begun))|$(gist_of "$log")")
}

check_glibc() {
  local needed have
  needed=$(cat "$pack/glibc_needed")
  have=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)
  [ "$(printf '%s\n' "$needed" "$have" | sort -V | tail -1)" = "$have" ] ||
    give_up "the programs need glibc $needed, and this machine has $have: pack on an older one"
}

# Sets device, driver and is_fake.
read_facts() {
  local facts
  facts=$(packed timeout -k 5 60 "$pack/bin/driver_facts" 2>&1) ||
    give_up "no GPU to ask: $facts"
  device=$(sed -n 's/^device=//p' <<<"$facts")
  driver=$(sed -n 's/^cuda=//p' <<<"$facts")
  is_fake=$(sed -n 's/^fake=//p' <<<"$facts")
  label=""
  [ "$is_fake" = no ] || label="FAKE "
  say "${label}device: $device, driver of CUDA $driver"
  [ "$is_fake" = no ] ||
    say "FAKE: this is the fake driver of the tests. What follows says nothing about hardware."
}

run_steps() {
  # Those of the fake are where it keeps its state.
  device_files=${STRATA_FAKE_CUDA_DIR:-/dev}
  # The suites take the driver that the loader finds, and stop choosing points when time is up.
  export STRATA_TEST_DRIVER=system
  export TEST_TMPDIR=$scratch
  step conformance_table 150 "$pack/bin/conformance" --devices "$device_files"
  step backend_suites 60 "$pack/bin/cuda_test"
  STRATA_TEST_SECONDS=60 step kills 90 "$pack/bin/cuda_kill_test"
  STRATA_TEST_SECONDS=15 step killed_consumers 75 "$pack/bin/cuda_soak_test"
  STRATA_TEST_SECONDS=20 step cycles 50 "$pack/bin/cuda_cycles_test"
  step process_exit 20 "$pack/bin/cuda_exit_test"
  step explain 20 "$pack/bin/strata" doctor
  step speed 120 "$pack/bin/strata" gpu bench
  step descriptor_hand_over 30 "$pack/bin/descriptor_bench"
  if command -v python3 >/dev/null; then
    # With the libraries of the machine's Python; the client finds those of the pack by itself.
    run_with=alone step pytorch_and_cupy 60 \
      python3 "$pack/python_clients.py" "$pack/bin/libpython_client.so"
  else
    rows+=("pytorch_and_cupy|skipped|0|this machine has no python3")
  fi
}

write_golden() {
  local file
  if [ "$is_fake" != no ]; then
    say "FAKE: no golden files are written."
    return
  fi
  local machine
  machine=$(tr '[:upper:] ' '[:lower:]-' <<<"$device" | tr -cd 'a-z0-9.-')-cuda$driver
  mkdir -p "$golden" || return
  file=$golden/conformance-$machine.json
  local rc=0
  packed timeout -k 5 150 "$pack/bin/conformance" --devices "$device_files" --json >"$file.new" 2>/dev/null || rc=$?
  # 1: it answers otherwise than the table says, which is what a golden file is for.
  if [ "$rc" -le 1 ]; then
    mv "$file.new" "$file" && say "golden: $file"
  else
    rm -f "$file.new"
    say "golden: the conformance table gave no JSON ($rc)" >&2
    failures=$((failures + 1))
  fi
}

closing_table() {
  say ""
  printf "%s%-22s %-12s %7s  %s\n" "$label" step result seconds what
  local row name result seconds what
  for row in "${rows[@]}"; do
    IFS='|' read -r name result seconds what <<<"$row"
    printf "%s%-22s %-12s %7s  %s\n" "$label" "$name" "$result" "$seconds" "$what"
  done
  say "${label}$failures failed, $((SECONDS - started)) s on $device, driver of CUDA $driver"
}

run() {
  pack=""
  golden=""
  while [ $# -gt 0 ]; do
    case $1 in
      --pack) pack=${2:?--pack needs a folder} ;;
      --golden) golden=${2:?--golden needs a folder} ;;
      *) give_up "run: what is $1?" ;;
    esac
    shift 2
  done
  if [ -z "$pack" ]; then
    pack=$here
    [ -d "$pack/bin" ] || pack=$(dirname "$here")/gpu-pack
    [ -d "$pack/bin" ] || pack "$pack"
  fi
  [ -d "$pack/bin" ] || give_up "run: $pack is no pack"
  pack=$(cd "$pack" && pwd)
  if [ -z "$golden" ]; then
    golden=$here/golden
    [ ! -d "$here/../tests/gpu" ] || golden=$here/../tests/gpu/golden
  fi
  scratch=$(mktemp -d)
  logs=$scratch/logs
  mkdir "$logs"
  trap 'rm -rf "$scratch"' EXIT

  check_glibc
  read_facts
  run_steps
  write_golden
  closing_table
  [ "$failures" -eq 0 ]
}

case ${1:-run} in
  pack) shift && pack "$@" ;;
  run) shift $(($# > 0)) && run "$@" ;;
  --pack | --golden) run "$@" ;;
  *) sed -n '2,/^set -u/p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//' >&2 && exit 2 ;;
esac
