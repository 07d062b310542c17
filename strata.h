// Everything that a user of Strata includes.
//
//     strata::RealOs os;
//     strata::Catalog catalog = strata::make_catalog(os);
//     auto mesh = catalog.create("shm:mesh", {.payload_bytes = strata::MiB(64)});
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "os/os.h"
#include "segment/catalog.h"
#include "segment/segment.h"

namespace strata {

// The catalog of every backend that this build has. `os` must outlive it.
Catalog make_catalog(Os& os);

}  // namespace strata
