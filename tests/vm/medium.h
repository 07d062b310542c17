// A Medium is bytes that survive: the seam between the bank and what it is written to. The bank is
// a control, so its media use the kernel and the CPU directly and nothing of the library.
//   Threads:  one at a time.
//   Lifetime: the bytes stay mapped until the medium is destroyed.
//   Errors:   FileMedium::open says why in errno; a failed msync ends the process, as nothing that
//             was promised before it can be trusted.
//   Persists: only what was flushed and then drained; the order within one drain is open.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace strata::inline v0_1::test {

class Medium {
 public:
  virtual ~Medium() = default;
  virtual std::byte* bytes() = 0;
  virtual void flush(const void* start, size_t byte_count) = 0;
  virtual void drain() = 0;
};

// A file: by cache lines where the file system maps persistent memory (MAP_SYNC), by pages and
// msync anywhere else.
class FileMedium : public Medium {
 public:
  // Maps an existing file of at least `byte_count` bytes; null with errno on failure.
  static std::unique_ptr<FileMedium> open(const char* path, size_t byte_count);
  ~FileMedium() override;

  std::byte* bytes() override { return start_; }
  void flush(const void* start, size_t byte_count) override;
  void drain() override;
  bool by_cache_line() const { return by_cache_line_; }

 private:
  FileMedium(std::byte* start, size_t byte_count, bool by_cache_line)
      : start_(start), byte_count_(byte_count), by_cache_line_(by_cache_line) {}

  std::byte* const start_;
  const size_t byte_count_;
  const bool by_cache_line_;
  std::vector<std::pair<size_t, size_t>> unsynced_;  // first byte, end; whole pages
};

}  // namespace strata::inline v0_1::test
