// A LatestValue is where writers leave the newest state of something and readers pick it up: a
// sensor's reading, a model's weights. What nobody has read when the next one comes is gone.
//
//     STRATA_TRY(latest.write(context, bytes, deadline));
//     STRATA_ASSIGN(const auto got, latest.read(into, deadline));  // {version, bytes}
//     STRATA_TRY(latest.wait(got.version, deadline));              // for a newer one
//
//   Threads:  any number of readers and writers, in any processes; writers exclude each other.
//   Lifetime: the segment must stay mapped.
//   Errors:   writers: those of RobustMutex::lock; invalid_argument for what is too long. Readers:
//             timed_out; corrupt for a length that cannot be; exhausted where `into` is too small.
//   Cost:     write: a RobustMutex, the copy, and one store. read: the copy and two loads.
//   Persists: the value does.
// A value is whole: readers never see a part of another one. A writer that is killed in the middle,
// or stopped, leaves the last value, and readers go on reading it.
//
// The algorithm: versions count from 1, and version v is written to copy v mod 4 before its number
// is stored. While a reader copies, two more versions may come before its own is overwritten; that
// it was is told by the number, read again after the copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/sync/robust_mutex.h"
#include "strata/sync/wake_word.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

inline constexpr std::uint64_t kMaxLatestValueBytes = std::uint64_t{1} << 40;

struct LatestValueBlock {
  SharedWord<std::uint32_t> kind;  // kLatestValueKind; stored last
  std::uint32_t version;           // of this format
  std::uint64_t max_bytes;
  SharedWord<std::uint64_t> newest;  // 16: the newest version; 0 before the first
  WakeWord sleepers;                 // 24: of who waits for a newer one
  std::uint32_t reserved;
  std::uint64_t reserved2[4];
  RobustMutex writer;  // 64
};
static_assert(sizeof(LatestValueBlock) == 128);

inline constexpr std::uint32_t kLatestValueKind = 0x5453544C;  // "LTST"
inline constexpr std::uint32_t kLatestValueVersion = 1;

// Bytes for values of up to `max_bytes`; they have to be aligned to 64. Errors: invalid_argument.
Result<std::uint64_t> latest_value_bytes(std::uint64_t max_bytes);
Result<void> format_latest_value(std::span<std::byte> bytes, std::uint64_t max_bytes);

// A view of one.
class LatestValue {
 public:
  struct Got {
    std::uint64_t version;
    std::uint64_t bytes;
  };

  // Errors: not_ready for zeroed bytes; corrupt for any that format_latest_value did not make.
  static Result<LatestValue> open(std::span<std::byte> bytes);

  std::uint64_t max_bytes() const { return max_bytes_; }
  // Of the newest value; 0 where there has been none.
  std::uint64_t version() const { return block_->newest.load(std::memory_order_acquire); }

  // Returns the version that it has become.
  Result<std::uint64_t> write(const SyncContext& context, std::span<const std::byte> value,
                              Deadline deadline);
  // Copies the newest value to the beginning of `into`. Version 0, and no bytes, before the first.
  Result<Got> read(std::span<std::byte> into, Deadline deadline) const;
  // Until there is a version above `than`; returns it. `spins` as SyncContext::spins().
  Result<std::uint64_t> wait(std::uint64_t than, Deadline deadline, std::uint32_t spins = 0) const;

 private:
  using Word = SharedWord<std::uint64_t>;

  LatestValue(LatestValueBlock* block, std::uint64_t max_bytes);
  // The length, and then the words of the value.
  Word* copy_of(std::uint64_t version) const;
  Result<bool> try_read(std::span<std::byte> into, Got& got) const;

  LatestValueBlock* block_;
  std::uint64_t max_bytes_;
  std::uint64_t stride_words_;
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
