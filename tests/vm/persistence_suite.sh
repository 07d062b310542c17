#!/bin/sh
# Files that survive: on a DAX file system, on ext4 behind the page cache, on a small tmpfs.
. /guest.sh

check dax_file_system_mounts mount_dax 0 /mnt/dax
check paged_file_system_mounts mount_paged 1 /mnt/paged
check small_tmpfs_mounts mount_small_tmpfs 96 /mnt/tmpfs

run_tests dax_truth_test

# What the tests run beside them, as Bazel names it to them outside.
export STRATA_FOREIGN_READER=/payload/foreign_reader STRATA_CRASH_ORACLE=/payload/crash_oracle
# A part of the crash images and kill points: all are looked at outside of the guest.
export STRATA_CRASH_ONE_IMAGE_IN=32 STRATA_KILL_POINTS=3
killed='a_process_killed*,a_truncated*'

# The suites of pools, with their files on each file system. On cache lines:
run_tests_in /mnt/dax pool_test
run_tests_in /mnt/dax pmem_test
run_tests_in /mnt/dax life_test
run_tests_in /mnt/dax persistent_test
run_tests_in /mnt/dax backend_test
STRATA_CRASH_GRANULARITY=line run_tests_in /mnt/dax crash_test
run_tests_in /mnt/dax hostile_test "$killed"
# On pages, with msync:
run_tests_in /mnt/paged domain_test
run_tests_in /mnt/paged pmem_test
run_tests_in /mnt/paged persistent_test
run_tests_in /mnt/paged backend_test
STRATA_CRASH_GRANULARITY=page run_tests_in /mnt/paged crash_test
run_tests_in /mnt/paged full_disk_test
# On memory that is a file system:
run_tests_in /mnt/tmpfs pmem_test
run_tests_in /mnt/tmpfs backend_test
run_tests_in /mnt/tmpfs full_disk_test

exit $failures
