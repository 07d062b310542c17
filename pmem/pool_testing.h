// Shared by the tests of this folder: small pools in a folder of their own.
#pragma once

#include <fcntl.h>

#include <functional>
#include <string>

#include "base/crc32c.h"
#include "os/os.h"
#include "pmem/pool_access.h"
#include "strata/base/bytes.h"
#include "strata/pmem/pool.h"
#include "tests/child.h"
#include "tests/temp_dir.h"

namespace strata::inline v0_1::test {

inline Pool make_pool(Os& os, const std::string& path, std::uint64_t bytes = MiB(16)) {
  return Pool::create(os, path, {.bytes = bytes}).value();
}

// Lets `change` make another header of that of a pool's directory, as a later program may have.
inline void rewrite_directory(Os& os, const std::string& path,
                              const std::function<void(DirectoryHeader&)>& change) {
  const PoolFile file = PoolFile::open(os, path, Access::read_only).value();
  const Fd fd = os.open(path, O_RDWR).value();
  DirectoryHeader header{};
  const auto bytes = std::as_writable_bytes(std::span(&header, 1));
  (void)os.pread(fd.get(), bytes, file.directory_offset_bytes).value();
  change(header);
  header.crc32c = crc32c(bytes.first(offsetof(DirectoryHeader, crc32c)));
  (void)os.pwrite(fd.get(), bytes, file.directory_offset_bytes).value();
}

}  // namespace strata::inline v0_1::test
