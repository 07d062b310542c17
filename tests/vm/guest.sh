# Functions for suites that run in the guest; a suite starts with `. /guest.sh` and ends with
# `exit $failures`. The markers that these print: tests/vm/protocol.py.

failures=0

# report NAME PASS|FAIL|SKIP [REASON]
report() {
  if [ "$2" = FAIL ]; then failures=$((failures + 1)); fi
  echo "@@CASE $*"
}

# check NAME COMMAND...: a case that passes when the command succeeds. Its last line is the reason
# otherwise. Exit status 77 is a skip.
check() {
  case_name=$1
  shift
  "$@" >/run/check.out 2>&1
  case_rc=$?
  cat /run/check.out
  case $case_rc in
    0) report "$case_name" PASS ;;
    77) report "$case_name" SKIP "$(tail -n 1 /run/check.out)" ;;
    *) report "$case_name" FAIL "status $case_rc: $(tail -n 1 /run/check.out)" ;;
  esac
}

# check_fails NAME COMMAND...: a case that passes when the command reports a failure (status 1):
# the test of a test, with a bug planted in the command.
check_fails() {
  case_name=$1
  shift
  "$@" >/run/check.out 2>&1
  case_rc=$?
  sed 's/^/planted: /' /run/check.out
  if [ "$case_rc" = 1 ]; then
    report "$case_name" PASS
  else
    report "$case_name" FAIL "status $case_rc instead of 1: $(tail -n 1 /run/check.out)"
  fi
}

# run_tests PROGRAM [ARGUMENT...]: runs a test program of the project and hands its JUnit file to
# the host, so that each of its cases counts.
run_tests() { run_tests_in /tmp "$@"; }

# run_tests_in DIRECTORY PROGRAM [ARGUMENT...]: the same with DIRECTORY for /tmp and /dev/shm, so
# that the test's files lie there. Of /mnt/dax the cases are named PROGRAM@dax.CASE.
run_tests_in() {
  directory=$1
  program=$2
  shift 2
  label=$program
  rm -f /run/junit.xml
  if [ "$directory" != /tmp ]; then
    label=$program@${directory##*/}
    mount --bind "$directory" /tmp
    mount --bind "$directory" /dev/shm
  fi
  read -r started _ </proc/uptime
  XML_OUTPUT_FILE=/run/junit.xml TEST_TMPDIR=/tmp timeout 400 "/payload/$program" "$@"
  program_rc=$?
  read -r ended _ </proc/uptime
  echo "$label took $((${ended%.*} - ${started%.*})) s"
  if [ "$directory" != /tmp ]; then umount /tmp /dev/shm; fi
  if [ -s /run/junit.xml ]; then
    sed "s/^/@@JUNIT $label /" /run/junit.xml
    if [ "$program_rc" != 0 ]; then failures=$((failures + 1)); fi
  else
    report "$label" FAIL "status $program_rc and no JUnit file"
  fi
}

# make_fsdax N: turns NVDIMM N (0, 1, ...) from raw into fsdax and prints its block device.
# What ndctl does, by hand: a pfn device claims the namespace and keeps the page structures in
# memory, without which there is no MAP_SYNC. After a restart the kernel finds the pfn device's
# superblock by itself, and there is nothing to do.
make_fsdax() {
  nd=/sys/bus/nd
  if [ "$(cat $nd/devices/namespace$1.0/holder)" = "" ]; then
    pfn=$(cat "$nd/devices/region$1/pfn_seed")
    echo "namespace$1.0" >$nd/drivers/nd_pmem/unbind
    echo ram >"$nd/devices/$pfn/mode"
    echo 2097152 >"$nd/devices/$pfn/align"
    cat /proc/sys/kernel/random/uuid >"$nd/devices/$pfn/uuid"
    echo "namespace$1.0" >"$nd/devices/$pfn/namespace"
    echo "$pfn" >$nd/drivers/nd_pmem/bind || return 1
  fi
  echo "/dev/pmem$1"
}

# mount_dax N DIR: a new ext4 on NVDIMM N, mapped past the page cache (MAP_SYNC).
mount_dax() {
  device=$(make_fsdax "$1") || return 1
  format_and_mount "$device" "$2" dax=always
}

# mount_paged N DIR: a new ext4 on NVDIMM N behind the page cache, as on any disk.
mount_paged() {
  format_and_mount "/dev/pmem$1" "$2" dax=never
}

format_and_mount() {
  # By full path: busybox has a mke2fs too, without block sizes.
  /payload/mke2fs -q -F -t ext4 -b 4096 "$1" && mkdir -p "$2" && mount -t ext4 -o "$3" "$1" "$2"
}

# mount_small_tmpfs SIZE_MIB DIR: a file system that is soon full.
mount_small_tmpfs() {
  mkdir -p "$2" && mount -t tmpfs -o "size=$1m" small "$2"
}

# reserve_huge_pages NODE COUNT: 2 MiB pages on one node.
reserve_huge_pages() {
  pool=/sys/devices/system/node/node$1/hugepages/hugepages-2048kB
  echo "$2" >$pool/nr_hugepages
  [ "$(cat $pool/nr_hugepages)" = "$2" ]
}

# hot_add_node N: turns NVDIMM N into memory of the (so far empty) node it belongs to.
# What `daxctl reconfigure-device -m system-ram` does. Prints the node.
hot_add_node() {
  nd=/sys/bus/nd
  dax=$(cat "$nd/devices/region$1/dax_seed")
  node=$(cat "$nd/devices/region$1/target_node")
  echo "namespace$1.0" >$nd/drivers/nd_pmem/unbind
  echo ram >"$nd/devices/$dax/mode"
  echo 2097152 >"$nd/devices/$dax/align"
  cat /proc/sys/kernel/random/uuid >"$nd/devices/$dax/uuid"
  echo "namespace$1.0" >"$nd/devices/$dax/namespace"
  echo "$dax" >$nd/drivers/dax_pmem/bind || return 1
  echo "$dax" >/sys/bus/dax/drivers/device_dax/unbind
  echo "$dax" >/sys/bus/dax/drivers/kmem/new_id || return 1
  for block in /sys/devices/system/node/node"$node"/memory*; do
    echo online_movable >"$block/state" || return 1
  done
  echo "$node"
}
