#!/bin/sh
# Files that survive, on a DAX file system: what is stored is durable by cache lines.
. /guest.sh

check dax_file_system_mounts mount_dax 0 /mnt/dax
check paged_file_system_mounts mount_paged 1 /mnt/paged
check small_tmpfs_mounts mount_small_tmpfs 96 /mnt/tmpfs

# Each is what it is called.
run_tests dax_truth_test

# What the tests run beside them, as Bazel names it to them outside.
export STRATA_FOREIGN_READER=/payload/foreign_reader STRATA_CRASH_ORACLE=/payload/crash_oracle
# A part of the crash images and kill points: all are looked at outside of the guest.
export STRATA_CRASH_ONE_IMAGE_IN=64 STRATA_KILL_POINTS=2 STRATA_CRASH_GRANULARITY=line

run_tests_in /mnt/dax domain_test 'on_dax*,mapping_leaves*,a_private*,a_file_that*'
run_tests_in /mnt/dax pool_test
run_tests_in /mnt/dax pmem_test
# Flipped bytes of a plain file are the same everywhere.
run_tests_in /mnt/dax life_test '~a_damaged_backup*'
run_tests_in /mnt/dax persistent_test
run_tests_in /mnt/dax pmem_backend_test
run_tests_in /mnt/dax crash_test
run_tests_in /mnt/dax hostile_test 'a_process_killed*,a_truncated*'

exit $failures
