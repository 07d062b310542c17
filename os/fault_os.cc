#include "os/fault_os.h"

#include <csignal>

namespace strata::inline v0_1 {

void FaultOs::fail_at(std::uint64_t n, int sys_errno, std::uint64_t count) {
  sys_errno_ = sys_errno;
  fail_from_ = calls_ + n;
  fail_until_ = calls_ + n + count;
}

void FaultOs::kill_at(std::uint64_t n) { kill_at_ = calls_ + n; }

void FaultOs::only(std::string call) {
  const std::lock_guard lock(mutex_);
  only_ = std::move(call);
}

void FaultOs::only_this_thread() {
  const std::lock_guard lock(mutex_);
  only_thread_ = std::this_thread::get_id();
}

void FaultOs::reset() {
  const std::lock_guard lock(mutex_);
  calls_ = 0;
  fail_from_ = fail_until_ = kill_at_ = 0;
  only_.clear();
  only_thread_.reset();
  trace_.clear();
}

std::vector<std::string> FaultOs::trace() const {
  const std::lock_guard lock(mutex_);
  return trace_;
}

int FaultOs::before(const char* call) {
  std::uint64_t n = 0;
  {
    const std::lock_guard lock(mutex_);
    if (!only_.empty() && only_ != call) return 0;
    if (only_thread_ && only_thread_ != std::this_thread::get_id()) return 0;
    n = ++calls_;
    trace_.emplace_back(call);
  }
  if (n == kill_at_) {
    raise(SIGKILL);
  }
  return n >= fail_from_ && n < fail_until_ ? sys_errno_.load() : 0;
}

}  // namespace strata::inline v0_1
