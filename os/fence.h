// Fences between processes that cost the frequent side nothing. The rare side (about to sleep)
// calls fence_others(); the frequent side (publishing, then looking whether somebody sleeps) needs
// no fence of its own, as long as its process answers such calls. It is membarrier(2): the kernel
// has every CPU that runs an answering process pass a full fence.
//   Threads:  any.
//   Errors:   false where the kernel has no membarrier or forbids it. A frequent side that cannot
//             answer has to fence for itself.
//   Cost:     fence_others: a system call that interrupts the CPUs concerned, 1 to 10 us.
#pragma once

namespace strata::inline v0_1 {

// From now on each fence_others(), of any process, is a full fence in every running thread of this
// one. A forked child has to say so for itself.
bool answer_fences();

// A full fence here and in all processes that answer.
bool fence_others();

}  // namespace strata::inline v0_1
