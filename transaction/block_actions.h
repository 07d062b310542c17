// BlockActions is what a transaction asks of the allocator whose memory it changes. The heap
// implements it; the transaction log decides what happens when, and what is repaired after a death.
//
// A block has two bits in one word, so that each change of state is one compare-and-swap:
//
//     free -> tentative -> allocated -> freeing -> free
//
// A transaction makes a block tentative after its log names it, and allocated once it has
// committed. It makes a block freeing only after it has committed, and free when no log will
// ever name it again. So after a power failure every block that is left tentative or freeing,
// once the log has been replayed, is free: release_leftovers() sees to that.
//   Threads:  any thread of any attached process; change() is atomic.
//   Errors:   offsets may come from a damaged log: each function checks them, and an offset that
//             is not the start of a block gives corrupt or invalid_argument, never a write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "strata/base/result.h"

namespace strata::inline v0_1 {

enum class BlockState : std::uint8_t {
  free = 0b00,       // or in the cache of a process
  tentative = 0b01,  // taken by a transaction that has not committed
  allocated = 0b10,
  freeing = 0b11,  // freed by a transaction that has committed; not yet handed out again
};

class BlockActions {
 public:
  virtual ~BlockActions() = default;

  // The payload as it is now: after a growth by another process, all of it. Asked for rarely.
  virtual std::span<std::byte> payload() = 0;

  // The offset of a free block of at least `bytes` that nobody else can take: from this process's
  // own cache, where it stays `free`. All that is needed to find the block again by its offset is
  // durable when this returns. Where the process dies, the block must not be handed to anybody
  // before the transactions of the dead process were recovered.
  // Errors: exhausted; invalid_argument for an alignment that is not a power of two.
  virtual Result<std::uint64_t> reserve(std::uint64_t bytes, std::uint64_t alignment) = 0;
  // Gives a reserved, still free block back to the cache.
  virtual void cancel(std::uint64_t offset) = 0;

  // Errors: invalid_argument where no block starts there.
  virtual Result<BlockState> state(std::uint64_t offset) = 0;
  // Usable bytes of the block at `offset`. Errors: invalid_argument where no block starts there.
  virtual Result<std::uint64_t> usable_bytes(std::uint64_t offset) = 0;
  // One compare-and-swap: true where the block was in state `from`. A block that becomes free
  // may be handed out again from then on. Flushes nothing.
  // Errors: corrupt where no block starts there.
  virtual Result<bool> change(std::uint64_t offset, BlockState from, BlockState to) = 0;
  // The bytes that hold the block's state, for flushing.
  virtual std::span<const std::byte> state_bytes(std::uint64_t offset) = 0;

  // After a power failure, with the log replayed and nobody else attached: every tentative and
  // every freeing block becomes free. Flushes what it changes; the caller drains.
  virtual Result<void> release_leftovers() = 0;
};

}  // namespace strata::inline v0_1
