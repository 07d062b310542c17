// A folder of its own for one test, gone with everything in it afterwards.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "base/check.h"

namespace strata::inline v0_1::test {

class TempDir {
 public:
  // On a disk, or under `parent` (such as /dev/shm).
  explicit TempDir(const std::string& parent = "/tmp") : path_(parent + "/strata-test-XXXXXX") {
    STRATA_CHECK(mkdtemp(path_.data()) != nullptr);
  }
  // A forked child that unwinds must leave its parent's folder alone.
  ~TempDir() {
    std::error_code ignored;
    if (getpid() == owner_) std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  pid_t owner_ = getpid();
  std::string path_;
};

}  // namespace strata::inline v0_1::test
