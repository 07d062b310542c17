#include "pmem/pool_hold.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "pmem/object_pool.h"

namespace strata {
namespace {

constexpr std::uint64_t kRetryNs = 500'000;
// Who attaches holds more than a lease for microseconds; who is attached stays.
constexpr std::uint64_t kMomentMs = 500;
constexpr std::uint64_t kAllSlotsBytes = kMaxSlots * kLockRangeBytes;

}  // namespace

Result<PoolFile> open_unchecked(Os& os, const std::string& path, int flags) {
  PoolFile file;
  file.os = &os;
  file.path = path;
  // A pipe must not be waited for.
  STRATA_ASSIGN(file.fd, os.open(path, flags | O_NONBLOCK));
  STRATA_ASSIGN(const auto facts, os.fstat(file.fd.get()));
  if (!S_ISREG(facts.st_mode)) return fail(Code::invalid_argument, path + ": is not a file");
  file.file_bytes = static_cast<std::uint64_t>(facts.st_size);
  return file;
}

Result<PoolHold> PoolHold::take(Os& os, const std::string& path, KeepOut whom, Deadline deadline) {
  while (true) {
    auto file = open_unchecked(os, path, O_RDWR);
    if (!file && whom == KeepOut::writers) file = open_unchecked(os, path, O_RDONLY);
    if (!file) return unexpected(file.error());
    PoolHold hold(std::move(*file));
    STRATA_TRY(hold.lock_file(deadline));
    STRATA_ASSIGN(const bool is_named, hold.file_.has_its_name());
    if (!is_named) continue;  // it has just been replaced: by something that is whole
    STRATA_TRY(hold.lock_slots(whom));
    return hold;
  }
}

Result<void> PoolHold::lock_file(Deadline deadline) {
  while (true) {
    STRATA_ASSIGN(const bool locked, file_.os->try_lock_file(file_.fd.get(), LockKind::exclusive));
    if (locked) return {};
    if (deadline.expired()) {
      return fail(Code::timed_out, fmt::format("{}: the pool is held by {}", file_.path,
                                               describe_pool_holder(*file_.os, file_.path)));
    }
    file_.os->sleep_ns(kRetryNs);
  }
}

// Whoever attaches takes shared locks of its own, and for writing also exclusive ones: so a shared
// lock keeps new writers out, and an exclusive one everybody.
Result<void> PoolHold::lock_slots(KeepOut whom) const {
  const Deadline deadline = Deadline::after_ms(kMomentMs);
  const auto refuse = [&](const std::string& holders) {
    return fail(Code::failed_precondition,
                fmt::format("{}: in use by {}; nothing was changed", file_.path,
                            holders.empty() ? "a process that has gone by now" : holders));
  };
  const LockKind kind = whom == KeepOut::everybody ? LockKind::exclusive : LockKind::shared;
  while (true) {
    STRATA_ASSIGN(const bool locked,
                  file_.os->try_lock_range(file_.fd.get(), kLockBaseBytes, kAllSlotsBytes, kind));
    if (locked) break;
    if (deadline.expired()) {
      STRATA_ASSIGN(const std::string holders, find_attached(0, kLockRangeBytes));
      return refuse(holders);
    }
    file_.os->sleep_ns(kRetryNs);
  }
  if (whom == KeepOut::everybody) return {};
  // Who is attached for writing already has a shared lock, which ours does not exclude.
  STRATA_ASSIGN(const std::string writers, find_attached(kWriterByte, 1));
  if (writers.empty()) return {};
  return refuse(writers);
}

// Those who hold a lock on these bytes of the first slot where somebody does; empty: nobody.
Result<std::string> PoolHold::find_attached(std::uint64_t byte, std::uint64_t count) const {
  for (std::uint32_t slot = 0; slot < kMaxSlots; ++slot) {
    const LockRange range = file_.lock_range(slot);
    STRATA_ASSIGN(const bool is_held, file_.os->is_range_locked(range.fd, range.base_bytes + byte,
                                                                count, LockKind::exclusive));
    if (is_held) return describe(find_holders(*file_.os, range));
  }
  return std::string();
}

}  // namespace strata
