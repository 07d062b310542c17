#include "pmem/repair.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "base/crc32c.h"
#include "pmem/directory_change.h"
#include "pmem/snapshot.h"
#include "segment/header.h"

namespace strata {
namespace {

// The entry that stands in the header page at `at`, if it is one and is sound.
bool read_entry_copy(const PoolFile& file, std::uint64_t at, std::span<const std::byte> page,
                     DirectoryEntry& entry) {
  if (std::memcmp(page.data(), kHeaderMagic.data(), kHeaderMagic.size()) != 0) return false;
  std::memcpy(&entry, page.data() + offsetof(HeaderPage, backend), sizeof entry);
  const auto covered = std::as_bytes(std::span(&entry, 1)).first(offsetof(DirectoryEntry, crc32c));
  if (crc32c(covered) != entry.crc32c || entry.header_offset_bytes != at) return false;
  if (!check_entry(entry, file.file_bytes)) return false;
  const auto identity = read_identity_block(page);
  return identity && identity->uuid == entry.uuid;
}

// Looks at every page of the file for header pages.
Result<std::vector<PoolEntry>> search_entries(const PoolFile& file) {
  std::vector<PoolEntry> found;
  std::vector<std::byte> chunk(MiB(4));
  for (std::uint64_t at = 0; at < file.file_bytes; at += chunk.size()) {
    STRATA_ASSIGN(const std::size_t got, file.os->pread(file.fd.get(), chunk, at));
    for (std::size_t page = 0; page + kHeaderBytes <= got; page += kPageBytes) {
      PoolEntry each;
      if (read_entry_copy(file, at + page, std::span(chunk).subspan(page, kHeaderBytes),
                          each.entry)) {
        found.push_back(each);
      }
    }
  }
  // Freed objects keep their pages until the room is used again: what overlaps something newer,
  // or is an older current version of the same name, is of the past.
  std::sort(found.begin(), found.end(), [](const PoolEntry& a, const PoolEntry& b) {
    return a.entry.published_unix_ns > b.entry.published_unix_ns;
  });
  std::map<std::string, bool> has_current;
  std::vector<PoolEntry> kept;
  for (PoolEntry& each : found) {
    if (!has_state(each.entry, EntryState::current) &&
        !has_state(each.entry, EntryState::previous)) {
      continue;
    }
    const std::uint64_t begin = each.entry.object_offset_bytes;
    const std::uint64_t end = begin + each.entry.object_bytes;
    const bool overlaps = std::any_of(kept.begin(), kept.end(), [&](const PoolEntry& other) {
      const std::uint64_t other_begin = other.entry.object_offset_bytes;
      return begin < other_begin + other.entry.object_bytes && other_begin < end;
    });
    const std::string name(padded_text(each.entry.name));
    if (overlaps) continue;
    if (has_state(each.entry, EntryState::current)) {
      if (has_current[name]) continue;
      has_current[name] = true;
    }
    kept.push_back(each);
  }
  return kept;
}

// A file that PoolFile::open refuses can still be searched.
Result<PoolFile> open_anyhow(Os& os, const std::string& path) {
  PoolFile file;
  file.os = &os;
  file.path = path;
  STRATA_ASSIGN(file.fd, os.open(path, O_RDONLY));
  STRATA_ASSIGN(const auto facts, os.fstat(file.fd.get()));
  if (!S_ISREG(facts.st_mode)) return fail(Code::invalid_argument, path + ": is not a file");
  file.file_bytes = static_cast<std::uint64_t>(facts.st_size);
  return file;
}

Result<void> replace_damaged(Os& os, const std::string& path, RepairReport& report) {
  // Nobody may be attached to the damaged file, which is about to lose its name.
  STRATA_ASSIGN(const Fd fd, os.open(path, O_RDWR));
  STRATA_ASSIGN(const bool is_used,
                os.is_range_locked(fd.get(), kLockBaseBytes, kMaxSlots * kLockRangeBytes,
                                   LockKind::exclusive));
  if (is_used) {
    return fail(Code::failed_precondition,
                path + ": processes are attached to it; the repaired pool is " + report.path);
  }
  report.damaged_path = path + ".damaged";
  STRATA_TRY(os.rename(path, report.damaged_path));
  STRATA_TRY(os.rename(report.path, path));
  report.path = path;
  report.check.path = path;
  return {};
}

}  // namespace

Result<RepairReport> repair_pool(Os& os, const std::string& path, const RepairOptions& options) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in("repair " + path));
  };
  RepairReport report;
  report.path = options.to.empty() ? path + ".repaired" : options.to;
  auto file = open_anyhow(os, path);
  if (!file) return context(file.error());
  std::vector<PoolEntry> entries;
  std::uint32_t slots = 0;
  const auto copy = Pool::at(os, path).directory_as_it_is(Deadline::after_ms(1000));
  const bool is_whole = copy && std::all_of(copy->problems.begin(), copy->problems.end(),
                                            [](const std::string& why) { return why.empty(); });
  if (is_whole) {
    entries = entries_of(*copy);
    slots = copy->head.header.slot_count;
  } else {
    auto found = search_entries(*file);
    if (!found) return context(found.error());
    entries = std::move(*found);
    report.directory_was_rebuilt = true;
    report.lost.push_back("directory: " + (copy ? "entries are damaged" : copy.error().message()) +
                          "; made anew from the segments");
    if (entries.empty() && !copy) {
      return context(
          Status(Code::corrupt, "no segment can be found in it: " + copy.error().message()));
    }
  }
  auto repaired = Pool::create(
      os, report.path,
      {.bytes = std::max(file->file_bytes & ~(kPageBytes - 1), kMinPoolBytes), .slots = slots});
  if (!repaired) return context(repaired.error());
  const auto fill = [&]() -> Result<void> {
    STRATA_ASSIGN(report.versions_kept, copy_segments(*file, entries, *repaired, report.lost));
    STRATA_ASSIGN(report.check, check_pool(os, report.path));
    if (report.check.is_sound()) return {};
    return fail(Code::internal, "the repaired pool does not pass its own check");
  };
  if (auto done = fill(); !done) {
    (void)os.unlink(report.path);
    return context(done.error());
  }
  if (options.in_place) {
    if (auto done = replace_damaged(os, path, report); !done) return context(done.error());
  }
  return report;
}

}  // namespace strata
