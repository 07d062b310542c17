#!/bin/sh
# Placement in a machine with real nodes.
. /guest.sh

# Enough for the hugetlb cases on every node, and no more: the nodes are small.
for node in 0 1 2 3; do
  check "huge_pages_can_be_reserved_on_node_$node" reserve_huge_pages $node 16
done

run_tests kernel_truth_test

check rig_accepts_a_right_placement /payload/misplaced none
check_fails rig_catches_a_missing_bind /payload/misplaced missing_bind
check_fails rig_catches_a_wrong_node /payload/misplaced wrong_node

# Huge pages of segments: reserved ones have a file system of their own, transparent ones must be
# allowed, in /dev/shm and in memfds.
mkdir -p /dev/hugepages
check hugetlbfs_mounts mount -t hugetlbfs none /dev/hugepages
check tmpfs_may_use_huge_pages mount -o remount,huge=advise /dev/shm
echo advise >/sys/kernel/mm/transparent_hugepage/shmem_enabled
run_tests placement_test
run_tests live_placement_test
run_tests hugetlb_test
run_tests heap_arenas_test
run_tests strata_command_test

# The suites of every machine, on this one.
run_tests shm_test
run_tests anonymous_test

run_tests hot_added_node_test

exit $failures
