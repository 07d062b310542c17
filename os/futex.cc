#include "strata/os/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace strata::inline v0_1 {

FutexWait futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                     Deadline deadline, std::uint32_t bitset) {
  // WAIT_BITSET takes an absolute time, so an interrupted wait need not recompute its rest.
  const timespec until = deadline.absolute();
  const long rc = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, expected, &until, nullptr, bitset);
  if (rc == 0 || errno == EINTR) return FutexWait::woken;
  return errno == ETIMEDOUT ? FutexWait::timed_out : FutexWait::changed;
}

int futex_wake(const std::atomic<std::uint32_t>& word, int count, std::uint32_t bitset) {
  const long woken = syscall(SYS_futex, &word, FUTEX_WAKE_BITSET, count, nullptr, nullptr, bitset);
  return woken > 0 ? static_cast<int>(woken) : 0;
}

}  // namespace strata::inline v0_1
