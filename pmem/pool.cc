#include "strata/pmem/pool.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "pmem/directory_change.h"
#include "pmem/file_blocks.h"
#include "pmem/new_file.h"
#include "pmem/object_pool.h"
#include "pmem/pool_access.h"
#include "pmem/rehearsal.h"
#include "pmem/zones.h"
#include "segment/new_identity.h"
#include "strata/base/step.h"
#include "strata/os/real_os.h"
#include "strata/segment/uri.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kRetryNs = 200'000;
// A change takes some 10 ms: a directory that stays odd for longer may have lost its changer.
constexpr std::uint64_t kSuspectAfterNs = 20'000'000;
constexpr std::uint64_t kZeroByStoresBytes = KiB(64);

// As many as make the root object large enough that libpmemobj takes whole chunks for it, see
// ObjectPool::class_for.
constexpr std::uint32_t kDefaultSlots = 2944;

}  // namespace

Result<Pool> Pool::create(const std::string& path, const PoolCreateOptions& options) {
  return create(real_os(), path, options);
}

Result<Pool> Pool::open(const std::string& path) { return open(real_os(), path); }

Result<Pool> Pool::create(Os& os, const std::string& path, const PoolCreateOptions& options) {
  const auto build = [&]() -> Result<void> {
    if (os.stat(path)) return fail(Code::already_exists, "it exists");
    STRATA_ASSIGN(NewFile file, NewFile::make(os, path));
    STRATA_TRY(create_in(os, file, options));
    return file.give_name(path);
  };
  if (auto done = build(); !done) return unexpected(done.error().in("create pool " + path));
  return Pool(os, path);
}

Result<Pool> Pool::create_in(Os& os, const NewFile& file, const PoolCreateOptions& options) {
  if (options.bytes < kMinPoolBytes || options.slots > kMaxSlots) {
    return fail(Code::invalid_argument,
                fmt::format("{} with {} slots; it takes at least {} and at most {} slots",
                            format_bytes(options.bytes), options.slots, format_bytes(kMinPoolBytes),
                            kMaxSlots));
  }
  STRATA_TRY(reserve_blocks(os, file.fd(), usable_pool_bytes(options.bytes)));
  {
    STRATA_ASSIGN(ObjectPool pool,
                  ObjectPool::create_in_file(file.working_path(), kPoolLayoutName));
    STRATA_TRY(format_directory(os, pool, options.slots ? options.slots : kDefaultSlots));
  }
  // Last: it may forbid what libpmemobj does.
  STRATA_TRY(os.fchmod(file.fd(), options.mode));
  trust_new_pool(os, file.working_path());
  return Pool(os, file.working_path());
}

Result<Pool> Pool::open(Os& os, const std::string& path) {
  STRATA_TRY(PoolFile::open(os, path, Access::read_only));
  return Pool(os, path);
}

// Runs `read_from` on a freshly opened file until the directory stands still; recovers it where
// its changer died.
template <typename Read>
auto Pool::read(Access access, Deadline deadline, Read read_from) const
    -> decltype(read_from(std::declval<PoolFile&>())) {
  const std::uint64_t started_ns = monotonic_ns();
  bool has_recovered = false;
  while (true) {
    STRATA_ASSIGN(PoolFile file, PoolFile::open(*os_, path_, access));
    auto outcome = read_from(file);  // may take the file away, when it succeeds
    if (outcome) return outcome;
    const Code code = outcome.error().code();
    if (code != Code::not_ready && code != Code::corrupt) return outcome;
    if (code == Code::corrupt && has_recovered) return outcome;
    const bool is_suspect =
        monotonic_ns() - started_ns > kSuspectAfterNs && file.is_changing().value_or(false);
    if (code == Code::corrupt || is_suspect) {
      // libpmemobj's lock tells whether the changer is alive: it cannot be taken from it.
      Result<void> recovered = rehearse_change(*os_, path_, kPoolLayoutName);
      if (recovered) recovered = recover_directory(*os_, path_, Deadline::after_ms(0));
      if (!recovered && recovered.error().code() != Code::timed_out) {
        if (code == Code::corrupt) return outcome;
        const bool is_later = recovered.error().code() == Code::unsupported;
        return fail(is_later ? Code::unsupported : Code::failed_precondition,
                    fmt::format("{}: was left in the middle of a change, and cannot be recovered: "
                                "{}",
                                path_, recovered.error().message()));
      }
      has_recovered = recovered.has_value();
      if (has_recovered) continue;
    }
    if (deadline.expired()) {
      if (!file.is_changing().value_or(true)) {
        return fail(Code::timed_out, outcome.error().message());
      }
      return fail(Code::timed_out, fmt::format("{}: its directory is being changed by {}", path_,
                                               describe_pool_holder(*os_, path_)));
    }
    os_->sleep_ns(kRetryNs);
  }
}

Result<DirectoryCopy> Pool::directory(Deadline deadline) const {
  return read(Access::read_only, deadline, [](PoolFile& file) { return file.read_all(); });
}

Result<DirectoryCopy> Pool::directory_as_it_is(Deadline deadline) const {
  while (true) {
    STRATA_ASSIGN(const PoolFile file, PoolFile::open(*os_, path_, Access::read_only));
    auto copy = file.read_all();
    if (copy || copy.error().code() != Code::not_ready || deadline.expired()) return copy;
    os_->sleep_ns(kRetryNs);
  }
}

Result<std::vector<PoolEntry>> Pool::entries(Deadline deadline) const {
  STRATA_ASSIGN(const DirectoryCopy copy, directory(deadline));
  return entries_of(copy);
}

std::vector<PoolEntry> entries_of(const DirectoryCopy& copy) {
  std::vector<PoolEntry> found;
  for (std::uint32_t slot = 0; slot < copy.entries.size(); ++slot) {
    if (has_state(copy.entries[slot], EntryState::free) && copy.problems[slot].empty()) continue;
    found.push_back({slot, copy.entries[slot], copy.problems[slot]});
  }
  std::sort(found.begin(), found.end(), [](const PoolEntry& a, const PoolEntry& b) {
    const auto a_name = padded_text(a.entry.name);
    const auto b_name = padded_text(b.entry.name);
    return a_name != b_name ? a_name < b_name : a.entry.version > b.entry.version;
  });
  return found;
}

Result<LocatedSegment> Pool::look_up(std::string_view name, Deadline deadline) const {
  return read(Access::read_only, deadline, [&](PoolFile& file) -> Result<LocatedSegment> {
    STRATA_ASSIGN(FoundEntry found, file.find(name));
    return LocatedSegment{std::move(file), found, false};
  });
}

Result<std::vector<PoolVersion>> Pool::versions(std::string_view name, Deadline deadline) const {
  STRATA_ASSIGN(const std::vector<PoolEntry> all, entries(deadline));
  std::vector<PoolVersion> versions;
  for (const auto& [slot, entry, problem] : all) {
    const bool is_current = has_state(entry, EntryState::current);
    // One that is damaged may have lost its state.
    const bool has_name = is_current || has_state(entry, EntryState::previous) || !problem.empty();
    if (!has_name || (!name.empty() && padded_text(entry.name) != name)) continue;
    versions.push_back({.name = std::string(padded_text(entry.name)),
                        .version = entry.version,
                        .uuid = entry.uuid,
                        .payload_bytes = entry.payload_bytes,
                        .max_bytes = entry.max_bytes,
                        .published_unix_ns = entry.published_unix_ns,
                        .keep_versions = entry.keep_versions,
                        .is_current = is_current,
                        .is_immutable = (entry.flags & kEntryImmutable) != 0,
                        .has_checksums = entry.checksums_offset_bytes != 0,
                        .problem = problem});
  }
  return versions;
}

Result<LocatedSegment> Pool::locate(std::string_view name, std::uint64_t version, Access access,
                                    Deadline deadline) const {
  const Access open_as = access == Access::read_write ? access : Access::read_only;
  return read(open_as, deadline, [&](PoolFile& file) -> Result<LocatedSegment> {
    STRATA_ASSIGN(FoundEntry found, file.find(name, version));
    const LockRange range = file.lock_range(found.slot);
    if (access == Access::read_write && (found.entry.flags & kEntryImmutable)) {
      return fail(Code::failed_precondition,
                  fmt::format("{}#{} version {} is a checkpoint, which never changes: attach it "
                              "read-only or copy-on-write, or restore it",
                              path_, name, found.entry.version));
    }
    LocatedSegment located;
    const auto lock = [&](std::uint64_t byte, LockKind kind) -> Result<void> {
      STRATA_ASSIGN(const bool locked, os_->try_lock_byte(range.fd, range.base_bytes + byte, kind));
      if (locked) return {};
      return fail(Code::not_ready, fmt::format("{}#{} is being changed by {}", path_, name,
                                               describe(find_holders(*os_, range))));
    };
    if (access == Access::read_write) {
      STRATA_TRY(lock(kChangeByte, LockKind::exclusive));
      STRATA_ASSIGN(
          const bool has_writers,
          os_->is_range_locked(range.fd, range.base_bytes + kWriterByte, 1, LockKind::exclusive));
      located.is_first_writer = !has_writers;
      STRATA_TRY(lock(kWriterByte, LockKind::shared));
    } else {
      STRATA_TRY(lock(kReaderByte, LockKind::shared));
    }
    // The lease counts only if the slot still was this segment's when we got it.
    STRATA_ASSIGN(const bool is_still, file.is_still(found.sequence));
    if (!is_still) return fail(Code::not_ready, path_ + ": its directory is being changed");
    STRATA_ASSIGN(const bool is_named, file.has_its_name());
    if (!is_named) return fail(Code::not_ready, path_ + ": another pool has taken its name");
    located.file = std::move(file);
    located.found = found;
    return located;
  });
}

Result<void> zero_durably(Os& os, int fd, Durability& durability, std::span<std::byte> range,
                          std::uint64_t file_offset_bytes) {
  if (range.empty()) return {};
  // Whole pages through the file system, which only notes that they are zero.
  const std::uint64_t begin = align_up(file_offset_bytes, kPageBytes);
  const std::uint64_t end = (file_offset_bytes + range.size()) & ~(kPageBytes - 1);
  const bool by_file_system =
      range.size() > kZeroByStoresBytes &&
      os.fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, begin, end - begin).has_value();
  if (!by_file_system) {
    std::memset(range.data(), 0, range.size());
    return durability.persist(range.data(), range.size());
  }
  const std::uint64_t head = begin - file_offset_bytes;
  const std::uint64_t tail = file_offset_bytes + range.size() - end;
  std::memset(range.data(), 0, head);
  std::memset(range.data() + range.size() - tail, 0, tail);
  durability.flush(range.data(), head);
  durability.flush(range.data() + range.size() - tail, tail);
  STRATA_TRY(durability.drain());
  return os.fdatasync(fd);
}

Result<std::uint32_t> Pool::sweep(Deadline deadline) const {
  STRATA_ASSIGN(const auto change, DirectoryChange::begin(*os_, path_, deadline));
  STRATA_ASSIGN(const std::uint32_t released, change->sweep());
  STRATA_TRY(change->commit());
  return released;
}

}  // namespace strata::inline v0_1
