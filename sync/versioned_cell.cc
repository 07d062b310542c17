#include "strata/sync/versioned_cell.h"

namespace strata::inline v0_1 {

bool VersionedCell::compare_exchange(Snapshot& expected, std::uint64_t desired) {
  STRATA_STEP("before cmpxchg16b");
  const Snapshot next = {desired, expected.version + 1};
#ifdef __SANITIZE_THREAD__
  // The thread sanitizer cannot see into assembly; this call it knows.
  unsigned __int128 old = 0, now = 0;
  __builtin_memcpy(&old, &expected, 16);
  __builtin_memcpy(&now, &next, 16);
  const bool swapped = __atomic_compare_exchange_n(reinterpret_cast<unsigned __int128*>(this), &old,
                                                   now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  __builtin_memcpy(&expected, &old, 16);
#else
  // In assembly, as GCC makes a library call of it unless the whole program is built for it.
  bool swapped = false;
  asm volatile("lock cmpxchg16b %1"
               : "=@ccz"(swapped), "+m"(*this), "+a"(expected.value), "+d"(expected.version)
               : "b"(next.value), "c"(next.version)
               : "memory");
#endif
  if (swapped) expected = next;
  return swapped;
}

}  // namespace strata::inline v0_1
