// What the tests and benchmarks of sync/ share: an Owner without a segment, shared memory,
// and children that are killed.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>

#include "base/check.h"
#include "os/os.h"
#include "strata/os/deadline.h"
#include "strata/os/fd.h"
#include "strata/sync/sync_context.h"
#include "tests/child.h"

namespace strata::inline v0_1::test {

// The lock file of a pretended segment.
class LockFile {
 public:
  LockFile() : fd_(os_.memfd_create("locks", 0).value()) {}
  // A new open file each time: locks belong to open files, and a child inherits its parent's.
  Fd open() const { return os_.reopen(fd_.get(), O_RDWR).value(); }
  Os& os() const { return os_; }

 private:
  mutable RealOs os_;
  Fd fd_;
};

// A process, as far as liveness goes: it lives until this object or its process dies.
class FileOwner final : public Owner {
 public:
  FileOwner(const LockFile& file, std::uint32_t token)
      : Owner(&mine_, getpid(), 4711), os_(file.os()), fd_(file.open()), mine_(token) {
    STRATA_CHECK(os_.try_lock_byte(fd_.get(), token, LockKind::exclusive).value());
  }
  Result<bool> is_alive(std::uint32_t token) const override {
    if (token == mine_) return true;
    return os_.is_range_locked(fd_.get(), token, 1, LockKind::shared);
  }
  std::string describe(std::uint32_t token) const override {
    return "the process of token " + std::to_string(token);
  }

 private:
  Os& os_;
  Fd fd_;
  std::uint32_t mine_;
};

// An Owner together with the context it acts in.
struct Party {
  Party(const LockFile& file, std::uint32_t token, std::uint64_t generation = 1)
      : Party(file, token, generation, SyncContext::spins_for(file.os())) {}
  Party(const LockFile& file, std::uint32_t token, std::uint64_t generation, std::uint32_t spins)
      : owner(file, token), context(owner, generation, spins) {}
  FileOwner owner;
  SyncContext context;
};

// A T in memory that forked children share, zeroed before its constructor runs.
template <typename T>
class Shared {
 public:
  template <typename... Args>
  explicit Shared(Args&&... args) {
    void* bytes = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    STRATA_CHECK(bytes != MAP_FAILED);
    value_ = new (bytes) T(std::forward<Args>(args)...);
  }
  ~Shared() { munmap(value_, kBytes); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T* operator->() const { return value_; }
  T& operator*() const { return *value_; }

 private:
  static constexpr std::size_t kBytes = (sizeof(T) + 4095) / 4096 * 4096;
  T* value_;
};

[[noreturn]] inline void die() {
  raise(SIGKILL);
  _exit(1);
}

// Until `done()`, or ten minutes.
template <typename Done>
void wait_until(Done done) {
  const Deadline deadline = Deadline::after_ms(600'000);
  while (!done()) {
    STRATA_CHECK(!deadline.expired());
    usleep(200);
  }
}

}  // namespace strata::inline v0_1::test
