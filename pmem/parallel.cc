#include "pmem/parallel.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

#include "base/helper_threads.h"

namespace strata::inline v0_1 {

Result<void> for_pieces(std::uint64_t count, std::uint64_t piece, unsigned threads,
                        const std::function<Result<void>(std::uint64_t, std::uint64_t)>& work) {
  const std::uint64_t pieces = (count + piece - 1) / piece;
  if (threads == 0) threads = std::clamp(std::thread::hardware_concurrency(), 1u, 8u);
  threads =
      static_cast<unsigned>(std::min<std::uint64_t>(threads, std::max<std::uint64_t>(pieces, 1)));
  std::atomic<std::uint64_t> next{0};
  std::mutex mutex;
  std::optional<Status> failure;
  const auto run = [&] {
    while (true) {
      const std::uint64_t i = next.fetch_add(1);
      if (i >= pieces) return;
      auto done = work(i * piece, std::min(count, (i + 1) * piece));
      if (done) continue;
      next = pieces;
      const std::lock_guard lock(mutex);
      if (!failure) failure = done.error();
    }
  };
  run_on_threads(threads, run);
  if (failure) return unexpected(*failure);
  return {};
}

}  // namespace strata::inline v0_1
