// Power failures of pool operations: at every msync, ours and libpmemobj's, an image that holds
// only what was synced until then (and, by chance, pages or words that the kernel wrote out of
// its own accord) is opened by a process of its own, which must find the old state or the new.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <optional>
#include <random>

#include "pmem/backend.h"
#include "pmem/checkpoint.h"
#include "pmem/testing.h"
#include "tests/catch.h"
#include "tests/verified.h"

using namespace strata;
using strata::test::make_pool;
using strata::test::TempDir;

namespace {

// The medium: what of the pool would be left after a power failure.
class Medium {
 public:
  Medium(const std::string& pool_path, const std::string& image_path, unsigned evict_per_mille,
         unsigned seed)
      : image_path_(image_path), evict_per_mille_(evict_per_mille), random_(seed) {
    const int fd = ::open(pool_path.c_str(), O_RDWR);
    struct stat facts {};
    REQUIRE(::fstat(fd, &facts) == 0);
    inode_ = facts.st_ino;
    bytes_ = static_cast<std::size_t>(facts.st_size);
    live_ = static_cast<char*>(::mmap(nullptr, bytes_, PROT_READ, MAP_SHARED, fd, 0));
    ::close(fd);
    image_.assign(live_, live_ + bytes_);
  }
  ~Medium() { ::munmap(live_, bytes_); }

  void acknowledge(long value) { acknowledged_ = value; }
  std::uint64_t images() const { return images_; }
  std::uint64_t bad() const { return bad_; }
  bool is_inside() const { return is_inside_; }
  ino_t inode() const { return inode_; }

  void sync_address(const char* address, std::size_t bytes) {
    const auto offset = offset_of(address);
    if (offset) sync(*offset, bytes);
  }
  // The power fails right after the sync has taken effect; or, where something is written out
  // early, right before.
  void sync(std::size_t offset, std::size_t bytes) {
    is_inside_ = true;
    const std::size_t begin = offset & ~std::size_t{4095};
    const std::size_t end = std::min(bytes_, (offset + bytes + 4095) & ~std::size_t{4095});
    // A sync of what is there already makes no new image.
    if (std::memcmp(image_.data() + begin, live_ + begin, end - begin) != 0) {
      if (evict_per_mille_ != 0) examine();
      std::memcpy(image_.data() + begin, live_ + begin, end - begin);
      if (evict_per_mille_ == 0) examine();
    }
    is_inside_ = false;
  }
  void sync_all() { sync(0, bytes_); }

 private:
  // Where in the pool the mapping at `address` stands.
  std::optional<std::size_t> offset_of(const char* address) {
    std::FILE* maps = std::fopen("/proc/self/maps", "r");
    std::optional<std::size_t> found;
    char line[4400];
    while (!found && std::fgets(line, sizeof line, maps) != nullptr) {
      std::size_t begin = 0, end = 0, offset = 0;
      unsigned long inode = 0;
      char flags[8];
      if (std::sscanf(line, "%zx-%zx %7s %zx %*s %lu", &begin, &end, flags, &offset, &inode) != 5) {
        continue;
      }
      const auto at = reinterpret_cast<std::size_t>(address);
      if (at >= begin && at < end && inode == inode_) found = offset + (at - begin);
    }
    std::fclose(maps);
    return found;
  }

  void examine() {
    // What is written out early differs each time: every fourth image is enough.
    if (evict_per_mille_ != 0 && ++skipped_ % 4 != 0) return;
    std::vector<char> crashed = image_;
    if (evict_per_mille_ != 0) {
      for (std::size_t page = 0; page < bytes_; page += 4096) {
        if (std::memcmp(crashed.data() + page, live_ + page, 4096) == 0) continue;
        for (std::size_t at = page; at < page + 4096; at += 8) {
          if (random_() % 1000 < evict_per_mille_) std::memcpy(crashed.data() + at, live_ + at, 8);
        }
      }
    }
    const int fd = ::open(image_path_.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
    (void)!::write(fd, crashed.data(), crashed.size());
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
    if (status != 0) {
      ++bad_;
      std::fprintf(stderr, "image %lu after %ld is inconsistent (status %#x)\n", images_,
                   acknowledged_, status);
    }
  }

  std::string image_path_;
  unsigned evict_per_mille_;
  std::mt19937 random_;
  ino_t inode_ = 0;
  std::size_t bytes_ = 0;
  char* live_ = nullptr;
  std::vector<char> image_;
  long acknowledged_ = -1;
  std::uint64_t images_ = 0;
  std::uint64_t bad_ = 0;
  std::uint64_t skipped_ = 0;
  bool is_inside_ = false;
};

Medium* medium = nullptr;  // the interposed calls below have no other way to it

bool is_pool(int fd) {
  struct stat facts {};
  return ::fstat(fd, &facts) == 0 && facts.st_ino == medium->inode();
}

}  // namespace

// Every way to the medium that Strata and libpmemobj use on ordinary files.
extern "C" int msync(void* address, size_t bytes, int flags) {
  static const auto real = reinterpret_cast<int (*)(void*, size_t, int)>(dlsym(RTLD_NEXT, "msync"));
  if (medium != nullptr && !medium->is_inside()) {
    medium->sync_address(static_cast<char*>(address), bytes);
  }
  return real(address, bytes, flags);
}

extern "C" int fdatasync(int fd) {
  static const auto real = reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, "fdatasync"));
  if (medium != nullptr && !medium->is_inside() && is_pool(fd)) medium->sync_all();
  return real(fd);
}

namespace {

Result<void> put_pair(const Pool& pool, long value) {
  std::vector<StagedSegment> pair;
  for (const char* name : {"a", "b"}) {
    STRATA_ASSIGN(StagedSegment staged, pool.stage({.name = name, .payload_bytes = 9000}));
    for (std::size_t at = 0; at + sizeof value <= staged.payload().size(); at += sizeof value)
      std::memcpy(staged.payload().data() + at, &value, sizeof value);
    pair.push_back(std::move(staged));
  }
  return pool.publish(pair);
}

void work(const Pool& pool, PmemBackend& backend, Medium& watched) {
  const auto uri = [&](const char* name) { return SegmentUri{"pmem", pool.path(), name}; };
  for (long value = 0; value < 2; ++value) {
    REQUIRE(put_pair(pool, value));
    watched.acknowledge(value);
  }
  {
    Segment made = backend.create(uri("c"), {.payload_bytes = 5000, .max_bytes = 20000}).value();
    REQUIRE(made.grow(12000));
  }
  REQUIRE(pool.resize("c", 50000));
  REQUIRE(pool.rename("c", "d"));
  std::vector<std::byte> content(20000, std::byte{3});
  for (int i = 0; i < 3; ++i) {
    content[static_cast<std::size_t>(i) * 5000] ^= std::byte{1};
    REQUIRE(checkpoint(content, pool, "m", {.block_bytes = 4096, .keep_versions = 1}));
  }
  REQUIRE(pool.rollback("m", 0));
  REQUIRE(backend.remove(uri("d"), {}));
  REQUIRE(pool.trim("m", 0));
}

std::uint64_t run(unsigned evict_per_mille, unsigned seed) {
  RealOs os;
  const TempDir dir("/dev/shm");
  const Pool pool = make_pool(os, dir / "p", MiB(8));
  PmemBackend backend(os);
  Medium watched(pool.path(), dir / "image", evict_per_mille, seed);
  medium = &watched;
  work(pool, backend, watched);
  medium = nullptr;
  CHECK(watched.bad() == 0);
  return watched.images();
}

}  // namespace

TEST_CASE("every_crash_image_of_every_pool_operation_is_the_old_state_or_the_new") {
  REQUIRE(std::getenv("STRATA_CRASH_ORACLE") != nullptr);
  const std::uint64_t images = run(0, 1);
  CHECK(images > 100);
  strata::report_verified(images, "crash images");
}

TEST_CASE("crash_images_with_words_that_were_written_out_early_are_sound_too") {
  const std::uint64_t images = run(300, 7);
  CHECK(images > 50);
  strata::report_verified(images, "crash images");
}
