// A folder of its own in /dev/shm for one test, gone with everything in it afterwards.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "base/check.h"

namespace strata {

class ShmDirectory {
 public:
  ShmDirectory() {
    char pattern[] = "/dev/shm/strata-test-XXXXXX";
    STRATA_CHECK(mkdtemp(pattern) != nullptr);
    path_ = pattern;
  }
  // A forked child that unwinds must leave its parent's folder alone.
  ~ShmDirectory() {
    if (getpid() == owner_) std::filesystem::remove_all(path_);
  }
  ShmDirectory(const ShmDirectory&) = delete;
  ShmDirectory& operator=(const ShmDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  pid_t owner_ = getpid();
  std::string path_;
};

}  // namespace strata
