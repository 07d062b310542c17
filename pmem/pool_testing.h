// Shared by the tests of this folder: small pools in a folder of their own.
#pragma once

#include <string>

#include "base/bytes.h"
#include "os/os.h"
#include "pmem/pool.h"
#include "tests/child.h"
#include "tests/temp_dir.h"

namespace strata::test {

inline Pool make_pool(Os& os, const std::string& path, std::uint64_t bytes = MiB(16)) {
  return Pool::create(os, path, {.bytes = bytes}).value();
}

}  // namespace strata::test
