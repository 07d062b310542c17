#include "pmem/pool_check.h"

#include <fmt/format.h>

#include "pmem/describe_segment.h"
#include "pmem/device_state.h"
#include "pmem/directory_header.h"
#include "pmem/object_heap_check.h"
#include "pmem/pool_access.h"
#include "pmem/pool_copy.h"
#include "pmem/verified_reader.h"
#include "pmem/zones.h"
#include "strata/base/bytes.h"
#include "strata/pmem/checkpoint.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kRetryNs = 500'000;

Result<std::uint64_t> read_word(Os& os, int fd, std::uint64_t at) {
  std::uint64_t word = 0;
  STRATA_ASSIGN(const std::size_t got,
                os.pread(fd, std::as_writable_bytes(std::span(&word, 1)), at));
  if (got == sizeof word) return word;
  return fail(Code::corrupt,
              fmt::format("{} bytes at {} are missing", sizeof word - got, at + got));
}

// What PMDK's own checks do not know of.
Result<void> check_zones(Os& os, const PoolCopy& copy, CheckReport& report) {
  STRATA_ASSIGN(const auto facts, os.fstat(copy.original_fd()));
  STRATA_ASSIGN(const std::uint64_t heap_at, read_word(os, copy.original_fd(), kObjHeapOffsetAt));
  STRATA_ASSIGN(const std::uint64_t heap, read_word(os, copy.original_fd(), kObjHeapSizeAt));
  if (has_overflowing_zone(static_cast<std::uint64_t>(facts.st_size), heap_at, heap)) {
    add_item(report, "zones", CheckOutcome::damaged,
             "unsafe: libpmemobj takes the last zone of its heap for larger than its table of "
             "chunks, and overwrites data when the pool fills up: do not fill it; copy it out "
             "(`strata pool backup`) into a pool of another size");
  }
  return {};
}

// One version on its way from the directory to its last block.
class VersionCheck {
 public:
  VersionCheck(const PoolFile& file, const CheckOptions& options, CheckReport& report)
      : file_(file), options_(options), report_(report) {}

  CheckItem check(const PoolEntry& each) {
    CheckItem item{.what = fmt::format("segment {} version {}", padded_text(each.entry.name),
                                       each.entry.version),
                   .detail = {}};
    report_.segments_checked += 1;
    if (!each.problem.empty()) {
      // Found in the copy, so that it was so.
      item.outcome = CheckOutcome::damaged;
      item.detail = each.problem;
    } else if (!is_readable(each.entry)) {
      item.detail = describe_unpublished(each);
    } else if (report_.is_interrupted) {
      judge(each, item);
    } else {
      check_leased(each, item);
    }
    return item;
  }

 private:
  static bool is_readable(const DirectoryEntry& entry) {
    return has_state(entry, EntryState::current) || has_state(entry, EntryState::previous);
  }

  // Staged or retired: nobody reads it.
  std::string describe_unpublished(const PoolEntry& each) const {
    const LockRange range = file_.lock_range(each.slot);
    const bool is_used =
        file_.os->is_range_locked(range.fd, range.base_bytes, kLockRangeBytes, LockKind::exclusive)
            .value_or(true);
    return fmt::format("{}{}", entry_state_name(static_cast<EntryState>(each.entry.state)),
                       is_used ? "" : ", left over: the next change gives its room back");
  }

  // The same version as it is now. Errors: not_found where it has gone.
  Result<PoolEntry> find_again(const PoolEntry& each) const {
    const std::string_view name = padded_text(each.entry.name);
    STRATA_ASSIGN(const FoundEntry now, file_.find(name, each.entry.version));
    if (now.slot == each.slot && now.entry.uuid == each.entry.uuid) {
      return PoolEntry{now.slot, now.entry, {}};
    }
    return fail(Code::not_found, "it has been replaced");
  }

  // Others change the pool: what is leased stays as it is, and what was not leased in time may
  // have become something else.
  void check_leased(const PoolEntry& each, CheckItem& item) {
    const LockRange range = file_.lock_range(each.slot);
    const Deadline deadline = Deadline::after_ms(options_.lock_timeout_ms);
    while (true) {
      const auto leased =
          file_.os->try_lock_byte(range.fd, range.base_bytes + kReaderByte, LockKind::shared);
      const auto now = leased ? find_again(each) : unexpected(leased.error());
      if (now && *leased) {
        judge(*now, item);
      } else if (!now && now.error().code() != Code::not_ready) {
        const Code code = now.error().code();
        item.outcome = code == Code::not_found ? CheckOutcome::gone : outcome_of(code);
        item.detail = now.error().message();
      } else if (deadline.expired()) {
        item.outcome = CheckOutcome::busy;
        item.detail = now ? "it is being changed by " + describe(find_holders(*file_.os, range))
                          : now.error().message();
      } else {
        file_.os->sleep_ns(kRetryNs);
        continue;
      }
      if (leased && *leased) {
        (void)file_.os->unlock_byte(range.fd, range.base_bytes + kReaderByte);
      }
      return;
    }
  }

  void judge(const PoolEntry& each, CheckItem& item) {
    const PoolSegmentInfo info = describe_segment(file_, each);
    if (!info.problem.empty()) {
      item.outcome = outcome_of(info.problem_code);
      item.detail = info.problem;
      return;
    }
    item.detail = fmt::format("header ({})", entry_state_name(info.state));
    if (info.checksum_block_bytes == 0) {
      item.detail += "; it has no checksums";
    } else if (!options_.read_blocks) {
      item.detail += "; its blocks were not read";
    } else {
      judge_blocks(each, item);
    }
  }

  void judge_blocks(const PoolEntry& each, CheckItem& item) {
    const auto reader = VerifiedReader::open_frozen(file_, each.entry);
    const auto blocks =
        reader ? verify_blocks(*reader, options_.threads) : unexpected(reader.error());
    if (!blocks) {
      item.outcome = outcome_of(blocks.error().code());
      item.detail = blocks.error().message();
      return;
    }
    report_.blocks_verified += blocks->blocks_verified;
    if (blocks->bad_block_count == 0) {
      item.detail += fmt::format("; {} blocks", blocks->blocks_verified);
      return;
    }
    std::string list;
    for (const BadBlock& bad : blocks->bad_blocks)
      list += fmt::format("{}{}", list.empty() ? "" : ", ", bad.block);
    item.outcome = CheckOutcome::damaged;
    item.detail = fmt::format("{} of {} blocks differ from their checksums: {}",
                              blocks->bad_block_count, blocks->blocks_verified, list);
  }

  const PoolFile& file_;
  const CheckOptions& options_;
  CheckReport& report_;
};

void check_versions(Os& os, const PoolCopy& copy, const DirectoryCopy& directory,
                    const CheckOptions& options, CheckReport& report) {
  auto file =
      PoolFile::open(os, fmt::format("/proc/self/fd/{}", copy.original_fd()), Access::read_only);
  if (!file) {
    return add_item(report, "segments", outcome_of(file.error().code()), file.error().message());
  }
  file->path = report.path;
  VersionCheck check(*file, options, report);
  for (const PoolEntry& each : entries_of(directory))
    report.items.push_back(check.check(each));
}

// Of the copy: as it was at that moment, or as recovery leaves it.
Result<DirectoryCopy> directory_of(Os& os, const PoolCopy& copy) {
  STRATA_ASSIGN(PoolFile file, PoolFile::open(os, copy.path(), Access::read_only));
  file.path = copy.original_path();
  return file.read_all();
}

std::string describe_directory(const DirectoryHead& head) {
  const std::string text =
      fmt::format("header, state, index; {} of {} slots used, {} changes", head.state.used_slots,
                  head.header.slot_count, head.state.changes);
  const auto changeable = check_changeable(head.header);
  return changeable ? text : text + "; " + changeable.error().message();
}

void check_directory(Os& os, const PoolCopy& copy, const HeapObjects& heap,
                     const CheckOptions& options, CheckReport& report) {
  const auto directory = directory_of(os, copy);
  if (!directory) {
    const Code code = directory.error().code();
    // Nobody changes the copy: what is under way in it is what could not be recovered.
    add_item(report, "directory",
             code == Code::not_ready ? CheckOutcome::unknown : outcome_of(code),
             copy.with_original_name(directory.error().message()));
    return;
  }
  const std::uint64_t wanted = directory_bytes(directory->head.header.slot_count);
  const auto root = read_word(os, copy.original_fd(), kObjRootSizeAt);
  if (root && *root != wanted) {
    add_item(report, "root object", CheckOutcome::damaged,
             fmt::format("has {} bytes, not the {} of the directory: changes are refused", *root,
                         wanted));
  }
  add_item(report, "directory", CheckOutcome::sound, describe_directory(directory->head));
  check_objects(*directory, heap, report);
  check_versions(os, copy, *directory, options, report);
}

}  // namespace

CheckOutcome CheckReport::verdict() const {
  CheckOutcome worst = CheckOutcome::sound;
  for (const CheckItem& item : items)
    worst = worse_of(worst, item.outcome);
  return worst;
}

Result<CheckReport> check_pool(Os& os, const std::string& path, const CheckOptions& options) {
  CheckReport report;
  report.path = path;
  const auto info = inspect(os, path);
  if (!info && info.error().code() == Code::not_found) return unexpected(info.error());
  if (!info) {
    add_item(report, "file", outcome_of(info.error().code()), info.error().message());
    return report;
  }
  if (info->kind == "none") {
    add_item(report, "file", CheckOutcome::unknown,
             "nothing of a pool is recognised in it: it is none, or its first pages are lost");
    return report;
  }
  if (auto strata = require_strata_pool(*info); !strata) {
    return unexpected(strata.error().in("check " + path));
  }
  if (info->is_damaged()) add_item(report, "file", CheckOutcome::damaged, info->problem);
  auto copy = PoolCopy::take(os, path, Deadline::after_ms(options.lock_timeout_ms));
  if (!copy && copy.error().code() == Code::not_found) return unexpected(copy.error());
  if (!copy) {
    add_item(report, "pool", outcome_of(copy.error().code()), copy.error().message());
    return report;
  }
  report.is_interrupted = copy->is_interrupted();
  if (auto zones = check_zones(os, *copy, report); !zones) {
    add_item(report, "zones", outcome_of(zones.error().code()), zones.error().message());
  }
  if (const std::string failure = device_failure(os, copy->original_fd()); !failure.empty()) {
    add_item(report, "device", CheckOutcome::damaged, failure);
  }
  const HeapObjects heap = check_libpmemobj(os, *copy, options, report);
  check_directory(os, *copy, heap, options, report);
  return report;
}

}  // namespace strata::inline v0_1
