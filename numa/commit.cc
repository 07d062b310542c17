// commit() and fault_in(): makes pages exist, or maps them, from several threads.
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>

#include "base/helper_threads.h"
#include "numa/limits.h"
#include "numa/place.h"
#include "os/os.h"
#include "strata/base/bytes.h"

#ifndef MADV_POPULATE_WRITE  // glibc before 2.35
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE  // glibc before 2.37
#define MADV_COLLAPSE 25
#endif

namespace strata::inline v0_1 {
namespace {

constexpr unsigned kMaxThreads = 16;
constexpr std::uint64_t kBytesPerThread = MiB(4);  // below, starting a thread costs more
constexpr std::uint64_t kChunkBytes = MiB(32);     // what a thread takes at a time

struct Chunk {
  std::byte* start;
  std::uint64_t bytes;
};

// The chunks of one node, and where to touch them from.
struct NodeWork {
  std::vector<Chunk> chunks;
  std::vector<int> cpus;
  std::atomic<std::size_t> next{0};

  std::optional<Chunk> take() {
    const std::size_t i = next.fetch_add(1);
    if (i >= chunks.size()) return {};
    return chunks[i];
  }
};

void cut(std::span<std::byte> range, std::uint64_t chunk_bytes, std::vector<Chunk>& into) {
  while (!range.empty()) {
    // All but the first begin on a boundary of 2 MiB, so that large pages stay whole.
    const auto address = reinterpret_cast<std::uintptr_t>(range.data());
    const std::uint64_t bytes =
        std::min<std::uint64_t>(range.size(), chunk_bytes - address % MiB(2));
    into.push_back({range.data(), bytes});
    range = range.subspan(bytes);
  }
}

// Runs `fill` on every chunk, from up to `threads` threads, and keeps the first failure.
template <typename Fill>
Result<void> fill_all(Os& os, std::vector<NodeWork>& work, unsigned threads, bool pins,
                      const Fill& fill) {
  std::mutex mutex;
  std::optional<Status> failure;
  std::atomic<bool> has_failed{false};
  const auto drain = [&](std::size_t home) {
    for (std::size_t i = 0; i < work.size(); ++i) {  // its own node's chunks first
      NodeWork& node = work[(home + i) % work.size()];
      while (!has_failed.load()) {
        const auto chunk = node.take();
        if (!chunk) break;
        if (auto done = fill(*chunk); !done) {
          const std::lock_guard lock(mutex);
          if (!failure) failure = std::move(done).error();
          has_failed.store(true);
        }
      }
    }
  };
  HelperThreads workers;
  // A thread that is pinned stays so: the caller's own is never used for that.
  for (unsigned i = pins ? 0 : 1; i < threads; ++i) {
    const std::size_t home = i % work.size();
    const bool is_started = workers.start([&, home] {
      // A speed-up only: the policy of the range decides where the pages go.
      if (pins && !work[home].cpus.empty()) (void)os.set_affinity(work[home].cpus);
      drain(home);
    });
    if (!is_started) break;
  }
  if (!pins || workers.empty()) drain(0);
  workers.join();
  if (failure) return unexpected(*std::move(failure));
  return {};
}

unsigned thread_count(Os& os, unsigned wanted, std::uint64_t bytes) {
  if (wanted == 0) {
    if (bytes < 2 * kBytesPerThread) return 1;
    const auto cpus = os.get_affinity();
    wanted = cpus ? static_cast<unsigned>(cpus->size()) : 1;
    wanted = std::min<unsigned>(wanted, static_cast<unsigned>(bytes / kBytesPerThread));
  }
  return std::clamp(wanted, 1u, kMaxThreads);
}

// Writes nothing new into a byte of each page. Only for memory that is known to be there:
// where there is none, this is SIGBUS.
void touch(const Chunk& chunk) {
  for (std::uint64_t at = 0; at < chunk.bytes; at += kPageBytes) {
    std::atomic_ref(reinterpret_cast<unsigned char&>(chunk.start[at]))
        .fetch_or(0, std::memory_order_relaxed);
  }
}

bool is_unknown_advice(const Status& status) {
  const int error = status.sys_errno();
  return error == EINVAL || error == ENOSYS || error == EPERM;
}

// One run of commit().
class Committer {
 public:
  Committer(Os& os, std::span<std::byte> range, const Plan& plan, const CommitOptions& options)
      : os_(os), range_(range), plan_(plan), options_(options) {}

  Result<Notes> run() {
    STRATA_TRY(check_room(os_, options_.fd, range_.size(), plan_.page_size));
    if (plan_.page_size == PageSize::thp) advise_huge();
    const unsigned threads = thread_count(os_, options_.threads, range_.size());
    std::vector<NodeWork> work = divide(chunk_bytes(threads));
    STRATA_TRY(fill_all(os_, work, threads, plan_.has_choice() && !plan_.nodes.empty(),
                        [&](const Chunk& chunk) { return fill(chunk); }));
    return std::move(notes_);
  }

 private:
  void note(std::string text) {
    const std::lock_guard lock(mutex_);
    if (std::find(notes_.begin(), notes_.end(), text) == notes_.end()) {
      notes_.push_back(std::move(text));
    }
  }

  void advise_huge() {
    if (const auto advised = os_.madvise(range_.data(), range_.size(), MADV_HUGEPAGE); !advised) {
      note("2 MiB pages cannot be asked for: " + advised.error().message());
    }
  }

  // MADV_COLLAPSE begins by waiting for every processor to drain its page lists, which takes
  // milliseconds on a busy machine: few large calls instead of many.
  std::uint64_t chunk_bytes(unsigned threads) const {
    if (plan_.page_size != PageSize::thp) return kChunkBytes;
    return std::max(kChunkBytes, align_up((range_.size() + threads - 1) / threads, MiB(2)));
  }

  std::vector<NodeWork> divide(std::uint64_t chunk_bytes) const {
    const std::vector<NodeExtent> ranges = extents(plan_);
    const std::size_t groups = std::max<std::size_t>(1, plan_.nodes.size());
    std::vector<NodeWork> work(groups);
    for (std::size_t i = 0; i < plan_.near_cpus.size() && i < groups; ++i)
      work[i].cpus = plan_.near_cpus[i];
    if (ranges.empty()) {
      std::vector<Chunk> all;
      cut(range_, chunk_bytes, all);
      for (std::size_t i = 0; i < all.size(); ++i)
        work[i % groups].chunks.push_back(all[i]);
      return work;
    }
    std::uint64_t done_bytes = 0;
    for (const NodeExtent& extent : ranges) {
      if (extent.offset_bytes >= range_.size()) break;
      const auto at = std::find(plan_.nodes.begin(), plan_.nodes.end(), extent.node);
      const std::uint64_t bytes = std::min(extent.bytes, range_.size() - extent.offset_bytes);
      cut(range_.subspan(extent.offset_bytes, bytes), chunk_bytes,
          work[static_cast<std::size_t>(at - plan_.nodes.begin()) % groups].chunks);
      done_bytes = extent.offset_bytes + bytes;
    }
    cut(range_.subspan(done_bytes), chunk_bytes, work.front().chunks);
    return work;
  }

  Result<void> fill(const Chunk& chunk) {
    if (plan_.page_size == PageSize::thp) collapse(chunk);
    auto populated = os_.madvise(chunk.start, chunk.bytes, MADV_POPULATE_WRITE);
    if (populated) return {};
    if (is_unknown_advice(populated.error())) return reserve_and_touch(chunk);
    return no_memory(chunk, populated.error());
  }

  // Where the kernel gives 2 MiB pages at the first touch, touching one small page of each is
  // all. Where it does not (shmem_enabled = never), MADV_COLLAPSE (Linux 6.1) makes them
  // nevertheless, around that page: the other 511 need not exist and come out as zeros.
  void collapse(const Chunk& chunk) {
    const auto first = reinterpret_cast<std::uintptr_t>(chunk.start);
    const std::uint64_t skip = align_up(first, MiB(2)) - first;
    if (skip >= chunk.bytes) return;
    std::byte* start = chunk.start + skip;
    const std::uint64_t bytes = (chunk.bytes - skip) / MiB(2) * MiB(2);
    for (std::uint64_t at = 0; at < bytes; at += MiB(2)) {
      // A failure shows again, and is told, when the whole chunk is populated.
      if (!os_.madvise(start + at, kPageBytes, MADV_POPULATE_WRITE)) return;
    }
    if (bytes == 0) return;
    if (const auto made = os_.madvise(start, bytes, MADV_COLLAPSE); !made) {
      note("not all is in 2 MiB pages: " + made.error().message());
    }
  }

  // Before Linux 5.14: reserve the file's memory, which fails cleanly, then touch.
  Result<void> reserve_and_touch(const Chunk& chunk) {
    if (options_.fd >= 0) {
      const std::uint64_t offset_bytes =
          options_.fd_offset_bytes + static_cast<std::uint64_t>(chunk.start - range_.data());
      if (auto reserved = os_.fallocate(options_.fd, 0, offset_bytes, chunk.bytes); !reserved) {
        return no_memory(chunk, reserved.error());
      }
    }
    touch(chunk);
    return {};
  }

  Unexpected no_memory(const Chunk& chunk, const Status& cause) {
    if (cause.sys_errno() != EFAULT && cause.sys_errno() != ENOMEM && cause.sys_errno() != ENOSPC) {
      return unexpected(cause.in("commit memory"));
    }
    // EFAULT stands for the SIGBUS that a touch would have been.
    std::string text =
        fmt::format("memory ran out after {} of {}",
                    format_bytes(static_cast<std::uint64_t>(chunk.start - range_.data())),
                    format_bytes(range_.size()));
    std::string remedy;
    for (const MemoryLimit& limit : memory_limits(os_, options_.fd, plan_.page_size)) {
      text += fmt::format("; {}: {} free of {}", limit.what, format_bytes(limit.free_bytes),
                          format_bytes(limit.limit_bytes));
      if (remedy.empty()) remedy = limit.remedy;
    }
    const std::string nodes = free_bytes_per_node(os_);
    if (!nodes.empty()) text += "; " + nodes;
    if (!remedy.empty()) text += "; " + remedy;
    return unexpected(Status(Code::exhausted, std::move(text), cause.sys_errno()));
  }

  Os& os_;
  std::span<std::byte> range_;
  const Plan& plan_;
  const CommitOptions& options_;
  std::mutex mutex_;
  Notes notes_;
};

}  // namespace

Result<Notes> commit(Os& os, std::span<std::byte> range, const Plan& plan,
                     const CommitOptions& options) {
  if (range.empty()) return Notes{};
  return Committer(os, range, plan, options).run();
}

Result<void> fault_in(Os& os, std::span<std::byte> range, unsigned threads) {
  if (range.empty()) return {};
  // Reading is enough for writers too: tmpfs and hugetlb need not be told of the first write,
  // so that the kernel maps their pages writable. It maps 16 at a time, where
  // MADV_POPULATE_WRITE goes one by one and takes twice as long.
  std::vector<NodeWork> work(1);
  cut(range, kChunkBytes, work.front().chunks);
  return fill_all(os, work, thread_count(os, threads, range.size()), false,
                  [&](const Chunk& chunk) -> Result<void> {
                    auto done = os.madvise(chunk.start, chunk.bytes, MADV_POPULATE_READ);
                    if (done) return {};
                    // Without the call the pages are mapped when they are first used.
                    if (is_unknown_advice(done.error())) return {};
                    return unexpected(done.error().in("map the pages of a segment"));
                  });
}

}  // namespace strata::inline v0_1
