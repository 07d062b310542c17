// What of a pool would be left after a power failure: an image that holds only what was synced,
// or flushed and drained, so far, by Strata or by libpmemobj. At each step it is opened by a
// process of its own (crash_oracle), which must find the old state or the new.
//
// On page granularity the steps are msync and fdatasync; on cache lines, the flushes and drains
// of libpmem and libpmem2. A test links crash_medium.cc with -rdynamic, so that the libraries'
// calls come to it first.
//   Threads:  any; one medium at a time.
//   Lifetime: the pool's file must outlive it, with the size that it has at the start.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace strata::inline v0_1::test {

struct CrashMediumOptions {
  // Of words that differ from the image, so many reach it early, as if the cache had written
  // them out of its own accord. Else the images hold only what was asked for.
  unsigned evict_per_mille = 0;
  unsigned seed = 1;
  unsigned one_image_in = 1;  // the first of each so many is examined
  // Takes no notice of the last of each so many syncs and flushes, as if they were missing in
  // what is tested; 0: of all.
  unsigned forget_one_in = 0;
};

class CrashMedium {
 public:
  // From now on it follows what is done to the pool.
  CrashMedium(const std::string& pool_path, const std::string& image_path,
              const CrashMediumOptions& options);
  ~CrashMedium();
  CrashMedium(const CrashMedium&) = delete;
  CrashMedium& operator=(const CrashMedium&) = delete;

  // The oracle finds this value, or the next one.
  void acknowledge(long value) { acknowledged_ = value; }
  std::uint64_t images() const { return images_; }  // examined
  std::uint64_t bad() const { return bad_; }
  std::uint64_t drains() const { return drains_; }  // of cache lines

  // For the interposed calls.
  void sync(const void* address, std::size_t bytes);
  void sync_file(int fd);
  void flush(const void* address, std::size_t bytes);
  void drain();
  void forget_mappings();

 private:
  struct Chunk {
    std::size_t offset;
    std::vector<char> bytes;
  };
  struct FileMapping {
    std::uintptr_t begin;
    std::uintptr_t end;
    std::size_t offset;
  };

  std::optional<std::size_t> offset_of(const void* address);
  std::optional<std::size_t> offset_in_known(std::uintptr_t address) const;
  bool is_forgotten();
  Chunk chunk_at(std::size_t offset, std::size_t bytes, std::size_t unit) const;
  void reach(const std::vector<Chunk>& chunks);
  void examine();
  std::vector<char> image_with_evictions();

  const std::string image_path_;
  const CrashMediumOptions options_;
  std::mutex mutex_;
  std::mt19937 random_;
  ino_t inode_ = 0;
  std::size_t bytes_ = 0;
  char* live_ = nullptr;
  std::vector<char> image_;
  std::vector<FileMapping> mappings_;
  std::map<std::thread::id, std::vector<Chunk>> flushed_;
  long acknowledged_ = -1;
  std::uint64_t images_ = 0;
  std::uint64_t bad_ = 0;
  std::uint64_t drains_ = 0;
  std::uint64_t candidates_ = 0;
  std::uint64_t requests_ = 0;
};

}  // namespace strata::inline v0_1::test
