// The CPU that this thread runs on now. It may be another one a moment later: good for choosing
// a shard, where a wrong choice costs speed and nothing else.
//   Cost:     two loads where glibc (2.35 and later) keeps the kernel's rseq area, else a call.
#pragma once

#include <sched.h>

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

inline unsigned current_cpu() {
#ifdef RSEQ_SIG
  if (__rseq_size != 0) {
    const auto* area = reinterpret_cast<const volatile struct rseq*>(
        static_cast<const char*>(__builtin_thread_pointer()) + __rseq_offset);
    return area->cpu_id_start;  // 0 where it is not known
  }
#endif
  const int cpu = sched_getcpu();
  return cpu < 0 ? 0 : static_cast<unsigned>(cpu);
}

// The NUMA node that this thread runs on now, or 0 where the kernel does not say.
//   Cost:     a vDSO call, about 10 ns.
int current_node();

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
