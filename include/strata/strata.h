// Everything that a user of Strata includes.
//
//     strata::Catalog catalog = strata::open_catalog();
//     auto mesh = catalog.create("shm:mesh", {.payload_bytes = strata::MiB(64)});
#pragma once

#include <string>
#include <vector>

#include "os/os.h"
#include "strata/base/bytes.h"
#include "strata/base/result.h"
#include "strata/gpu/cuda_options.h"
#include "strata/segment/catalog.h"
#include "strata/segment/segment.h"

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
