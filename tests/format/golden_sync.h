// What sync_v1.bin holds: the payload of a shared segment begins with SyncWords, in the states that
// are said here. make_golden_sync.cc brings them about, sync_golden_test.cc reads them.
// "Died" is a process that was killed while it held what is said; no lock of its token is left.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "strata/sync/barrier.h"
#include "strata/sync/condition.h"
#include "strata/sync/event.h"
#include "strata/sync/mpmc_ring.h"
#include "strata/sync/published.h"
#include "strata/sync/robust_mutex.h"
#include "strata/sync/rw_lock.h"
#include "strata/sync/semaphore.h"
#include "strata/sync/seq_lock.h"
#include "strata/sync/sharded.h"
#include "strata/sync/spsc_ring.h"
#include "strata/sync/versioned_cell.h"

namespace strata::inline v0_1::golden {

// Tokens in the order in which the processes joined.
inline constexpr std::uint32_t kMakerToken = 1;   // ended in good order
inline constexpr std::uint32_t kDeadToken = 2;    // died with all that it held
inline constexpr std::uint32_t kHeirToken = 3;    // took locks of the dead, ended in good order
inline constexpr std::uint32_t kWaiterToken = 4;  // died while it slept

inline constexpr RingOptions kSpscOptions = {.slots = 4, .message_bytes = 40};
inline constexpr RingOptions kMpmcOptions = {.slots = 8, .message_bytes = 40};

struct Triple {
  std::uint64_t a, b, c;
  bool operator==(const Triple&) const = default;
};

struct SyncWords {
  alignas(64) RobustMutex free_mutex;
  alignas(64) RobustMutex held_mutex;        // its holder died
  alignas(64) RobustMutex unrepaired_mutex;  // the heir of one who died did not repair: free
  alignas(64) RobustMutex counted_mutex;     // one death, repaired: free
  alignas(64) Event event_set;
  alignas(64) Event event_reset;
  alignas(64) RobustMutex condition_mutex;
  alignas(64) Condition condition;        // its one waiter died
  alignas(64) Semaphore semaphore{3};     // one permit is held by one who died
  alignas(64) Barrier barrier{2};         // in phase 1; one seat is held by one who died
  alignas(64) RwLock read_lock;           // one reader, who died
  alignas(64) RwLock written_lock;        // its writer died
  alignas(64) RwLock unrepaired_lock;     // the heir of its writer did not repair: free
  alignas(64) SeqCell<Triple> cell;       // {1, 2, 3}, written twice
  alignas(64) SeqCell<Triple> torn_cell;  // its writer died within the second write
  alignas(64) ShardedCounter<4> counter;  // 1 + 20 + 300 - 4000
  alignas(64) ShardedMutex<4> shards;     // the holder of shard 2 died
  alignas(64) VersionedCell versioned;    // 77, changed three times
  alignas(64) Published published;        // 4242
  // Messages "spsc 3" to "spsc 5", around the end; the consumer died with the first of these,
  // and the producer with a slot that it had not published.
  alignas(64) std::array<std::byte, 1024> spsc;
  // Messages "mpmc 6" to "mpmc 10", around the end, and "mpmc of the dead"; one who died had
  // received "mpmc 5" and was loaned the last slot.
  alignas(64) std::array<std::byte, 2048> mpmc;
};

// Where they are in the file is part of what is golden.
static_assert(offsetof(SyncWords, held_mutex) == 64 && offsetof(SyncWords, event_set) == 256);
static_assert(offsetof(SyncWords, semaphore) == 512 && offsetof(SyncWords, barrier) == 1024);
static_assert(offsetof(SyncWords, read_lock) == 2048 && offsetof(SyncWords, cell) == 5120);
static_assert(offsetof(SyncWords, counter) == 5504 && offsetof(SyncWords, shards) == 5760);
static_assert(offsetof(SyncWords, versioned) == 6016 && offsetof(SyncWords, spsc) == 6144);
static_assert(offsetof(SyncWords, mpmc) == 7168 && sizeof(SyncWords) == 9216);

}  // namespace strata::inline v0_1::golden
