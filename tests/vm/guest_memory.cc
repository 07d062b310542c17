#include "tests/vm/guest_memory.h"

#include <fcntl.h>
#include <numaif.h>
#include <unistd.h>

#include <cstdint>

namespace strata::inline v0_1::test {
namespace {

constexpr size_t kHugePageBytes = 2u << 20;
constexpr int kReadWrite = PROT_READ | PROT_WRITE;

int open_file(MemorySort sort) {
  switch (sort) {
    case MemorySort::kTmpfs: {
      const int fd = shm_open("/vm_guest_memory", O_CREAT | O_RDWR | O_EXCL, 0600);
      shm_unlink("/vm_guest_memory");
      return fd;
    }
    case MemorySort::kMemfd: return memfd_create("vm_guest_memory", MFD_CLOEXEC);
    case MemorySort::kHugetlb: return memfd_create("vm_guest_memory", MFD_CLOEXEC | MFD_HUGETLB);
    default: return -1;
  }
}

// Anonymous memory whose start is a multiple of 2 MiB: only there can a huge page begin.
void* map_aligned(size_t bytes) {
  void* room = mmap(nullptr, bytes + kHugePageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return room;
  const uintptr_t first = reinterpret_cast<uintptr_t>(room);
  const uintptr_t aligned = (first + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
  return mmap(reinterpret_cast<void*>(aligned), bytes, kReadWrite,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

}  // namespace

const char* name_of(MemorySort sort) {
  switch (sort) {
    case MemorySort::kAnonymous: return "anonymous";
    case MemorySort::kTmpfs: return "tmpfs";
    case MemorySort::kMemfd: return "memfd";
    case MemorySort::kHugetlb: return "hugetlb";
    case MemorySort::kTransparentHuge: return "transparent huge";
  }
  return "?";
}

GuestMemory::GuestMemory(MemorySort sort, size_t bytes) : bytes_(bytes), fd_(open_file(sort)) {
  if (fd_ >= 0) {
    if (ftruncate(fd_, static_cast<off_t>(bytes)) != 0) return;
    start_ = mmap(nullptr, bytes, kReadWrite, MAP_SHARED, fd_, 0);
  } else if (sort == MemorySort::kAnonymous || sort == MemorySort::kTransparentHuge) {
    start_ = map_aligned(bytes);
    const int advice = sort == MemorySort::kAnonymous ? MADV_NOHUGEPAGE : MADV_HUGEPAGE;
    if (valid()) madvise(start_, bytes, advice);
  }
}

GuestMemory::~GuestMemory() {
  if (valid()) munmap(start_, bytes_);
  if (fd_ >= 0) close(fd_);
}

bool GuestMemory::bind_to(int node) {
  const unsigned long mask = 1ul << node;
  // The kernel reads one bit less than it is told.
  return mbind(start_, bytes_, MPOL_BIND, &mask, 8 * sizeof mask, 0) == 0;
}

void GuestMemory::touch() {
  for (size_t offset = 0; offset < bytes_; offset += 4096) {
    static_cast<volatile char*>(start_)[offset] = 1;
  }
}

}  // namespace strata::inline v0_1::test
