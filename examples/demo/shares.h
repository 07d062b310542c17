// The work, cut into shares that processes take one by one: a segment of atomics. A share whose
// owner died is taken over by somebody else; the kernel's locks say who is dead, not a pid.
//   Threads:  any, of any process.
//   Lifetime: the segment must stay mapped.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "examples/demo/word_count.h"
#include "strata/strata.h"

namespace demo {

inline constexpr std::size_t kMaxWorkers = 64;

struct Share {
  std::uint32_t text;  // index of the text
  std::uint32_t reserved;
  std::uint64_t offset_bytes;
  std::uint64_t bytes;
  std::atomic<std::uint32_t> owner;       // token of the participant that works on it; 0: nobody
  std::atomic<std::uint32_t> taken_from;  // token of the dead owner, if there was one
  std::atomic<std::uint32_t> is_done;     // stored last: who sees 1 may read the result
  std::uint32_t reserved_b;
  Tally result;
};

struct WorkerRecord {
  std::atomic<std::uint32_t> token;
  std::uint32_t shares;
  std::uint32_t shares_taken_over;
  std::uint32_t reserved;
  std::uint64_t private_bytes_before;  // before it attached
  std::uint64_t private_bytes_after;   // when it had read its last share
};

struct Work {
  std::atomic<std::uint32_t> shares_done;
  std::uint32_t share_count;
  WorkerRecord workers[kMaxWorkers];
  // Share[share_count]

  std::span<Share> shares() { return {reinterpret_cast<Share*>(this + 1), share_count}; }
};

// Cuts the texts into parts of at most `share_bytes` and lays them out in a new segment.
strata::Result<strata::Segment> create_work(strata::Catalog& catalog, const std::string& uri,
                                            std::span<const std::string_view> texts,
                                            std::size_t share_bytes);

// The work in an attached segment. Errors: corrupt.
strata::Result<Work*> work_of(strata::Segment& segment);

// The next share for the participant: one that nobody has, else one of a dead owner. Nothing
// where all that is left is in good hands.
strata::Result<Share*> take_share(Work& work, const strata::Participant& self);

// Records the result of a share that `self` owns. False where somebody else has it by now.
void finish_share(Work& work, Share& share, const Tally& result);

}  // namespace demo
