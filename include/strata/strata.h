// Everything that a user of Strata includes, but for two headers that need libraries of others:
// strata/heap/containers.h (Boost) and strata/gpu/interop/memory_resource.h (CCCL).
//
//     strata::Catalog catalog = strata::open_catalog();
//     auto mesh = catalog.create("shm:mesh", {.payload_bytes = strata::MiB(64)});
#pragma once

#include <string>
#include <vector>

#include "strata/base/bytes.h"
#include "strata/base/result.h"
#include "strata/base/status.h"
#include "strata/copy.h"
#include "strata/copy_sources.h"
#include "strata/gpu/cuda_options.h"
#include "strata/gpu/device.h"
#include "strata/gpu/device_cache.h"
#include "strata/gpu/device_copy.h"
#include "strata/gpu/device_event.h"
#include "strata/gpu/host_registration.h"
#include "strata/gpu/interop/arrow_device.h"
#include "strata/gpu/interop/cuda_array_interface.h"
#include "strata/gpu/interop/dlpack.h"
#include "strata/gpu/interop/segment_pool.h"
#include "strata/gpu/kernels.h"
#include "strata/gpu/leftovers.h"
#include "strata/gpu/map_to_device.h"
#include "strata/gpu/near_node.h"
#include "strata/gpu/timeline.h"
#include "strata/heap/heap.h"
#include "strata/heap/heap_nodes.h"
#include "strata/heap/list.h"
#include "strata/heap/memory_resource.h"
#include "strata/heap/shared_dictionary.h"
#include "strata/numa/placement_text.h"
#include "strata/os/deadline.h"
#include "strata/os/process_identity.h"
#include "strata/os/real_os.h"
#include "strata/pmem/backup.h"
#include "strata/pmem/checkpoint.h"
#include "strata/pmem/persistent.h"
#include "strata/pmem/pool.h"
#include "strata/pmem/snapshot.h"
#include "strata/segment/catalog.h"
#include "strata/segment/import_cache.h"
#include "strata/segment/offset.h"
#include "strata/segment/segment.h"
#include "strata/sync/barrier.h"
#include "strata/sync/condition.h"
#include "strata/sync/counting_semaphore.h"
#include "strata/sync/event.h"
#include "strata/sync/latest_value.h"
#include "strata/sync/mpmc_ring.h"
#include "strata/sync/published.h"
#include "strata/sync/robust_mutex.h"
#include "strata/sync/rw_lock.h"
#include "strata/sync/semaphore.h"
#include "strata/sync/seq_lock.h"
#include "strata/sync/sharded.h"
#include "strata/sync/spsc_ring.h"
#include "strata/sync/versioned_cell.h"
#include "strata/transaction/dictionary.h"
#include "strata/transaction/transaction.h"
#include "strata/transaction/transaction_map.h"
#include "strata/version.h"

namespace strata::inline v0_1 {
class Os;  // hidden: declared outside of the pragma
}

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

struct CatalogOptions {
  std::string shm_directory = "/dev/shm";  // a tmpfs
  // Directories on a hugetlbfs with such pages; empty: the first one that is mounted.
  std::string huge_2m_directory = {};
  std::string huge_1g_directory = {};
  // Pools that list() and reclaim() look at, besides those that this user has used.
  std::vector<std::string> pools = {};
  CudaOptions cuda = {};
};

// The catalog of every backend that this build has. What it needs it owns, and what is attached
// through it may outlive it.
Catalog open_catalog(const CatalogOptions& options = {});
// The same over a door to the kernel that the caller owns, for tests: `os` must outlive the catalog
// and all that is attached through it.
Catalog make_catalog(Os& os, const CatalogOptions& options = {});

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
