// An ImportCache keeps attachments for later use, for programs that open the same segments again
// and again: importing memory of a device takes hundreds of microseconds, opening it from here
// less than one. It works for every kind of memory.
//
//     ImportCache cache(catalog, {.limit_bytes = GiB(8)});
//     STRATA_ASSIGN(const CachedSegment weights, cache.open("cuda:weights"));
//     … weights->device_bytes() …                      // it stays attached when `weights` ends
//
// An entry is one attachment: a segment (uuid and generation), the device that it is mapped into,
// and the access. While nobody uses it, it is let go of where the segment was removed or has a new
// generation, where others want its memory back, and where all entries together are over the limit:
// the one that was not used for longest first. What is used is never let go of.
//   Threads:  any. Of one segment, const members by any number of threads, as of every Segment.
//   Lifetime: the catalog outlives it; what is open may outlive it. A forked child has one of its
//             own.
//   Errors:   as Catalog::attach; timed_out where another thread attaches the same for too long.
//   Cost:     open() of what is there: a lock, two look-ups by hash, no system call and no call of
//             a driver. The end of an entry is that of an attachment, and is nobody's lock.
// A name that by now means another segment is found out by the removal of the old one, which marks
// it; where that was killed half way, by sweep().
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "strata/base/bytes.h"
#include "strata/base/result.h"
#include "strata/segment/catalog.h"
#include "strata/segment/handle.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

struct ImportCacheOptions {
  // Of all entries together; what is used may go beyond it.
  std::uint64_t limit_bytes = GiB(1);
  // What an attachment keeps from others. Without it: its payload.
  std::function<std::uint64_t(const Segment&)> bytes_of = {};
  // Whether others want the memory back. Asked at every open: it must be cheap. Without it: never.
  std::function<bool(const Segment&)> is_wanted_back = {};
};

struct ImportCacheStats {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t entries = 0;
  std::uint64_t entries_in_use = 0;
  std::uint64_t bytes = 0;
};

class CachedSegment {
 public:
  CachedSegment(CachedSegment&&) noexcept = default;
  CachedSegment& operator=(CachedSegment&& other) noexcept;
  ~CachedSegment() { close(); }

  Segment& operator*() const;
  Segment* operator->() const { return &**this; }

 private:
  friend class ImportCache;
  struct Core;
  struct Entry;
  CachedSegment(std::shared_ptr<Core> core, std::shared_ptr<Entry> entry)
      : core_(std::move(core)), entry_(std::move(entry)) {}
  void close();

  std::shared_ptr<Core> core_;
  std::shared_ptr<Entry> entry_;
};

class ImportCache {
 public:
  explicit ImportCache(Catalog& catalog, ImportCacheOptions options = {});
  ~ImportCache();
  ImportCache(const ImportCache&) = delete;
  ImportCache& operator=(const ImportCache&) = delete;

  Result<CachedSegment> open(std::string_view uri, const AttachOptions& options = {});
  // By a handle that came from another process, whose uuid and generation it is looked up by. The
  // descriptors that rode along are used where it is not there yet.
  Result<CachedSegment> open(const Handle& handle, std::vector<Fd> descriptors,
                             const AttachOptions& options = {});

  // Lets go of all that nobody uses and that is stale, wanted back, or no longer what its name
  // means; looks the names up.
  void sweep();
  // Others want the memory of this segment back: lets go of it as soon as nobody uses it.
  void give_back(const std::array<std::uint8_t, 16>& uuid);
  // Lets go of all that nobody uses.
  void clear();
  ImportCacheStats stats() const;

 private:
  std::shared_ptr<CachedSegment::Core> core_;
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
