#include "tests/vm/medium.h"

#include <emmintrin.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace strata::inline v0_1::test {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kLineBytes = 64;

}  // namespace

std::unique_ptr<FileMedium> FileMedium::open(const char* path, size_t byte_count) {
  const int fd = ::open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return nullptr;
  constexpr int kReadWrite = PROT_READ | PROT_WRITE;
  // MAP_SYNC is refused everywhere but on persistent memory: the kernel's own answer to whether
  // a flushed cache line is safe.
  void* start = mmap(nullptr, byte_count, kReadWrite, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
  const bool by_cache_line = start != MAP_FAILED;
  if (!by_cache_line) start = mmap(nullptr, byte_count, kReadWrite, MAP_SHARED, fd, 0);
  const int error = errno;
  close(fd);
  errno = error;
  if (start == MAP_FAILED) return nullptr;
  return std::unique_ptr<FileMedium>(
      new FileMedium(static_cast<std::byte*>(start), byte_count, by_cache_line));
}

FileMedium::~FileMedium() { munmap(start_, byte_count_); }

void FileMedium::flush(const void* start, size_t byte_count) {
  const auto* first = static_cast<const std::byte*>(start);
  if (by_cache_line_) {
    const auto address = reinterpret_cast<uintptr_t>(first);
    for (uintptr_t line = address / kLineBytes * kLineBytes; line < address + byte_count;
         line += kLineBytes) {
      _mm_clflush(reinterpret_cast<const void*>(line));
    }
    return;
  }
  const size_t begin = static_cast<size_t>(first - start_) / kPageBytes * kPageBytes;
  unsynced_.emplace_back(begin, static_cast<size_t>(first - start_) + byte_count);
}

void FileMedium::drain() {
  if (by_cache_line_) {
    _mm_sfence();
    return;
  }
  for (const auto& [begin, end] : unsynced_) {
    if (msync(start_ + begin, end - begin, MS_SYNC) != 0) {
      std::perror("msync");
      std::_Exit(3);
    }
  }
  unsynced_.clear();
}

}  // namespace strata::inline v0_1::test
