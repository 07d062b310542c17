// The machine's file systems, without the library: one is really mapped past the page cache, the
// others really are not. The suites of pools rest on it.
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "tests/catch.h"
#include "tests/vm/medium.h"

namespace strata::inline v0_1::test {
namespace {

constexpr std::size_t kFileBytes = 8u << 20;

struct FileSystem {
  const char* directory;
  bool is_dax;
};
constexpr FileSystem kFileSystems[] = {
    {"/mnt/dax", true}, {"/mnt/paged", false}, {"/mnt/tmpfs", false}};

// A file of its own, gone at the end.
class File {
 public:
  explicit File(const std::string& directory) : path_(directory + "/truth") {
    const int fd = open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    made_ = fd >= 0 && posix_fallocate(fd, 0, kFileBytes) == 0;
    if (fd >= 0) close(fd);
  }
  ~File() { unlink(path_.c_str()); }
  bool made() const { return made_; }
  const char* path() const { return path_.c_str(); }

 private:
  const std::string path_;
  bool made_ = false;
};

TEST_CASE("only_the_dax_file_system_grants_map_sync") {
  for (const FileSystem& system : kFileSystems) {
    INFO(system.directory);
    const File file(system.directory);
    REQUIRE(file.made());
    const auto medium = FileMedium::open(file.path(), kFileBytes);
    REQUIRE(medium != nullptr);
    CHECK(medium->by_cache_line() == system.is_dax);
  }
}

TEST_CASE("statx_says_which_file_is_mapped_past_the_page_cache") {
  for (const FileSystem& system : kFileSystems) {
    INFO(system.directory);
    const File file(system.directory);
    REQUIRE(file.made());
    struct statx facts = {};
    REQUIRE(statx(AT_FDCWD, file.path(), 0, STATX_ALL, &facts) == 0);
    CHECK(((facts.stx_attributes & STATX_ATTR_DAX) != 0) == system.is_dax);
  }
}

}  // namespace
}  // namespace strata::inline v0_1::test
