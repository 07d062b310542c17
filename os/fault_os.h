// FaultOs is the real kernel with a fault at the n-th call: it fails with a chosen errno, or
// kills this process there. A test first counts the calls of an operation with a quiet
// FaultOs, then runs it once for every n.
//   Threads:  calls are counted over all threads, unless only_this_thread() was called.
//   Errors:   as RealOs, plus the injected ones.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "os/os.h"

namespace strata::inline v0_1 {

class FaultOs final : public Os {
 public:
  // Fails the n-th call from now (the first is 1) and those up to `count` calls.
  void fail_at(std::uint64_t n, int sys_errno, std::uint64_t count = 1);
  // SIGKILLs this process just before the n-th call from now is made.
  void kill_at(std::uint64_t n);
  // Only calls of this name are counted and failed; empty: all.
  void only(std::string call);
  // Only calls of the calling thread are: others work beside it, at moments of their own.
  void only_this_thread();
  void reset();

  std::uint64_t calls() const { return calls_.load(); }
  // The names of the counted calls, oldest first.
  std::vector<std::string> trace() const;

 protected:
  int before(const char* call) override;

 private:
  std::atomic<std::uint64_t> calls_{0};
  std::atomic<std::uint64_t> fail_from_{0};
  std::atomic<std::uint64_t> fail_until_{0};
  std::atomic<std::uint64_t> kill_at_{0};
  std::atomic<int> sys_errno_{0};
  mutable std::mutex mutex_;
  std::string only_;
  std::optional<std::thread::id> only_thread_;
  std::vector<std::string> trace_;
};

}  // namespace strata::inline v0_1
