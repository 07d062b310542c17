#include "tools/parallel_copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

#include "base/helper_threads.h"

namespace strata::tools {
namespace {

constexpr std::size_t kChunkBytes = 4U << 20;
constexpr unsigned kMaxThreads = 8;  // memory bandwidth is used up by then

Result<void> read_chunk(Os& os, int fd, std::span<std::byte> into, std::uint64_t offset_bytes) {
  while (!into.empty()) {
    STRATA_ASSIGN(const std::size_t got, os.pread(fd, into, offset_bytes));
    if (got == 0) {
      return fail(
          Code::failed_precondition,
          fmt::format("the file ends at byte {}: it was cut while it was read", offset_bytes));
    }
    into = into.subspan(got);
    offset_bytes += got;
  }
  return {};
}

}  // namespace

Result<void> read_in_parallel(Os& os, int fd, std::span<std::byte> into,
                              const std::function<void(std::uint64_t)>& progress) {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::optional<Status> failure;
  const auto work = [&] {
    while (true) {
      const std::size_t from = next.fetch_add(kChunkBytes);
      if (from >= into.size()) return;
      const std::size_t bytes = std::min(kChunkBytes, into.size() - from);
      if (auto read = read_chunk(os, fd, into.subspan(from, bytes), from); !read) {
        const std::lock_guard lock(mutex);
        failure = read.error();
        next.store(into.size());
        return;
      }
      progress(bytes);
    }
  };
  const std::size_t chunks = (into.size() + kChunkBytes - 1) / kChunkBytes;
  const auto threads = static_cast<unsigned>(std::min<std::size_t>(
      chunks, std::clamp(std::thread::hardware_concurrency(), 1U, kMaxThreads)));
  run_on_threads(threads, work);
  if (failure) return unexpected(*failure);
  return {};
}

}  // namespace strata::tools
