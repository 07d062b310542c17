// strata.Queue: messages between any number of processes, over an MpmcRing; and the two ways of
// using it without a copy, a Slot to write into and a Message to read from.
//   Threads:  under the GIL. Whoever waits does so without, on a copy of the ring.
//   Lifetime: slots, messages and views of them keep the memory mapped, also after close().
#pragma once

#include <cstdint>
#include <optional>

#include "python/core/shared_object.h"
#include "python/core/wait.h"
#include "strata/sync/mpmc_ring.h"

namespace strata::python {

class Queue {
 public:
  static constexpr std::string_view kType = "strata.Queue";
  // Of messages that are pickles: told apart in the header, so that nobody unpickles by accident.
  static constexpr std::string_view kPickleType = "strata.PickleQueue";

  explicit Queue(SharedObject object);
  static Queue* from_handle(const nb::bytes& handle);

  // Errors: ValueError once closed.
  SharedObject& object();
  // This process's ring, opened anew in a forked child.
  MpmcRing& ring();
  bool has_pickles() const { return has_pickles_; }

  // Nothing, with queue.Full or queue.Empty set, where the time ran out. Throws what a handler of a
  // signal raised.
  std::optional<MpmcRing::Loan> loan(Timeout timeout);
  std::optional<MpmcRing::Message> receive(Timeout timeout);
  // Of what this process holds, also after close(). A forked child holds nothing of its parent.
  Result<void> publish(MpmcRing::Loan& loan, std::size_t bytes);
  void abandon(MpmcRing::Loan& loan);
  void release(MpmcRing::Message& message);
  // Around what is held for longer than a call: the ring stays for it.
  void hold() { ++held_; }
  void let_go();

  // A null object, with queue.Full or queue.Empty set, likewise.
  nb::object put(nb::handle object, Timeout timeout);
  nb::object get(Timeout timeout);
  void close();

 private:
  std::optional<SharedObject> object_;
  std::optional<MpmcRing> ring_;
  std::uint32_t token_ = 0;  // that ring_ was opened with
  std::uint64_t held_ = 0;   // slots and messages
  bool has_pickles_;
};

void bind_queue(nb::module_& module);

}  // namespace strata::python
