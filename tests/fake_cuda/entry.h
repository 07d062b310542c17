// What happens on the way into every call: it is counted, it may be told to fail, and it fails in a
// process that may not use the driver.
//   Threads: one lock for the whole driver; work on streams takes it only to find memory.
#pragma once

#include <cstdint>
#include <mutex>

#include "tests/fake_cuda/calls.h"

namespace strata::inline v0_1::fake_cuda {

std::recursive_mutex& driver_mutex();

// Whether cuInit succeeded here, the process was forked since, or is at its end.
enum class Phase : std::uint8_t { before_start, started, forked, torn_down };
Phase phase();
void start();

// The error that every call returns from now on (an illegal address), or success.
CuResult sticky_error();
void set_sticky_error(CuResult result);

// The first error of this thread's calls below decides what Entry says; a call that counts only.
class Entry {
 public:
  // For calls that work before cuInit.
  struct Early {};

  explicit Entry(CallName name);
  Entry(CallName name, Early early);
  ~Entry();
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

  // Success where the call may go on.
  CuResult result() const { return result_; }
  // For a look that says "not yet": it counts for nothing, neither as a call nor on the way to one
  // that fails, since how many there are is a matter of time.
  void forget();
  // Lets other calls in, for one that waits.
  void unlock() { lock_.unlock(); }

 private:
  CuResult count_and_fail();

  CallName name_;
  bool is_killed_after_ = false;
  std::unique_lock<std::recursive_mutex> lock_;
  CuResult result_;
};

}  // namespace strata::inline v0_1::fake_cuda

// The first line of a call.
#define FAKE_CUDA_ENTER(name)                                        \
  strata::fake_cuda::Entry entry(strata::fake_cuda::CallName::name); \
  if (entry.result() != strata::cuda::kSuccess) return entry.result()

#define FAKE_CUDA_REQUIRE(condition, result) \
  if (!(condition)) return result
