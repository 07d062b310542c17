#include "pmem/fill.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "base/long_hash.h"
#include "pmem/domain.h"
#include "pmem/parallel.h"
#include "pmem/pool_access.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kPieceBytes = MiB(4);
// Small enough to be hashed and stored from the cache that it was read into.
constexpr std::uint64_t kBufferBytes = MiB(1);

// Buffers that threads take in turn, so that their pages are faulted in only once.
class Buffers {
 public:
  explicit Buffers(std::uint64_t bytes) : bytes_(bytes) {}
  std::unique_ptr<std::byte[]> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique_for_overwrite<std::byte[]>(bytes_);
    auto buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }
  void give_back(std::unique_ptr<std::byte[]> buffer) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(buffer));
  }

 private:
  std::uint64_t bytes_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<std::byte[]>> free_;
};

class Filling {
 public:
  Filling(StagedSegment& staged, ByteSource& from, const ProgressFn& progress)
      : staged_(staged),
        from_(from),
        progress_(progress),
        has_view_(!from.view(0, 1).empty()),
        piece_bytes_(std::max({has_view_ ? kPieceBytes : kBufferBytes,
                               staged.checksum_block_bytes(), from.granule_bytes()})),
        // Lines are flushed and drained by the thread that stored them. Pages are left to publish,
        // which syncs all of them at once: the disk begins with them meanwhile.
        drains_(staged.parts().domain->granularity() != Granularity::page),
        buffers_(piece_bytes_) {}

  Result<FillReport> run(unsigned threads) {
    const auto work = [&](std::uint64_t first, std::uint64_t last) { return piece(first, last); };
    STRATA_TRY(for_pieces(staged_.payload().size(), piece_bytes_,
                          from_.is_sequential() ? 1 : threads, work));
    if (drains_) staged_.set_payload_durable();
    return FillReport{blocks_written_, bytes_written_};
  }

 private:
  Result<void> piece(std::uint64_t begin, std::uint64_t end) {
    if (has_view_) {
      STRATA_TRY(store(begin, from_.view(begin, end - begin)));
    } else {
      STRATA_TRY(store_copy(begin, end));
    }
    if (progress_) progress_(end - begin);
    if (drains_) return staged_.durability().drain();
    staged_.start_writeback(begin, end - begin);
    return {};
  }

  Result<void> store_copy(std::uint64_t begin, std::uint64_t end) {
    STRATA_ASSIGN(const LentBytes lent, from_.lend(begin, end - begin));
    if (!lent.bytes.empty()) return store(begin, lent.bytes);
    auto buffer = buffers_.take();
    const std::span<std::byte> bytes(buffer.get(), end - begin);
    STRATA_TRY(from_.read(begin, bytes));
    STRATA_TRY(store(begin, bytes));
    buffers_.give_back(std::move(buffer));
    return {};
  }

  Result<void> store(std::uint64_t begin, std::span<const std::byte> bytes) {
    if (staged_.checksums().empty()) {
      bytes_written_ += bytes.size();
      return staged_.store(begin, bytes);
    }
    return store_blocks(begin, bytes);
  }

  Result<void> store_blocks(std::uint64_t begin, std::span<const std::byte> bytes) {
    const std::uint64_t block_bytes = staged_.checksum_block_bytes();
    const bool is_new = !staged_.is_recycled();
    std::uint64_t run_begin = 0;  // changed blocks side by side, not stored yet
    std::uint64_t run_end = 0;
    const auto store_run = [&]() -> Result<void> {
      if (run_begin == run_end) return {};
      bytes_written_ += run_end - run_begin;
      return staged_.store(begin + run_begin, bytes.subspan(run_begin, run_end - run_begin));
    };
    for (std::uint64_t at = 0; at < bytes.size(); at += block_bytes) {
      const auto block = bytes.subspan(at, std::min<std::uint64_t>(block_bytes, bytes.size() - at));
      const std::uint64_t hash = hash_long(block);
      std::uint64_t& checksum = staged_.checksums()[(begin + at) / block_bytes];
      if (is_new || checksum != hash) {
        checksum = hash;
        run_end = at + block.size();
        blocks_written_ += 1;
        continue;
      }
      STRATA_TRY(store_run());
      run_begin = run_end = at + block.size();
    }
    return store_run();
  }

  StagedSegment& staged_;
  ByteSource& from_;
  const ProgressFn& progress_;
  const bool has_view_;
  const std::uint64_t piece_bytes_;
  const bool drains_;
  Buffers buffers_;
  std::atomic<std::uint64_t> blocks_written_{0};
  std::atomic<std::uint64_t> bytes_written_{0};
};

}  // namespace

Result<FillReport> fill(StagedSegment& staged, ByteSource& from, unsigned threads,
                        const ProgressFn& progress) {
  return Filling(staged, from, progress).run(threads);
}

}  // namespace strata::inline v0_1
