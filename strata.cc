#include "strata/strata.h"

#include "gpu/cuda_backend.h"
#include "pmem/pmem_backend.h"
#include "shm/shm_backend.h"

namespace strata::inline v0_1 {
namespace {

std::vector<std::unique_ptr<Backend>> make_backends(Os& os, const CatalogOptions& options) {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::make_unique<ShmBackend>(
      os, ShmOptions{options.shm_directory, options.huge_2m_directory, options.huge_1g_directory}));
  backends.push_back(std::make_unique<PmemBackend>(
      os, PmemBackendOptions{.pools = options.pools, .registry_directory = user_pool_registry()}));
  CudaOptions cuda = options.cuda;
  if (cuda.directory.empty()) cuda.directory = options.shm_directory;
  backends.push_back(std::make_unique<CudaBackend>(os, std::move(cuda)));
  return backends;
}

}  // namespace

Catalog open_catalog(const CatalogOptions& options) {
  auto os = std::make_shared<RealOs>();
  auto backends = make_backends(*os, options);
  return Catalog(std::move(backends), std::move(os));
}

Catalog make_catalog(Os& os, const CatalogOptions& options) {
  return Catalog(make_backends(os, options), os);
}

}  // namespace strata::inline v0_1
