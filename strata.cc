#include "strata.h"

#include "pmem/pmem_backend.h"
#include "shm/shm_backend.h"

namespace strata {

Catalog make_catalog(Os& os) {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::make_unique<ShmBackend>(os));
  backends.push_back(std::make_unique<PmemBackend>(
      os, PmemBackendOptions{.registry_directory = user_pool_registry()}));
  return Catalog(std::move(backends));
}

}  // namespace strata
