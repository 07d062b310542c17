// Shared by the tests of this folder: a directory of their own, and small pools in it.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>

#include "base/bytes.h"
#include "os/os.h"
#include "pmem/pool.h"

namespace strata::test {

class TempDir {
 public:
  // On a disk, or under `parent` (such as /dev/shm).
  explicit TempDir(const std::string& parent = "/tmp") {
    std::string pattern = parent + "/strata-pmem-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline Pool make_pool(Os& os, const std::string& path, std::uint64_t bytes = MiB(16)) {
  return Pool::create(os, path, {.bytes = bytes}).value();
}

// Runs `body` in a forked child; returns the wait status.
inline int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

}  // namespace strata::test
