#include "strata/pmem/snapshot.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "pmem/directory_change.h"
#include "pmem/new_file.h"
#include "pmem/other_objects.h"
#include "pmem/parallel.h"
#include "pmem/pool_access.h"
#include "pmem/verified_reader.h"
#include "strata/pmem/checkpoint.h"
#include "strata/segment/content_hash.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kCopyBytes = MiB(1);

bool is_zero(std::span<const std::byte> bytes) {
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

Result<void> copy_bytes(Os& os, int from_fd, int to_fd, std::uint64_t bytes) {
  STRATA_TRY(os.fallocate(to_fd, 0, 0, bytes));  // reads as zeros, and cannot run out later
  return for_pieces(bytes, kCopyBytes, 0, [&](std::uint64_t first, std::uint64_t last) {
    std::vector<std::byte> chunk(last - first);
    const auto read = os.pread(from_fd, chunk, first);
    if (!read) return Result<void>(unexpected(read.error()));
    if (*read != chunk.size()) return Result<void>(fail(Code::corrupt, "the file is truncated"));
    if (is_zero(chunk)) return Result<void>();
    if (auto written = os.pwrite(to_fd, chunk, first); !written) {
      return Result<void>(unexpected(written.error()));
    }
    return Result<void>();
  });
}

// All entries of a frozen pool, as the changer sees them.
std::vector<PoolEntry> entries_in(const DirectoryChange& change) {
  std::vector<PoolEntry> entries;
  for (std::uint32_t slot = 0; slot < change.slot_count(); ++slot) {
    if (has_state(change.entry(slot), EntryState::free)) continue;
    entries.push_back({slot, change.entry(slot), change.problem(slot)});
  }
  return entries;
}

// A sealed segment has no checksums, and a hash of the whole instead.
Result<void> check_seal(const VerifiedReader& reader) {
  const std::uint32_t state = reader.header().live.state.value.load();
  if (state != static_cast<std::uint32_t>(SegmentState::sealed)) return {};
  STRATA_ASSIGN(const SealBlock seal, read_seal_block(reader.header()));
  const auto bytes = reader.unverified();
  if (seal.sealed_bytes == bytes.size() && content_hash(bytes) == seal.hash) return {};
  return fail(Code::corrupt, "its content differs from the hash with which it was sealed");
}

// What must hold of a version beyond its checksums. Errors: corrupt.
Result<void> check_version(const VerifiedReader& reader) {
  STRATA_TRY(read_identity_block(std::as_bytes(std::span(&reader.header(), 1))));
  const std::uint32_t state = reader.header().live.state.value.load();
  if (state != static_cast<std::uint32_t>(SegmentState::ready) &&
      state != static_cast<std::uint32_t>(SegmentState::sealed)) {
    return fail(Code::corrupt, "was never published");
  }
  return check_seal(reader);
}

// Returns what is wrong with the version where it is damaged, an empty text where it was copied;
// what of it could not be, though its bytes could, is in `lost`. Errors are the copy's own.
Result<std::string> copy_version(const VerifiedReader& reader, const Pool& to,
                                 std::vector<std::string>& lost) {
  const DirectoryEntry& entry = reader.entry();
  STRATA_ASSIGN(StagedSegment staged,
                to.stage({.name = std::string(padded_text(entry.name)),
                          .payload_bytes = reader.bytes(),
                          .max_bytes = entry.max_bytes,
                          .checksum_block_bytes = entry.checksum_block_bytes,
                          .keep_versions = std::max<std::uint32_t>(entry.keep_versions, kMaxSlots),
                          .zeroed = false,
                          .version = entry.version}));
  const auto copy = [&](std::uint64_t first, std::uint64_t last) -> Result<void> {
    for (std::uint64_t i = first; i < last; ++i) {
      const std::uint64_t at = i * reader.block_bytes();
      STRATA_ASSIGN(const auto block, reader.block_if_verifiable(i));
      std::memcpy(staged.payload().data() + at, block.data(), block.size());
    }
    return {};
  };
  // Nothing is written but memory: what fails is the reading.
  if (auto done = for_pieces(reader.block_count(), 64, 0, copy); !done) {
    return done.error().message();
  }
  std::copy(reader.checksums().begin(), reader.checksums().end(), staged.checksums().begin());
  STRATA_TRY(staged.take_over(reader.header(), entry.keep_versions));
  const auto content = reader.content();
  const bool is_unreadable = !content && content.error().code() == Code::corrupt;
  // Bytes that are whole are not given up for a damaged word about them.
  if (is_unreadable) staged.header().content = ContentBlock{};
  STRATA_TRY(to.publish_one(std::move(staged)));
  if (is_unreadable) {
    lost.push_back(fmt::format("{} version {}: {}; its bytes are there", padded_text(entry.name),
                               entry.version, content.error().message()));
  }
  return std::string();
}

Result<std::string> copy_entry(const PoolFile& from, const DirectoryEntry& entry, const Pool& to,
                               std::vector<std::string>& lost) {
  const auto reader = VerifiedReader::open_frozen(from, entry);
  if (!reader && reader.error().code() == Code::exhausted) return unexpected(reader.error());
  if (!reader) return reader.error().message();
  const auto whole = check_version(*reader);
  // Not damaged, but of a later program: a copy without it would have lost it.
  if (!whole && whole.error().code() == Code::unsupported) return unexpected(whole.error());
  if (!whole) return whole.error().message();
  return copy_version(*reader, to, lost);
}

}  // namespace

Result<std::uint32_t> copy_segments(const PoolFile& from, const std::vector<PoolEntry>& entries,
                                    const Pool& to, std::vector<std::string>& lost) {
  std::vector<PoolEntry> ordered;
  for (const PoolEntry& each : entries) {
    const bool is_wanted =
        has_state(each.entry, EntryState::current) || has_state(each.entry, EntryState::previous);
    if (!each.problem.empty()) {
      lost.push_back(fmt::format("slot {}: {}", each.slot, each.problem));
    } else if (is_wanted) {
      ordered.push_back(each);
    }
  }
  // From old to new, as they were published.
  std::sort(ordered.begin(), ordered.end(), [](const PoolEntry& a, const PoolEntry& b) {
    return a.entry.version < b.entry.version;
  });
  std::uint32_t copied = 0;
  for (const PoolEntry& each : ordered) {
    const std::string what =
        fmt::format("{} version {}", padded_text(each.entry.name), each.entry.version);
    const auto damage = copy_entry(from, each.entry, to, lost);
    if (!damage) return unexpected(damage.error().in(what));
    if (!damage->empty()) {
      lost.push_back(what + ": " + *damage);
      continue;
    }
    ++copied;
  }
  // What was staged for a version that turned out to be damaged.
  if (!lost.empty()) STRATA_TRY(to.sweep());
  // After a rollback the current version is not the newest.
  for (const PoolEntry& each : ordered) {
    if (!has_state(each.entry, EntryState::current)) continue;
    const std::string name(padded_text(each.entry.name));
    const auto now = to.look_up(name, Deadline::after_ms(10'000));
    if (!now || now->found.entry.version == each.entry.version) continue;
    if (auto done = to.rollback(name, each.entry.version);
        !done && done.error().code() != Code::not_found) {
      return unexpected(done.error());
    }
  }
  return copied;
}

Result<SnapshotReport> snapshot_pool(const Pool& pool, const std::string& to,
                                     const SnapshotOptions& options) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in(fmt::format("snapshot {} to {}", pool.path(), to)));
  };
  Os& os = pool.os();
  auto frozen = DirectoryChange::freeze(os, pool.path(), options.deadline);
  if (!frozen) return context(frozen.error());
  if (auto quiet = (*frozen)->require_no_writers(); !quiet) return context(quiet.error());
  const PoolFile& file = (*frozen)->file();
  SnapshotReport report;
  report.bytes = file.file_bytes;
  const WriteRequest request{to, options.replace, file.fd.get()};
  auto written = write_new_file(os, request, [&](int fd) -> Result<void> {
    if (os.clone_file(fd, file.fd.get())) {
      report.method = CopyMethod::reflink;
      STRATA_TRY((*frozen)->own_blocks());
    } else {
      STRATA_TRY(copy_bytes(os, file.fd.get(), fd, file.file_bytes));
    }
    // The copy was taken while we held everybody else off, and says so: nobody does that to it.
    const std::uint64_t even = (*frozen)->head().sequence.value + 1;
    STRATA_TRY(os.pwrite(fd, std::as_bytes(std::span(&even, 1)),
                         file.directory_offset_bytes + offsetof(DirectoryHead, sequence)));
    STRATA_ASSIGN(const auto facts, os.fstat(file.fd.get()));
    return os.fchmod(fd, facts.st_mode & 0777);
  });
  if (!written) return context(written.error());
  return report;
}

Result<void> clone_segment(const Pool& pool, const std::string& from, std::uint64_t version,
                           const std::string& to, Deadline deadline) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in(fmt::format("clone {}#{} to {}", pool.path(), from, to)));
  };
  if (pool.look_up(to, deadline)) return context(Status(Code::already_exists, "the name is taken"));
  auto reader = VerifiedReader::open(pool, from, version, deadline);
  if (!reader) return context(reader.error());
  const auto content = reader->content();
  if (!content) return context(content.error());
  auto staged = pool.stage({.name = to,
                            .payload_bytes = reader->bytes(),
                            .max_bytes = reader->entry().max_bytes,
                            .zeroed = false,
                            .content = *content,
                            .deadline = deadline});
  if (!staged) return context(staged.error());
  auto copied = load_version(pool, from, reader->version(), staged->payload(),
                             {.even_if_unverified = true, .deadline = deadline});
  if (!copied) return context(copied.error());
  staged->header().live.generation.value = reader->header().live.generation.value.load() + 1;
  if (auto done = pool.publish(std::span(&*staged, 1), deadline); !done) {
    return context(done.error());
  }
  return {};
}

Result<GrowReport> grow_pool(const Pool& pool, std::uint64_t new_bytes, Deadline deadline) {
  const auto context = [&](const Status& status) {
    return unexpected(
        status.in(fmt::format("grow {} to {}", pool.path(), format_bytes(new_bytes))));
  };
  Os& os = pool.os();
  auto frozen = DirectoryChange::freeze(os, pool.path(), deadline);
  if (!frozen) return context(frozen.error());
  const PoolFile& file = (*frozen)->file();
  GrowReport report{file.file_bytes, new_bytes, 0};
  if (new_bytes < file.file_bytes) {
    return context(Status(Code::invalid_argument,
                          fmt::format("it has {} already", format_bytes(file.file_bytes))));
  }
  if (auto quiet = (*frozen)->require_nobody(); !quiet) return context(quiet.error());
  if (auto none = require_none(other_objects(**frozen), "the larger pool"); !none) {
    return context(none.error());
  }
  const auto build = [&]() -> Result<void> {
    STRATA_ASSIGN(const OldFile old, OldFile::find(os, pool.path()));
    STRATA_TRY(old.require_no_other_names());
    STRATA_ASSIGN(NewFile larger, NewFile::make(os, old.path));
    STRATA_ASSIGN(
        const Pool grown,
        Pool::create_in(os, larger, {.bytes = new_bytes, .slots = (*frozen)->slot_count()}));
    STRATA_ASSIGN(const auto facts, os.fstat(larger.fd()));
    report.new_bytes = static_cast<std::uint64_t>(facts.st_size);
    std::vector<std::string> lost;
    STRATA_ASSIGN(report.segments, copy_segments(file, entries_in(**frozen), grown, lost));
    if (!lost.empty()) {
      return fail(Code::corrupt, fmt::format("{} versions are damaged, the first is {}; repair "
                                             "the pool first",
                                             lost.size(), lost.front()));
    }
    STRATA_TRY(larger.replace(old));
    (*frozen)->abandon();
    return {};
  };
  if (auto done = build(); !done) return context(done.error());
  return report;
}

}  // namespace strata::inline v0_1
