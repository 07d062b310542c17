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

check nvdimm_becomes_memory_of_node_4 hot_add_node 1
run_tests hot_added_node_test

exit $failures
