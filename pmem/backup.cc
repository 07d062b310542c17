#include "strata/pmem/backup.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>

#include "base/crc32c.h"
#include "base/long_hash.h"
#include "os/os.h"
#include "pmem/backup_format.h"
#include "pmem/directory_change.h"
#include "pmem/new_file.h"
#include "pmem/other_objects.h"
#include "pmem/pool_copy.h"
#include "pmem/pool_hold.h"
#include "pmem/verified_reader.h"
#include "strata/base/bytes.h"
#include "strata/os/deadline.h"
#include "strata/os/real_os.h"
#include "strata/pmem/checkpoint.h"
#include "strata/segment/uri.h"

namespace strata::inline v0_1 {
namespace {

template <typename T>
std::uint32_t crc_before(const T& object) {
  return crc32c(std::as_bytes(std::span(&object, 1)).first(offsetof(T, crc32c)));
}

// Appends to the file at `at`.
struct Writer {
  Os& os;
  int fd;
  std::uint64_t at = 0;

  Result<void> put(std::span<const std::byte> bytes) {
    STRATA_TRY(os.pwrite(fd, bytes, at));
    at += bytes.size();
    return {};
  }
};

struct Reader {
  Os& os;
  int fd;
  std::uint64_t at = 0;

  Result<void> get(std::span<std::byte> bytes) {
    STRATA_ASSIGN(const std::size_t got, os.pread(fd, bytes, at));
    if (got != bytes.size()) {
      return fail(Code::corrupt,
                  fmt::format("it ends at byte {}, {} too early", at + got, bytes.size() - got));
    }
    at += got;
    return {};
  }
};

std::uint64_t block_count(std::uint64_t bytes, std::uint64_t block_bytes) {
  return (bytes + block_bytes - 1) / block_bytes;
}

Result<void> write_version(Writer& writer, const VerifiedReader& reader) {
  const auto record = std::make_unique<BackupRecord>();
  record->entry = reader.entry();
  std::memcpy(static_cast<void*>(&record->header), &reader.header(), sizeof record->header);
  record->payload_bytes = reader.bytes();
  record->block_bytes = static_cast<std::uint32_t>(reader.block_bytes());
  const std::span<const std::byte> payload = reader.unverified();
  std::vector<std::uint64_t> hashes(reader.block_count());
  for (std::uint64_t i = 0; i < hashes.size(); ++i) {
    STRATA_ASSIGN(const auto block, reader.block_if_verifiable(i));
    hashes[i] = hash_long(block);
  }
  record->hashes_crc32c = crc32c(std::as_bytes(std::span(hashes)));
  record->crc32c = crc_before(*record);
  STRATA_TRY(writer.put(std::as_bytes(std::span(record.get(), 1))));
  STRATA_TRY(writer.put(std::as_bytes(std::span(hashes))));
  STRATA_TRY(writer.put(payload));
  const std::array<std::byte, 8> padding{};
  return writer.put(std::span(padding).first((8 - payload.size() % 8) % 8));
}

Result<void> check_record(const BackupRecord& record, const BackupHeader& header) {
  if (crc_before(record) != record.crc32c)
    return fail(Code::corrupt, "the crc of a record is wrong");
  const DirectoryEntry& entry = record.entry;
  const std::uint64_t block = record.block_bytes;
  const bool has_checksums = entry.checksums_offset_bytes != 0;
  if (!check_name(padded_text(entry.name)) || record.payload_bytes == 0 ||
      record.payload_bytes > header.file_bytes || entry.max_bytes < record.payload_bytes ||
      entry.max_bytes > header.pool_bytes || block < kPageBytes || (block & (block - 1)) != 0 ||
      (has_checksums && entry.checksum_block_bytes != block)) {
    return fail(Code::corrupt, "a record contradicts itself");
  }
  STRATA_TRY(read_identity_block(std::as_bytes(std::span(&record.header, 1))));
  return {};
}

Result<void> read_version(Reader& reader, const BackupHeader& header, const Pool& pool,
                          BackupReport& report) {
  const auto record = std::make_unique<BackupRecord>();
  STRATA_TRY(reader.get(std::as_writable_bytes(std::span(record.get(), 1))));
  STRATA_TRY(check_record(*record, header));
  const std::string name(padded_text(record->entry.name));
  std::vector<std::uint64_t> hashes(block_count(record->payload_bytes, record->block_bytes));
  STRATA_TRY(reader.get(std::as_writable_bytes(std::span(hashes))));
  if (crc32c(std::as_bytes(std::span(hashes))) != record->hashes_crc32c) {
    return fail(Code::corrupt, name + ": the crc of its table of hashes is wrong");
  }
  const bool has_checksums = record->entry.checksums_offset_bytes != 0;
  STRATA_ASSIGN(StagedSegment staged,
                pool.stage({.name = name,
                            .payload_bytes = record->payload_bytes,
                            .max_bytes = record->entry.max_bytes,
                            .checksum_block_bytes = has_checksums ? record->block_bytes : 0,
                            .keep_versions = kMaxSlots,
                            .zeroed = false,
                            .version = record->entry.version}));
  STRATA_TRY(reader.get(staged.payload()));
  for (std::uint64_t i = 0; i < hashes.size(); ++i) {
    const std::uint64_t at = i * record->block_bytes;
    const auto block = staged.payload().subspan(
        at, std::min<std::uint64_t>(record->block_bytes, record->payload_bytes - at));
    if (hash_long(block) != hashes[i]) {
      return fail(Code::corrupt, fmt::format("{} version {}: block {} differs from its hash", name,
                                             record->entry.version, i));
    }
  }
  std::copy(hashes.begin(), hashes.begin() + static_cast<long>(staged.checksums().size()),
            staged.checksums().begin());
  STRATA_TRY(staged.take_over(record->header, record->entry.keep_versions));
  STRATA_TRY(pool.publish_one(std::move(staged)));
  reader.at += (8 - record->payload_bytes % 8) % 8;
  report.versions += 1;
  report.payload_bytes += record->payload_bytes;
  return {};
}

Result<BackupHeader> read_header(Reader& reader) {
  BackupHeader header{};
  STRATA_ASSIGN(const std::size_t got,
                reader.os.pread(reader.fd, std::as_writable_bytes(std::span(&header, 1)), 0));
  if (got < sizeof header || header.magic != kBackupMagic) {
    return fail(Code::invalid_argument, "it is no backup of a pool");
  }
  if (header.byte_order_mark == __builtin_bswap64(kByteOrderMark)) {
    return fail(Code::unsupported, "it was written with another byte order");
  }
  // Before anything that it says: of a later program is only what is sound.
  if (crc_before(header) != header.crc32c) {
    return fail(Code::corrupt, "the crc of its header is wrong");
  }
  if (header.version_major != kBackupVersionMajor) {
    return fail(Code::unsupported,
                fmt::format("it is of version {}.{}, and this program knows {}.x: use the strata "
                            "that made it, or a newer one",
                            header.version_major, header.version_minor, kBackupVersionMajor));
  }
  STRATA_ASSIGN(const auto facts, reader.os.fstat(reader.fd));
  if (header.byte_order_mark != kByteOrderMark) {
    return fail(Code::corrupt, "its byte order mark is none");
  }
  if (header.file_bytes != static_cast<std::uint64_t>(facts.st_size) ||
      header.slot_count > kMaxSlots) {
    return fail(Code::corrupt, fmt::format("it has {} bytes, and should have {}", facts.st_size,
                                           header.file_bytes));
  }
  reader.at = sizeof header;
  return header;
}

// A pool that nobody changes: nothing is written into it, so that readers go on, and whoever may
// only read it can back it up.
struct Source {
  PoolHold hold;
  DirectoryCopy directory;
};

// Of a private copy, which takes neither the right to write nor blocks of the disk.
Result<OtherObjects> other_objects_of(const Pool& pool, const DirectoryCopy& directory,
                                      Deadline deadline) {
  std::set<std::uint64_t> named;
  for (const DirectoryEntry& entry : directory.entries) {
    if (!has_state(entry, EntryState::free)) named.insert(entry.object_offset_bytes);
  }
  STRATA_ASSIGN(const PoolCopy copy, PoolCopy::take(pool.os(), pool.path(), deadline));
  auto others = look_for_other_objects(pool.os(), copy.path(), named);
  if (others) return others;
  return fail(others.error().code(), copy.with_original_name(others.error().message()));
}

Result<Source> hold_source(const Pool& pool, Deadline deadline) {
  DirectoryCopy directory;
  OtherObjects others;
  const auto look = [&](const PoolFile&) -> Result<bool> {
    STRATA_ASSIGN(directory, pool.directory(deadline));
    STRATA_ASSIGN(others, other_objects_of(pool, directory, deadline));
    return true;
  };
  STRATA_ASSIGN(PoolHold hold,
                PoolHold::take_after(pool.os(), pool.path(), KeepOut::writers, deadline, look));
  STRATA_TRY(require_none(others, "a backup"));
  return Source{std::move(hold), std::move(directory)};
}

// From old to new, as they were published.
std::vector<std::uint32_t> published_slots(const DirectoryCopy& directory) {
  const auto& entries = directory.entries;
  std::vector<std::uint32_t> slots;
  for (std::uint32_t slot = 0; slot < entries.size(); ++slot) {
    if (has_state(entries[slot], EntryState::current) ||
        has_state(entries[slot], EntryState::previous)) {
      slots.push_back(slot);
    }
  }
  std::sort(slots.begin(), slots.end(), [&](std::uint32_t a, std::uint32_t b) {
    return entries[a].version < entries[b].version;
  });
  return slots;
}

BackupHeader make_header(const Source& source, const BackupReport& report) {
  BackupHeader header{};
  header.magic = kBackupMagic;
  header.byte_order_mark = kByteOrderMark;
  header.version_major = kBackupVersionMajor;
  header.version_minor = kBackupVersionMinor;
  header.version_count = report.versions;
  header.pool_uuid = source.directory.head.header.pool_uuid;
  header.pool_bytes = report.pool_bytes;
  header.slot_count = source.directory.head.header.slot_count;
  header.created_unix_ns = unix_ns();
  header.file_bytes = report.file_bytes;
  header.crc32c = crc_before(header);
  return header;
}

}  // namespace

Result<BackupReport> backup_pool(const Pool& pool, const std::string& to,
                                 const BackupOptions& options) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in(fmt::format("back up {} to {}", pool.path(), to)));
  };
  Os& os = pool.os();
  const auto source = hold_source(pool, options.deadline);
  if (!source) return context(source.error());
  const PoolFile& file = source->hold.file();
  BackupReport report;
  report.pool_bytes = report.old_pool_bytes = file.file_bytes;
  const WriteRequest request{to, options.replace, file.fd.get()};
  auto written = write_new_file(os, request, [&](int fd) -> Result<void> {
    Writer writer{os, fd, sizeof(BackupHeader)};
    for (const std::uint32_t slot : published_slots(source->directory)) {
      if (const std::string& problem = source->directory.problems[slot]; !problem.empty()) {
        return fail(Code::corrupt, fmt::format("slot {}: {}", slot, problem));
      }
      STRATA_ASSIGN(const VerifiedReader reader,
                    VerifiedReader::open_frozen(file, source->directory.entries[slot]));
      STRATA_TRY(write_version(writer, reader));
      report.versions += 1;
      report.payload_bytes += reader.bytes();
    }
    report.file_bytes = writer.at;
    const BackupHeader header = make_header(*source, report);
    STRATA_TRY(os.pwrite(fd, std::as_bytes(std::span(&header, 1)), 0));
    return {};
  });
  if (!written) return context(written.error());
  return report;
}

namespace {

constexpr unsigned kSizesToTry = 6;

// The size to try next, where `left_bytes` of the backup did not fit: what was cut out of one heap
// piece by piece need not fit into another of the same size.
std::uint64_t next_size(std::uint64_t bytes, std::uint64_t left_bytes) {
  return align_up(bytes + std::max({left_bytes, bytes / 8, MiB(4)}), kPageBytes);
}

// A pool of all versions, larger than `bytes` where that is what it takes.
class Restoring {
 public:
  Restoring(Reader start, const BackupHeader& header, BackupReport& report)
      : start_(start), header_(header), report_(report) {}

  // With the size that the caller wants, or, where that is 0, with one that does.
  Result<NewFile> fill(const std::string& to, std::uint64_t wanted_bytes) {
    std::uint64_t bytes = wanted_bytes ? wanted_bytes : header_.pool_bytes;
    for (unsigned size = 1;; ++size) {
      STRATA_ASSIGN(NewFile file, NewFile::make(start_.os, to));
      // What is exhausted here is the disk.
      STRATA_ASSIGN(
          const Pool pool,
          Pool::create_in(start_.os, file, {.bytes = bytes, .slots = header_.slot_count}));
      std::uint64_t read_to = start_.at;
      const auto filled = read_all(pool, read_to);
      if (filled) {
        STRATA_ASSIGN(const auto facts, start_.os.fstat(file.fd()));
        report_.pool_bytes = static_cast<std::uint64_t>(facts.st_size);
        return file;
      }
      const bool is_full = filled.error().code() == Code::exhausted;
      if (is_full && wanted_bytes != 0) {
        return fail(Code::exhausted, filled.error().message() +
                                         "; without a size (--size) the pool gets one that does");
      }
      if (!is_full || size == kSizesToTry) return unexpected(filled.error());
      bytes = next_size(bytes, header_.file_bytes - read_to);
    }
  }

 private:
  Result<void> read_all(const Pool& pool, std::uint64_t& read_to) {
    Reader reader{start_.os, start_.fd, start_.at};
    report_.versions = 0;
    report_.payload_bytes = 0;
    for (std::uint32_t i = 0; i < header_.version_count; ++i) {
      const auto done = read_version(reader, header_, pool, report_);
      read_to = std::min(reader.at, header_.file_bytes);
      if (!done) return done;
    }
    return {};
  }

  Reader start_;
  const BackupHeader& header_;
  BackupReport& report_;
};

}  // namespace

Result<BackupReport> restore_pool(const std::string& from, const std::string& to,
                                  const RestorePoolOptions& options) {
  return restore_pool(real_os(), from, to, options);
}

Result<BackupReport> restore_pool(Os& os, const std::string& from, const std::string& to,
                                  const RestorePoolOptions& options) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in(fmt::format("restore {} from {}", to, from)));
  };
  auto fd = os.open(from, O_RDONLY);
  if (!fd) return context(fd.error());
  Reader reader{os, fd->get()};
  const auto header = read_header(reader);
  if (!header) return context(header.error());
  BackupReport report;
  report.file_bytes = header->file_bytes;
  report.old_pool_bytes = header->pool_bytes;
  if (os.stat(to)) return context(Status(Code::already_exists, "it exists"));
  auto file = Restoring(reader, *header, report).fill(to, options.bytes);
  if (!file) return context(file.error());
  if (auto named = file->give_name(to); !named) return context(named.error());
  return report;
}

}  // namespace strata::inline v0_1
