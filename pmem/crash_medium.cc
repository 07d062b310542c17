#include "pmem/crash_medium.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <libpmem.h>
#include <libpmem2.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/check.h"

namespace strata::inline v0_1::test {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kLine = 64;

std::atomic<CrashMedium*> medium{nullptr};  // the interposed calls have no other way to it

template <typename Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

CrashMedium::CrashMedium(const std::string& pool_path, const std::string& image_path,
                         const CrashMediumOptions& options)
    : image_path_(image_path), options_(options), random_(options.seed) {
  const int fd = ::open(pool_path.c_str(), O_RDWR);
  struct stat facts {};
  STRATA_CHECK(fd >= 0 && ::fstat(fd, &facts) == 0);
  inode_ = facts.st_ino;
  bytes_ = static_cast<std::size_t>(facts.st_size);
  live_ = static_cast<char*>(::mmap(nullptr, bytes_, PROT_READ, MAP_SHARED, fd, 0));
  ::close(fd);
  STRATA_CHECK(live_ != MAP_FAILED);
  image_.assign(live_, live_ + bytes_);
  medium = this;
}

CrashMedium::~CrashMedium() {
  medium = nullptr;
  ::munmap(live_, bytes_);
}

void CrashMedium::forget_mappings() {
  const std::lock_guard lock(mutex_);
  mappings_.clear();
}

std::optional<std::size_t> CrashMedium::offset_in_known(std::uintptr_t address) const {
  for (const FileMapping& mapping : mappings_) {
    if (address >= mapping.begin && address < mapping.end) {
      return mapping.offset + (address - mapping.begin);
    }
  }
  return {};
}

// Where in the pool the byte at `address` stands.
std::optional<std::size_t> CrashMedium::offset_of(const void* address) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  if (const auto known = offset_in_known(at)) return known;
  mappings_.clear();
  std::FILE* maps = std::fopen("/proc/self/maps", "r");
  char line[4400];
  while (std::fgets(line, sizeof line, maps) != nullptr) {
    FileMapping mapping{};
    unsigned long inode = 0;
    char flags[8];
    if (std::sscanf(line, "%zx-%zx %7s %zx %*s %lu", &mapping.begin, &mapping.end, flags,
                    &mapping.offset, &inode) == 5 &&
        inode == inode_) {
      mappings_.push_back(mapping);
    }
  }
  std::fclose(maps);
  return offset_in_known(at);
}

bool CrashMedium::is_forgotten() {
  return options_.forget_one_in != 0 && ++requests_ % options_.forget_one_in == 0;
}

CrashMedium::Chunk CrashMedium::chunk_at(std::size_t offset, std::size_t bytes,
                                         std::size_t unit) const {
  const std::size_t begin = offset / unit * unit;
  const std::size_t end = std::min(bytes_, (offset + bytes + unit - 1) / unit * unit);
  return {begin, {live_ + begin, live_ + end}};
}

void CrashMedium::sync(const void* address, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (is_forgotten()) return;
  if (const auto offset = offset_of(address)) reach({chunk_at(*offset, bytes, kPage)});
}

void CrashMedium::sync_file(int fd) {
  struct stat facts {};
  if (::fstat(fd, &facts) != 0 || facts.st_ino != inode_) return;
  const std::lock_guard lock(mutex_);
  reach({chunk_at(0, bytes_, kPage)});
}

void CrashMedium::flush(const void* address, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (is_forgotten()) return;
  const auto offset = bytes == 0 ? std::nullopt : offset_of(address);
  if (offset) flushed_[std::this_thread::get_id()].push_back(chunk_at(*offset, bytes, kLine));
}

void CrashMedium::drain() {
  const std::lock_guard lock(mutex_);
  const auto mine = flushed_.find(std::this_thread::get_id());
  if (mine == flushed_.end()) return;
  const std::vector<Chunk> chunks = std::move(mine->second);
  flushed_.erase(mine);
  ++drains_;
  reach(chunks);
}

// The power fails right after this has taken effect; or, where something is written out early,
// right before.
void CrashMedium::reach(const std::vector<Chunk>& chunks) {
  // What is there already makes no new image.
  const bool is_news = std::any_of(chunks.begin(), chunks.end(), [&](const Chunk& chunk) {
    return std::memcmp(&image_[chunk.offset], chunk.bytes.data(), chunk.bytes.size()) != 0;
  });
  if (!is_news) return;
  if (options_.evict_per_mille != 0) examine();
  for (const Chunk& chunk : chunks)
    std::memcpy(&image_[chunk.offset], chunk.bytes.data(), chunk.bytes.size());
  if (options_.evict_per_mille == 0) examine();
}

std::vector<char> CrashMedium::image_with_evictions() {
  std::vector<char> image = image_;
  if (options_.evict_per_mille == 0) return image;
  for (std::size_t page = 0; page < bytes_; page += kPage) {
    if (std::memcmp(&image[page], live_ + page, kPage) == 0) continue;
    for (std::size_t at = page; at < page + kPage; at += 8) {
      if (random_() % 1000 < options_.evict_per_mille) std::memcpy(&image[at], live_ + at, 8);
    }
  }
  return image;
}

void CrashMedium::examine() {
  if (candidates_++ % options_.one_image_in != 0) return;
  const std::vector<char> crashed = image_with_evictions();
  const int fd = ::open(image_path_.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
  STRATA_CHECK(::write(fd, crashed.data(), bytes_) == static_cast<ssize_t>(bytes_));
  ::close(fd);
  const char* oracle = std::getenv("STRATA_CRASH_ORACLE");
  const std::string acknowledged = std::to_string(acknowledged_);
  const char* depth = images_ % 16 == 0 ? "thorough" : "quick";
  const pid_t child = ::vfork();
  if (child == 0) {
    ::execl(oracle, oracle, image_path_.c_str(), acknowledged.c_str(), depth, nullptr);
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ++images_;
  if (status == 0) return;
  ++bad_;
  std::fprintf(stderr, "image %llu after %ld is inconsistent (status %#x)\n",
               static_cast<unsigned long long>(images_), acknowledged_, status);
}

}  // namespace strata::inline v0_1::test

// Every way to the medium that Strata and libpmemobj use.

using strata::test::medium;
using strata::test::next;

extern "C" int msync(void* address, size_t bytes, int flags) {
  static auto* const real = next<decltype(msync)>("msync");
  if (auto* const watched = medium.load()) watched->sync(address, bytes);
  return real(address, bytes, flags);
}

extern "C" int fdatasync(int fd) {
  static auto* const real = next<decltype(fdatasync)>("fdatasync");
  if (auto* const watched = medium.load()) watched->sync_file(fd);
  return real(fd);
}

extern "C" int munmap(void* address, size_t bytes) {
  static auto* const real = next<decltype(munmap)>("munmap");
  const int done = real(address, bytes);
  if (auto* const watched = medium.load()) watched->forget_mappings();
  return done;
}

extern "C" void pmem_flush(const void* address, size_t bytes) {
  static auto* const real = next<decltype(pmem_flush)>("pmem_flush");
  if (auto* const watched = medium.load()) watched->flush(address, bytes);
  real(address, bytes);
}

extern "C" void pmem_drain() {
  static auto* const real = next<decltype(pmem_drain)>("pmem_drain");
  if (auto* const watched = medium.load()) watched->drain();
  real();
}

extern "C" void pmem_persist(const void* address, size_t bytes) {
  pmem_flush(address, bytes);
  pmem_drain();
}

namespace {

void follow(const void* address, size_t bytes, unsigned flags) {
  auto* const watched = medium.load();
  if (watched == nullptr) return;
  if ((flags & PMEM_F_MEM_NOFLUSH) == 0) watched->flush(address, bytes);
  if ((flags & (PMEM_F_MEM_NODRAIN | PMEM_F_MEM_NOFLUSH)) == 0) watched->drain();
}

pmem2_flush_fn flush_lines = nullptr;
pmem2_memcpy_fn copy_lines = nullptr;
pmem2_drain_fn fence = nullptr;

}  // namespace

extern "C" void* pmem_memcpy(void* to, const void* from, size_t bytes, unsigned flags) {
  static auto* const real = next<decltype(pmem_memcpy)>("pmem_memcpy");
  void* const done = real(to, from, bytes, flags);
  follow(to, bytes, flags);
  return done;
}

extern "C" void* pmem_memmove(void* to, const void* from, size_t bytes, unsigned flags) {
  static auto* const real = next<decltype(pmem_memmove)>("pmem_memmove");
  void* const done = real(to, from, bytes, flags);
  follow(to, bytes, flags);
  return done;
}

extern "C" void* pmem_memset(void* to, int value, size_t bytes, unsigned flags) {
  static auto* const real = next<decltype(pmem_memset)>("pmem_memset");
  void* const done = real(to, value, bytes, flags);
  follow(to, bytes, flags);
  return done;
}

extern "C" pmem2_flush_fn pmem2_get_flush_fn(struct pmem2_map* map) {
  static auto* const real = next<decltype(pmem2_get_flush_fn)>("pmem2_get_flush_fn");
  flush_lines = real(map);  // the same for all maps of cache lines; pages are never asked for
  return [](const void* address, size_t bytes) {
    if (auto* const watched = medium.load()) watched->flush(address, bytes);
    flush_lines(address, bytes);
  };
}

extern "C" pmem2_memcpy_fn pmem2_get_memcpy_fn(struct pmem2_map* map) {
  static auto* const real = next<decltype(pmem2_get_memcpy_fn)>("pmem2_get_memcpy_fn");
  copy_lines = real(map);
  return [](void* to, const void* from, size_t bytes, unsigned flags) {
    void* const done = copy_lines(to, from, bytes, flags);
    if (auto* const watched = medium.load()) watched->flush(to, bytes);
    return done;
  };
}

extern "C" pmem2_drain_fn pmem2_get_drain_fn(struct pmem2_map* map) {
  static auto* const real = next<decltype(pmem2_get_drain_fn)>("pmem2_get_drain_fn");
  fence = real(map);
  return [] {
    if (auto* const watched = medium.load()) watched->drain();
    fence();
  };
}
