#!/bin/sh
# Files that survive behind the page cache, on ext4 with msync; and the same on a small tmpfs.
. /guest.sh

check paged_file_system_mounts mount_paged 1 /mnt/paged
check small_tmpfs_mounts mount_small_tmpfs 96 /mnt/tmpfs

# What the tests run beside them, as Bazel names it to them outside.
export STRATA_FOREIGN_READER=/payload/foreign_reader STRATA_CRASH_ORACLE=/payload/crash_oracle
# A part of the crash images: all are looked at outside of the guest.
export STRATA_CRASH_ONE_IMAGE_IN=64 STRATA_CRASH_GRANULARITY=page

run_tests_in /mnt/paged domain_test
run_tests_in /mnt/paged pmem_test
run_tests_in /mnt/paged persistent_test
run_tests_in /mnt/paged pmem_backend_test
run_tests_in /mnt/paged crash_test
run_tests_in /mnt/paged full_disk_test
# On memory that is a file system:
run_tests_in /mnt/tmpfs pmem_test
run_tests_in /mnt/tmpfs pmem_backend_test
run_tests_in /mnt/tmpfs full_disk_test

exit $failures
