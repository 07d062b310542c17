#!/bin/sh
# Files that survive: on a DAX file system, on ext4 behind the page cache, on a small tmpfs.
. /guest.sh

check dax_file_system_mounts mount_dax 0 /mnt/dax
check paged_file_system_mounts mount_paged 1 /mnt/paged
check small_tmpfs_mounts mount_small_tmpfs 96 /mnt/tmpfs

run_tests dax_truth_test

# The suites of pools, with their files on each file system.
# What pool_test runs beside it, as Bazel names it to the test outside.
export STRATA_FOREIGN_READER=/payload/foreign_reader
run_tests_in /mnt/dax pool_test
run_tests_in /mnt/dax backend_test
run_tests_in /mnt/paged domain_test # of pages and msync
run_tests_in /mnt/paged backend_test
run_tests_in /mnt/tmpfs backend_test

exit $failures
