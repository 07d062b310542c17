// A copy that goes past the caches, for ranges that are larger than them.
//   Cost:     reads and writes each byte once; an ordinary copy below its library's threshold of
//             some MiB also reads what it overwrites. Slower than memcpy for what stays in a cache.
//   Persists: no. The ends that are no whole cache lines go through the cache: flush as after any
//             store.
#pragma once

#include <cstddef>

namespace strata::inline v0_1 {

// The ranges must not overlap.
void stream_copy(void* to, const void* from, std::size_t bytes);

// Takes a line out of the caches, which makes a later copy past them to it faster. Its content
// stays.
void evict(const void* address);

}  // namespace strata::inline v0_1
