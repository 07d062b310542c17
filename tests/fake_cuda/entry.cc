#include "tests/fake_cuda/entry.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fake_cuda/settings.h"

namespace strata::inline v0_1::fake_cuda {
namespace {

constexpr std::array<const char*, kCallCount> kNames = {
#define STRATA_FAKE_CUDA_NAME(name, version, need, parameters) #name,
    STRATA_CUDA_CALLS(STRATA_FAKE_CUDA_NAME)
#undef STRATA_FAKE_CUDA_NAME
};

using Counters = std::array<std::atomic<std::uint64_t>, kCallCount>;

std::atomic<pid_t> started_by{0};
std::atomic<bool> is_torn_down{false};
std::atomic<int> sticky{kSuccess};

// In a file where one is asked for: so it survives a kill.
Counters* map_counters() {
  const std::string& directory = settings().counts_directory;
  int fd = -1;
  if (!directory.empty()) {
    const std::string path = directory + "/" + std::to_string(::getpid());
    fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && ::ftruncate(fd, sizeof(Counters)) != 0) std::abort();
  }
  void* const memory = ::mmap(nullptr, sizeof(Counters), PROT_READ | PROT_WRITE,
                              fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
  if (memory == MAP_FAILED) std::abort();
  if (fd >= 0) ::close(fd);
  return new (memory) Counters;
}

struct MappedCounters {
  pid_t by;
  Counters* counters;
};

// A process that was forked counts for itself.
Counters& counters() {
  static std::atomic<MappedCounters*> mapped{nullptr};
  MappedCounters* known = mapped;
  if (known && known->by == ::getpid()) return *known->counters;
  // Two threads may come here; both count in the same file, or in what the first one stores.
  auto* const mine = new MappedCounters{::getpid(), map_counters()};
  if (mapped.compare_exchange_strong(known, mine)) return *mine->counters;
  return *known->counters;
}

struct Failure {
  PlannedFailure plan;
  std::uint64_t calls = 0;
};

// Its own lock: a call that fails early must not wait for one that is inside.
std::mutex& failures_mutex() {
  static auto& mutex = *new std::mutex;
  return mutex;
}
std::vector<Failure>& failures() {
  static auto& all = *new std::vector<Failure>([] {
    std::vector<Failure> read;
    for (const PlannedFailure& plan : settings().failures)
      read.push_back({plan, 0});
    return read;
  }());
  return all;
}

// Calls that explain an error are no place for another one.
bool explains_errors(const char* name) { return std::string_view(name).starts_with("cuGetError"); }

// What this call of `name` is told to do, or success.
int planned_for(const char* name) {
  if (explains_errors(name)) return kSuccess;
  const std::lock_guard lock(failures_mutex());
  int what = kSuccess;
  for (Failure& failure : failures()) {
    if (failure.plan.name != "*" && failure.plan.name != name) continue;
    if (++failure.calls == failure.plan.nth) what = failure.plan.what;
  }
  return what;
}

}  // namespace

std::recursive_mutex& driver_mutex() {
  static auto& mutex = *new std::recursive_mutex;
  return mutex;
}

Phase phase() {
  if (is_torn_down) return Phase::torn_down;
  const pid_t by = started_by;
  if (by == 0) return Phase::before_start;
  return by == ::getpid() ? Phase::started : Phase::forked;
}

void start() {
  if (started_by.exchange(::getpid()) != 0) return;
  // As the real driver: what was made before cuInit is destroyed after this, and meets
  // CUDA_ERROR_DEINITIALIZED.
  std::atexit([] { is_torn_down = true; });
}

CuResult sticky_error() { return static_cast<CuResult>(sticky.load()); }
void set_sticky_error(CuResult result) { sticky = result; }

Entry::Entry(CallName name) : name_(name), result_(count_and_fail()) {
  if (result_ != kSuccess) return;
  // Before the lock: another thread of a forked child's parent may have held it.
  switch (phase()) {
    case Phase::before_start:
    case Phase::forked: result_ = kNotInitialized; return;
    case Phase::torn_down: result_ = kDeinitialized; return;
    case Phase::started: break;
  }
  lock_ = std::unique_lock(driver_mutex());
  result_ = sticky_error();
}

Entry::Entry(CallName name, Early) : name_(name), result_(count_and_fail()) {
  if (result_ == kSuccess && phase() == Phase::torn_down) result_ = kDeinitialized;
}

Entry::~Entry() {
  if (is_killed_after_) ::kill(::getpid(), SIGKILL);
}

void Entry::forget() {
  const auto index = static_cast<std::size_t>(name_);
  counters()[index].fetch_sub(1);
  const std::lock_guard lock(failures_mutex());
  for (Failure& failure : failures()) {
    const bool is_meant = failure.plan.name == "*" || failure.plan.name == kNames[index];
    if (is_meant && failure.calls > 0) --failure.calls;
  }
}

CuResult Entry::count_and_fail() {
  const auto index = static_cast<std::size_t>(name_);
  counters()[index].fetch_add(1);
  // The lock below may have been held by another thread of the parent.
  if (phase() == Phase::forked) return kSuccess;
  const int what = planned_for(kNames[index]);
  if (what == kKilled) ::kill(::getpid(), SIGKILL);
  is_killed_after_ = what == kKilledAfter;
  return what > 0 ? static_cast<CuResult>(what) : kSuccess;
}

}  // namespace strata::inline v0_1::fake_cuda

// For tests in the same process, which find these by dlsym (fake_cuda.h).
extern "C" {

// How often `name` was called in this process (*: all calls together).
std::uint64_t strata_fake_cuda_count(const char* name) {
  using namespace strata::fake_cuda;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kCallCount; ++i)
    if (std::strcmp(name, "*") == 0 || std::strcmp(name, kNames[i]) == 0) sum += counters()[i];
  return sum;
}

// The n-th call of `name` from now on does `what`, a CUresult or kKilled, kKilledAfter; null
// forgets all such plans.
void strata_fake_cuda_fail(const char* name, std::uint64_t nth, int what) {
  using namespace strata::fake_cuda;
  const std::lock_guard lock(failures_mutex());
  if (name) {
    failures().push_back({{name, nth, what}, 0});
  } else {
    failures().clear();
  }
}
}
