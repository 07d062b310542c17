// The bytes of strata.Barrier, and what happens to them.
//   Threads:  with the GIL.
//   Errors:   Broken where threading raises BrokenBarrierError.
// Turn follows turn. A turn ends when as many have arrived as there are parties, or by a reset. The
// mutex guards all changes; each of them is one store that makes it so, so that a process killed
// between two of them leaves nothing to repair. Barrier of the library is for participants that
// join once; here any thread may come to any turn, as threading has it.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>

#include "python/core/shared_object.h"
#include "python/core/wait.h"
#include "strata/base/bytes.h"
#include "strata/sync/condition.h"
#include "strata/sync/robust_mutex.h"

namespace strata::python {

// docs/format/python.md is the contract of these bytes.
struct BarrierPlace {
  // Who arrived here last: generation and token. It is waited for in later turns: where it is
  // killed the barrier breaks. 0 where it ended as it should.
  SharedWord<std::uint64_t> who;
  SharedWord<std::uint64_t> arrived;  // the turn that it arrived in, and 1; 0 for none
};

struct alignas(kCacheLineBytes) BarrierBytes {
  static constexpr std::uint64_t kBroken = 1;

  RobustMutex mutex;                      // 0
  SharedWord<std::uint64_t> state;        // 64: twice the turn, and kBroken
  SharedWord<std::uint64_t> reset_turns;  // 72: bit turn % 64 where it ended by a reset
  SharedWord<std::uint64_t> generation;   // 80: what all of this is of
  SharedWord<std::uint32_t> parties;      // 88
  SharedWord<std::uint32_t> broken_by;    // 92: BarrierState::Why, for messages
  Condition ended;                        // 96: a turn has, or it broke
  std::array<std::uint64_t, 3> reserved;  // 104
};
static_assert(sizeof(BarrierBytes) == 128 && offsetof(BarrierBytes, ended) == 96);

class BarrierState {
 public:
  static constexpr const char* kType = "strata.Barrier";
  static constexpr std::uint32_t kMostParties = 4096;
  static std::uint64_t bytes_for(std::uint32_t parties) {
    return sizeof(BarrierBytes) + parties * sizeof(BarrierPlace);
  }

  enum class Why : std::uint32_t { none, abort, timeout, death, action };

  class Broken : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
  };

  struct Arrival {
    std::uint32_t index;  // how many had arrived before
    std::uint32_t place;
    std::uint64_t turn;
    bool is_last;  // and the turn is over
  };

  explicit BarrierState(SharedObject opened);
  ~BarrierState() { leave(); }
  BarrierState(const BarrierState&) = delete;
  BarrierState& operator=(const BarrierState&) = delete;

  SharedObject& object() { return object_; }
  std::uint32_t parties() const { return parties_; }

  // The last to arrive runs `action` before the others go on; where it throws, the barrier breaks.
  Arrival arrive(const std::function<void()>& action);
  // Whether the turn of `arrival` is over. It completes what a killed process left undone, and
  // breaks the barrier where one of those waited for was killed.
  bool look(const Arrival& arrival);
  // Sleeps until it is over. Errors: what a handler of a signal raised: it has not arrived then.
  void wait_for(const Arrival& arrival, Timeout timeout);
  // It has not arrived, where the turn is not over yet.
  void withdraw(const Arrival& arrival);
  // Breaks it, unless the turn is over by now.
  void time_out(const Arrival& arrival);

  void abort();
  void reset();
  std::uint32_t waiting();
  bool is_broken();

  // This process is waited for no more: it ends as it should.
  void leave();

 private:
  BarrierPlace& place(std::uint32_t index);
  // With the mutex held, and the bytes of this generation.
  template <typename Work>
  auto locked(Work&& work);
  std::uint32_t arrived_in(std::uint64_t turn);
  std::uint32_t choose_place(const SyncContext& context, std::uint64_t turn);
  void end_turn(std::uint64_t turn, bool is_reset);
  void break_it(std::uint64_t turn, Why why);
  bool has_ended(const Arrival& arrival);
  bool is_anybody_dead(const SyncContext& context, std::uint64_t turn);
  [[noreturn]] void raise_broken();

  SharedObject object_;
  BarrierBytes* words_;
  BarrierPlace* places_;
  std::uint32_t parties_;
};

}  // namespace strata::python
