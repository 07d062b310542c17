// Shared by the tests of this folder: small pools in a folder of their own.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "base/bytes.h"
#include "os/os.h"
#include "pmem/pool.h"
#include "tests/temp_dir.h"

namespace strata::test {

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
