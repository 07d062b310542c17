// The functions of PMDK that the library calls; the linker says if one is missing.
#pragma once

#define STRATA_PMDK_FUNCTIONS(X)                 \
  X(pmem2_config_delete)                         \
  X(pmem2_config_new)                            \
  X(pmem2_config_set_length)                     \
  X(pmem2_config_set_offset)                     \
  X(pmem2_config_set_protection)                 \
  X(pmem2_config_set_required_store_granularity) \
  X(pmem2_deep_flush)                            \
  X(pmem2_errormsg)                              \
  X(pmem2_get_drain_fn)                          \
  X(pmem2_get_flush_fn)                          \
  X(pmem2_get_memcpy_fn)                         \
  X(pmem2_map_delete)                            \
  X(pmem2_map_from_existing)                     \
  X(pmem2_map_get_store_granularity)             \
  X(pmem2_map_new)                               \
  X(pmem2_source_delete)                         \
  X(pmem2_source_device_usc)                     \
  X(pmem2_source_from_fd)                        \
  X(pmemobj_alloc_usable_size)                   \
  X(pmemobj_check_version)                       \
  X(pmemobj_close)                               \
  X(pmemobj_create)                              \
  X(pmemobj_ctl_set)                             \
  X(pmemobj_direct)                              \
  X(pmemobj_errormsg)                            \
  X(pmemobj_first)                               \
  X(pmemobj_next)                                \
  X(pmemobj_oid)                                 \
  X(pmemobj_open)                                \
  X(pmemobj_persist)                             \
  X(pmemobj_pool_by_oid)                         \
  X(pmemobj_pool_by_ptr)                         \
  X(pmemobj_root)                                \
  X(pmemobj_root_size)                           \
  X(pmemobj_tx_abort)                            \
  X(pmemobj_tx_begin)                            \
  X(pmemobj_tx_commit)                           \
  X(pmemobj_tx_end)                              \
  X(pmemobj_tx_stage)                            \
  X(pmemobj_tx_xadd_range_direct)                \
  X(pmemobj_tx_xalloc)                           \
  X(pmemobj_tx_xfree)                            \
  X(pmemobj_type_num)                            \
  X(pmempool_check)                              \
  X(pmempool_check_end)                          \
  X(pmempool_check_init)                         \
  X(pmempool_check_version)                      \
  X(pmempool_errormsg)

namespace strata::python {

// What the module strata._pmdk gives, in the order of the list.
struct PmdkFunction {
  const char* name;
  void* address;
};
inline constexpr const char* kPmdkCapsule = "strata._pmdk.functions";

}  // namespace strata::python
