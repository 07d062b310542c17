#include "os/fork_gate.h"

#include <pthread.h>

#include <mutex>
#include <utility>

namespace strata::inline v0_1 {

// Behind the gate.
struct UnsharedFds {
  static constinit inline UnsharedFd* first = nullptr;

  // In the child, where no other thread is. Nothing else than a system call for each.
  static void close_all() {
    for (UnsharedFd* each = first; each != nullptr; each = each->next_)
      each->fd_.reset();
  }
};

namespace {

// Of the process, as a fork is.
constinit std::mutex gate;

// As soon as this is loaded, since a first use could itself be under way when another thread forks.
// Who cannot be told of forks, for lack of memory, goes without the gate.
[[maybe_unused]] const int is_told_of_forks =
    pthread_atfork([] { gate.lock(); }, [] { gate.unlock(); },
                   [] {
                     UnsharedFds::close_all();
                     gate.unlock();
                   });

}  // namespace

ForkGate::ForkGate() { gate.lock(); }
ForkGate::~ForkGate() { gate.unlock(); }

UnsharedFd::UnsharedFd(Fd fd, const ForkGate&) : fd_(std::move(fd)), next_(UnsharedFds::first) {
  if (next_ != nullptr) next_->before_ = this;
  UnsharedFds::first = this;
}

UnsharedFd::~UnsharedFd() {
  const ForkGate held;
  (before_ != nullptr ? before_->next_ : UnsharedFds::first) = next_;
  if (next_ != nullptr) next_->before_ = before_;
}

}  // namespace strata::inline v0_1
