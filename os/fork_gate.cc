#include "os/fork_gate.h"

#include <pthread.h>

#include <mutex>

namespace strata::inline v0_1 {
namespace {

// Of the process, as a fork is.
constinit std::mutex gate;

// As soon as this is loaded, since a first use could itself be under way when another thread forks.
// Who cannot be told of forks, for lack of memory, goes without the gate.
[[maybe_unused]] const int is_told_of_forks =
    pthread_atfork([] { gate.lock(); }, [] { gate.unlock(); }, [] { gate.unlock(); });

}  // namespace

ForkGate::ForkGate() { gate.lock(); }
ForkGate::~ForkGate() { gate.unlock(); }

}  // namespace strata::inline v0_1
