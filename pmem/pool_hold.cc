#include "pmem/pool_hold.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cstring>
#include <vector>

#include "pmem/object_pool.h"
#include "pmem/pool_access.h"
#include "strata/pmem/pool.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kRetryNs = 500'000;
// Who attaches holds more than a lease for microseconds; who is attached stays.
constexpr std::uint64_t kMomentMs = 500;
constexpr std::uint64_t kAllSlotsBytes = kMaxSlots * kLockRangeBytes;

// The pool's header, with the number that libpmemobj counts up whenever it opens the pool, and the
// directory's head, with its sequence: whoever changes a pool changes one of them.
Result<std::vector<std::byte>> read_stamp(const PoolFile& file) {
  std::vector<std::byte> stamp(kObjHeaderBytes + sizeof(DirectoryHead));
  const std::span<std::byte> head = std::span(stamp).first(kObjHeaderBytes);
  STRATA_TRY(file.os->pread(file.fd.get(), head, 0));
  std::uint64_t root = 0;
  std::memcpy(&root, stamp.data() + kObjRootOffsetAt, sizeof root);
  if (root < file.file_bytes) {
    STRATA_TRY(file.os->pread(file.fd.get(), std::span(stamp).subspan(head.size()), root));
  }
  return stamp;
}

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

Result<PoolHold> PoolHold::take_after(Os& os, const std::string& path, KeepOut whom,
                                      Deadline deadline, const Look& look) {
  while (true) {
    STRATA_ASSIGN(const PoolFile before, open_unchecked(os, path, O_RDONLY));
    STRATA_ASSIGN(const auto stamp, read_stamp(before));
    STRATA_ASSIGN(const bool has_seen, look(before));
    STRATA_ASSIGN(PoolHold hold, take(os, path, whom, deadline));
    STRATA_ASSIGN(const auto stamp_now, read_stamp(hold.file()));
    if (has_seen && stamp_now == stamp) return hold;
    if (deadline.expired()) {
      return fail(Code::timed_out, "other processes change the pool all the time");
    }
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

// Where somebody can attach. A reader that is a participant has, and takes, an exclusive lock on
// its token, which is left to it where the directory tells the slots.
std::vector<FileRange> PoolHold::ranges_to_lock(KeepOut whom) const {
  const FileRange all{kLockBaseBytes, kLockBaseBytes + kAllSlotsBytes};
  if (whom == KeepOut::everybody) return {all};
  const auto file = PoolFile::open(*file_.os, file_.path, Access::read_only);
  if (!file) return {all};
  const auto directory = file->read_all();
  if (!directory) return {all};
  std::vector<FileRange> ranges;
  for (const PoolEntry& each : entries_of(*directory)) {
    const std::uint64_t base = file_.lock_range(each.slot).base_bytes;
    ranges.push_back({base + kReaderByte, base + kChangeByte + 1});
  }
  return ranges;
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
  for (const FileRange& range : ranges_to_lock(whom)) {
    while (true) {
      STRATA_ASSIGN(const bool locked, file_.os->try_lock_range(file_.fd.get(), range.begin,
                                                                range.end - range.begin, kind));
      if (locked) break;
      if (deadline.expired()) {
        STRATA_ASSIGN(const std::string holders, find_attached(0, kLockRangeBytes));
        return refuse(holders);
      }
      file_.os->sleep_ns(kRetryNs);
    }
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

}  // namespace strata::inline v0_1
