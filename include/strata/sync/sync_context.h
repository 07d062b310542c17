// A SyncContext is one process's standing towards all primitives of one segment: who it is, which
// generation of the segment it sees, and how long it spins before it sleeps.
//   Threads:  a value; any thread may use it.
//   Lifetime: it holds its Owner, and with it the segment's attachment, where it was made from a
//             shared one; else the Owner must outlive it. Make it anew after a fork or a new
//             generation.
//   Cost:     making one asks the kernel for the CPUs of this process; using one is free.
// A lock belongs to a generation: whatever state it has from another one, it counts as unlocked.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "strata/sync/owner.h"

namespace strata::inline v0_1 {
class Os;  // hidden: declared outside of the pragma
}

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

// How a lock was got. A holder that died may have left half-made updates behind: after
// owner_died you hold the lock and must repair what it guards, then call mark_repaired(). If you
// unlock without, the next one is told owner_died again.
enum class Acquired : std::uint8_t { clean, owner_died };

class SyncContext {
 public:
  // `spins` is how often a waiter looks before it sleeps: see spins_for.
  SyncContext(std::shared_ptr<const Owner> owner, std::uint64_t generation, std::uint32_t spins)
      : owner_(std::move(owner)), generation_bits_(generation << 32), spins_(spins) {}
  SyncContext(Os& os, std::shared_ptr<const Owner> owner, std::uint64_t generation)
      : SyncContext(std::move(owner), generation, spins_for(os)) {}
  SyncContext(const Owner& owner, std::uint64_t generation, std::uint32_t spins)
      : SyncContext(std::shared_ptr<const Owner>(std::shared_ptr<void>(), &owner), generation,
                    spins) {}
  SyncContext(Os& os, const Owner& owner, std::uint64_t generation)
      : SyncContext(owner, generation, spins_for(os)) {}

  // None where this process has one CPU: there, whoever is waited for runs only if we sleep.
  static std::uint32_t spins_for(Os& os);

  const Owner& owner() const { return *owner_; }
  std::uint32_t token() const { return owner_->token(); }
  // The low half of the generation, in the high half of a word. Two generations of one segment
  // that are 2^32 apart would be taken for each other.
  std::uint64_t generation_bits() const { return generation_bits_; }
  std::uint32_t spins() const { return spins_; }

  // "token 7: pid 4711 (worker), started …"; for messages. It looks through /proc: some ms.
  std::string describe(std::uint32_t token) const;
  // Whether its owner is known to be dead; where the kernel cannot be asked, nobody is. About 1 us.
  bool is_dead(std::uint32_t token) const;
  // The same for polls, which ask again and again: who was found alive is not asked about again
  // before the coarse clock ticks, which it does every 1 to 10 ms. `coarse_ns` is that clock's.
  bool seems_dead(std::uint32_t token, std::uint64_t coarse_ns) const;

 private:
  std::shared_ptr<const Owner> owner_;
  std::uint64_t generation_bits_;
  std::uint32_t spins_;
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
