// Memory of every sort that a host segment can be made of, straight from the kernel: the control
// for the suites that place such memory through the library.
//   Threads:  one.
//   Lifetime: mapped until destroyed; a named file is removed at once, so nothing stays behind.
//   Errors:   valid() is false, and errno says why.
#pragma once

#include <sys/mman.h>

#include <cstddef>

namespace strata::inline v0_1::test {

enum class MemorySort { kAnonymous, kTmpfs, kMemfd, kHugetlb, kTransparentHuge };

inline constexpr MemorySort kAllSorts[] = {MemorySort::kAnonymous, MemorySort::kTmpfs,
                                           MemorySort::kMemfd, MemorySort::kHugetlb,
                                           MemorySort::kTransparentHuge};

const char* name_of(MemorySort sort);

class GuestMemory {
 public:
  GuestMemory(MemorySort sort, size_t bytes);
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  bool valid() const { return start_ != MAP_FAILED; }
  void* start() const { return start_; }
  size_t bytes() const { return bytes_; }

  // Binds the range to one node; nothing is touched. False with errno on failure.
  bool bind_to(int node);
  // Writes one byte per small page.
  void touch();

 private:
  void* start_ = MAP_FAILED;
  size_t bytes_;
  int fd_ = -1;
};

}  // namespace strata::inline v0_1::test
