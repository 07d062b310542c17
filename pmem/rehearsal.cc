#include "pmem/rehearsal.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>

#include "os/run_apart.h"
#include "pmem/lane_logs.h"
#include "pmem/object_pool.h"
#include "pmem/pool_file.h"
#include "pmem/pool_format.h"
#include "strata/base/bytes.h"
#include "strata/pmem/persistent.h"

namespace strata::inline v0_1 {
namespace {

// What a rehearsal may compute, and how long it may take where it does not get to compute.
constexpr std::uint64_t kProcessorSeconds = 10;
constexpr std::uint64_t kWallMs = 900'000;

// From a run of pages, from a run of its own, whole chunks.
constexpr std::uint64_t kObjectBytes[] = {KiB(4), KiB(512), MiB(4)};
// Of a program's own types, by libpmemobj's own choice.
constexpr std::uint64_t kOwnObjectBytes[] = {64, 1000, 20'000};
// More than the log that each lane has: it has to be extended.
constexpr std::uint64_t kSnapshotBytes = KiB(16);
// Within what a lane has, with the root's size and libpmemobj's own words beside it.
constexpr std::uint64_t kShortSnapshotBytes = 1024;
constexpr std::uint64_t kMaxPieceBytes = GiB(8);  // libpmemobj allocates up to nearly 16 GiB
constexpr std::size_t kMaxFrees = 10'000;
constexpr std::size_t kFreesAtOnce = 50;

template <typename T>
T load(const ObjectPool& pool, std::uint64_t offset_bytes) {
  T value;
  std::memcpy(&value, pool.at(offset_bytes), sizeof value);
  return value;
}

// Each lane has three logs, which libpmemobj follows wherever their links lead. A link that is
// damaged need not lead to a crash: it can lead into the bytes of a segment.
//
// What an open has left in order: only a commit that was cut short leaves a longer log behind, one
// for commits, which the next commit gives back.
bool is_log_in_order(const ObjectPool& pool, const LogHead& log, std::uint64_t pool_bytes) {
  if (log.flags != 0 || log.unused != LogHead{}.unused) return false;
  if (log.next == 0) return true;
  const std::uint64_t at = align_up(log.next, kCacheLineBytes);
  if (at < log.next || at >= pool_bytes - sizeof(LogHead)) return false;
  const auto next = load<LogHead>(pool, at);
  return next.capacity_bytes >= kExternalLogBytes && next.capacity_bytes % kCacheLineBytes == 0 &&
         next.capacity_bytes < pool_bytes - at && next.next != log.next &&
         (next.next == 0 || next.next > kObjHeaderBytes) && next.flags == 0 &&
         next.unused == LogHead{}.unused;
}

Result<void> check_logs(const ObjectPool& pool, std::uint64_t pool_bytes) {
  const auto lanes_at = load<std::uint64_t>(pool, kObjLanesOffsetAt);
  const auto lanes = load<std::uint64_t>(pool, kObjLaneCountAt);
  for (std::uint64_t lane = 0; lane < lanes; ++lane) {
    const std::uint64_t at = lanes_at + lane * kLaneBytes;
    const auto internal = load<LogHead>(pool, at + kInternalLogAt);
    const auto external = load<LogHead>(pool, at + kExternalLogAt);
    const auto undo = load<LogHead>(pool, at + kUndoLogAt);
    const bool is_in_order = internal.next == 0 && internal.capacity_bytes <= kInternalLogBytes &&
                             is_log_in_order(pool, internal, pool_bytes) &&
                             external.capacity_bytes <= kExternalLogBytes &&
                             is_log_in_order(pool, external, pool_bytes) && undo.next == 0 &&
                             undo.capacity_bytes == kUndoLogBytes &&
                             is_log_in_order(pool, undo, pool_bytes);
    if (!is_in_order) {
      return fail(
          Code::corrupt,
          fmt::format("the logs of libpmemobj's lane {} are damaged; see `strata pool repair`",
                      lane));
    }
  }
  return {};
}

// A rehearsal of a change ends well also where the pool is full, which is no damage.
template <typename Body>
Result<void> rehearse_transaction(ObjectPool& pool, Body body) {
  STRATA_TRY(pool.begin());
  if (Result<void> done = body(); !done) {
    pool.abort();
    if (done.error().code() == Code::exhausted) return {};
    return done;
  }
  pool.commit();
  return {};
}

Result<std::vector<std::uint64_t>> allocate_each_kind(ObjectPool& pool) {
  std::vector<std::uint64_t> made;
  const auto take = [&](const Result<std::uint64_t>& offset, std::uint64_t bytes) {
    if (!offset) return;  // that this does not fit says nothing of the next
    made.push_back(*offset);
    std::memset(pool.at(*offset), 0, std::min(bytes, KiB(4)));
  };
  for (const std::uint64_t bytes : kObjectBytes)
    take(pool.allocate(bytes, 0), bytes);
  for (const std::uint64_t bytes : kOwnObjectBytes) {
    const auto own = pmem::detail::allocate(bytes, 0);
    if (own) take(own->offset_bytes, bytes);
  }
  return made;
}

Result<void> free_in_turn(ObjectPool& pool, std::span<const std::uint64_t> offsets) {
  while (!offsets.empty()) {
    const auto some = offsets.first(std::min(offsets.size(), kFreesAtOnce));
    STRATA_TRY(rehearse_transaction(pool, [&]() -> Result<void> {
      for (const std::uint64_t offset : some)
        STRATA_TRY(pool.free(offset));
      return {};
    }));
    offsets = offsets.subspan(some.size());
  }
  return {};
}

// In the largest pieces that there are: so each free chunk is met.
Result<void> allocate_all(ObjectPool& pool) {
  for (std::uint64_t bytes = kMaxPieceBytes; bytes >= KiB(256);) {
    if (!pool.allocate(bytes, 0)) bytes /= 2;
  }
  return {};
}

enum class Rehearsed {
  all,
  // As libpmemobj crashes by a longer log once it has recovered one: see open_to_change().
  all_but_a_long_log,
};

Result<Rehearsed> rehearse(Os& os, const std::string& path, const std::string& layout,
                           Deadline deadline) {
  use_copy_on_write();
  STRATA_ASSIGN(ObjectPool pool, ObjectPool::open(os, path, layout.c_str(), deadline));
  STRATA_ASSIGN(const struct stat facts, os.stat(path));
  if (auto sound = check_logs(pool, static_cast<std::uint64_t>(facts.st_size)); !sound) {
    return unexpected(sound.error().in(path));
  }
  // Beneath the mapping the file is as it was, and stays so while the pool is open.
  STRATA_ASSIGN(const std::vector<UndoLog> undo_logs, undo_logs_in_file(os, path));
  const bool has_recovered = is_any_extended(undo_logs);
  const std::uint64_t snapshot_bytes = has_recovered ? kShortSnapshotBytes : kSnapshotBytes;
  const std::uint64_t root_bytes = pool.root_bytes();
  std::vector<std::uint64_t> made;
  STRATA_TRY(rehearse_transaction(pool, [&]() -> Result<void> {
    if (root_bytes > 0) {
      STRATA_ASSIGN(std::byte* const root, pool.root(root_bytes));
      STRATA_TRY(pool.snapshot(root, std::min(root_bytes, snapshot_bytes)));
    }
    STRATA_ASSIGN(made, allocate_each_kind(pool));
    return {};
  }));
  std::vector<std::uint64_t> offsets;
  for (const ObjectPool::Object& object : pool.objects()) {
    if (offsets.size() < kMaxFrees) offsets.push_back(object.offset_bytes);
  }
  STRATA_TRY(free_in_turn(pool, offsets));
  STRATA_TRY(rehearse_transaction(pool, [&] { return allocate_all(pool); }));
  STRATA_TRY(pool.begin());
  (void)allocate_each_kind(pool);
  pool.abort();
  return has_recovered ? Rehearsed::all_but_a_long_log : Rehearsed::all;
}

constexpr std::string_view kAllButALongLog = "+";

// Over the pipe: nothing, a sign, or a code and why.
std::string encode(const Result<Rehearsed>& outcome) {
  if (outcome) return std::string(*outcome == Rehearsed::all ? "" : kAllButALongLog);
  return static_cast<char>('a' + static_cast<int>(outcome.error().code())) +
         outcome.error().message();
}

Result<Rehearsed> decode(const std::string& answer) {
  if (answer.empty()) return Rehearsed::all;
  if (answer == kAllButALongLog) return Rehearsed::all_but_a_long_log;
  return fail(static_cast<Code>(answer[0] - 'a'), answer.substr(1));
}

// What a pool is recognised by. That it has more changes than before is in order: others make some.
struct Stamp {
  FileIdentity file{};
  std::uint64_t bytes = 0;
  std::array<std::uint8_t, 16> pool_uuid{};
  std::uint64_t changes = 0;
};

Result<Stamp> read_stamp(Os& os, const std::string& path) {
  Stamp stamp;
  STRATA_ASSIGN(stamp.file, os.file_identity(path));
  const auto file = PoolFile::open(os, path, Access::read_only);
  if (!file) return stamp;  // of another layout: it has no directory
  stamp.bytes = file->file_bytes;
  DirectoryHead head{};
  STRATA_TRY(os.pread(file->fd.get(), std::as_writable_bytes(std::span(&head, 1)),
                      file->directory_offset_bytes));
  stamp.pool_uuid = head.header.pool_uuid;
  stamp.changes = head.state.changes;
  return stamp;
}

// The pools that need no rehearsal any more.
class Trusted {
 public:
  bool has(const Stamp& now) {
    const std::lock_guard lock(mutex_);
    const auto known = pools_.find(now.file);
    if (known == pools_.end()) return false;
    Stamp& before = known->second;
    if (before.bytes != now.bytes || before.pool_uuid != now.pool_uuid ||
        before.changes > now.changes) {
      return false;
    }
    before = now;
    return true;
  }
  void add(const Stamp& now) {
    const std::lock_guard lock(mutex_);
    pools_[now.file] = now;
  }

 private:
  std::mutex mutex_;
  std::map<FileIdentity, Stamp> pools_;
};

Trusted& trusted() {
  static Trusted pools;
  return pools;
}

Result<Rehearsed> rehearse_apart(Os& os, const std::string& path, const std::string& layout,
                                 Deadline deadline) {
  const auto answer = run_apart([&] { return encode(rehearse(os, path, layout, deadline)); },
                                Deadline::after_ms(deadline.remaining_ns() / 1'000'000 + kWallMs),
                                kProcessorSeconds);
  if (answer) return decode(*answer);
  const Status& why = answer.error();
  if (why.code() == Code::corrupt) {
    return fail(Code::corrupt, fmt::format("{}: libpmemobj cannot work with its heap ({}); see "
                                           "`strata pool repair`",
                                           path, why.message()));
  }
  if (why.code() == Code::timed_out) {
    return fail(Code::failed_precondition,
                fmt::format("{}: libpmemobj came to no end with a copy of it, as with a damaged "
                            "heap ({}): nothing is changed; see `strata pool repair`",
                            path, why.message()));
  }
  return unexpected(why.in(path + ": nothing is changed, as no child could try it out first"));
}

}  // namespace

Result<void> rehearse_change(Os& os, const std::string& path, const std::string& layout,
                             Deadline deadline) {
  STRATA_TRY(rehearse_apart(os, path, layout, deadline));
  return {};
}

Result<void> rehearse_first_change(Os& os, const std::string& path, const std::string& layout,
                                   Deadline deadline) {
  STRATA_ASSIGN(const Stamp stamp, read_stamp(os, path));
  if (trusted().has(stamp)) return {};
  STRATA_ASSIGN(Rehearsed rehearsed, rehearse_apart(os, path, layout, deadline));
  if (rehearsed == Rehearsed::all_but_a_long_log) {
    // The recovery itself, which was rehearsed; then the rest is.
    STRATA_TRY(ObjectPool::open(os, path, layout.c_str(), deadline));
    STRATA_ASSIGN(rehearsed, rehearse_apart(os, path, layout, deadline));
  }
  // Else another one was killed meanwhile: this change was rehearsed well enough, the next one is
  // rehearsed again.
  if (rehearsed == Rehearsed::all) trusted().add(stamp);
  return {};
}

void trust_new_pool(Os& os, const std::string& path) {
  if (const auto stamp = read_stamp(os, path)) trusted().add(*stamp);
}

}  // namespace strata::inline v0_1
