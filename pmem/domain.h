// A Domain is a range of a file, mapped so that what is stored there survives: a persistence
// domain. The kernel says whether the file is on DAX; what a flush costs there, and how it is
// done, is libpmem2's. The same calls serve an ordinary disk file (page granularity, msync),
// a DAX file system (cache lines) and a platform that flushes its caches by itself (bytes).
//   Threads:  any. drain() covers what the calling thread flushed; at page granularity, threads
//             that drain at the same time share one msync.
//   Lifetime: the mapping ends with the Domain. The file descriptor may be closed before.
//   Errors:   map: invalid_argument, permission_denied, unsupported where the medium is coarser
//             than the caller accepts; drain: what msync refused.
//   Cost:     bytes: none; cache lines: one clwb a line and a fence; pages: one msync a drain,
//             over the smallest range that covers what was flushed.
//   Persists: what was flushed and drained. Private (copy-on-write) mappings persist nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "os/os.h"
#include "strata/base/result.h"
#include "strata/segment/durability.h"
#include "strata/segment/options.h"

struct pmem2_map;

namespace strata::inline v0_1 {

// The unit in which stores become durable. The value is its size in bytes.
enum class Granularity : std::uint32_t { byte = 1, cache_line = 64, page = 4096 };
std::string_view granularity_name(Granularity granularity);

struct DomainRequest {
  std::uint64_t offset_bytes = 0;  // a multiple of the page size
  std::uint64_t bytes = 0;
  Access access = Access::read_write;
  // The coarsest granularity that the caller can work with.
  Granularity worst_granularity = Granularity::page;
};

class Domain final : public Durability {
 public:
  static Result<std::unique_ptr<Domain>> map(Os& os, int fd, const DomainRequest& request);
  ~Domain() override;
  Domain(const Domain&) = delete;
  Domain& operator=(const Domain&) = delete;

  std::span<std::byte> bytes() const { return bytes_; }
  Access access() const { return access_; }
  Granularity granularity() const { return granularity_; }

  bool is_volatile() const override { return access_ == Access::copy_on_write; }
  std::size_t granularity_bytes() const override { return static_cast<std::size_t>(granularity_); }
  void flush(const void* address, std::size_t bytes) override;
  void copy(void* to, const void* from, std::size_t bytes) override;
  Result<void> drain() override;

  // Reaches the medium itself, past buffers that survive a power failure only as long as the
  // platform works. Slow; meant for moments such as the end of a checkpoint.
  Result<void> deep_flush(const void* address, std::size_t bytes);

  // Maps the pages of a range in one step, where each would else cost a fault: for writing where
  // the mapping is. Does nothing where the kernel cannot (before Linux 5.14).
  // Errors: corrupt where the medium cannot give a page, which an access would be killed for.
  Result<void> fault_in(std::span<const std::byte> range);

  // Makes the mapping unwritable for good.
  Result<void> freeze();

 private:
  class PageSync;

  Domain(Os& os, std::span<std::byte> bytes, Access access, Granularity granularity);
  Result<void> prepare_flushes(int fd);

  Os& os_;
  std::span<std::byte> bytes_;
  Access access_;
  Granularity granularity_;
  std::unique_ptr<PageSync> page_sync_;  // at page granularity only
  // Below it only.
  pmem2_map* map_ = nullptr;
  void (*flush_lines_)(const void*, std::size_t) = nullptr;
  void* (*copy_lines_)(void*, const void*, std::size_t, unsigned) = nullptr;
  void (*fence_)() = nullptr;
};

}  // namespace strata::inline v0_1
