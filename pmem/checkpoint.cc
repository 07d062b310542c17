#include "strata/pmem/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "base/crc32c.h"
#include "base/long_hash.h"
#include "base/stream_copy.h"
#include "pmem/fill.h"
#include "pmem/parallel.h"
#include "pmem/pool_access.h"
#include "pmem/verified_reader.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::size_t kReportedBlocks = 100;
constexpr std::uint64_t kPieceBytes = MiB(4);

std::uint64_t blocks_in_piece(std::uint64_t block_bytes) {
  return std::max<std::uint64_t>(1, kPieceBytes / block_bytes);
}

}  // namespace

Result<StagedSegment> stage_checkpoint(ByteSource& from, const Pool& pool, const std::string& name,
                                       const CheckpointOptions& options, CheckpointReport* report) {
  const auto bytes = from.bytes();
  if (!bytes) return fail(Code::invalid_argument, from.name() + ": its length is not known");
  Content content = options.content;
  if (content.is_plain()) {
    STRATA_ASSIGN(const Content* const said, from.content());
    if (said != nullptr) content = *said;
  }
  STRATA_ASSIGN(StagedSegment staged,
                pool.stage({.name = name,
                            .payload_bytes = *bytes,
                            .checksum_block_bytes = options.block_bytes,
                            .keep_versions = options.keep_versions,
                            .zeroed = false,
                            .recycle = true,
                            .content = std::move(content),
                            .deadline = Deadline::after_ms(options.timeout_ms)}));
  STRATA_ASSIGN(const FillReport filled, fill(staged, from, options.threads, options.progress));
  STRATA_TRY(from.finish());
  if (report != nullptr) {
    *report = {.blocks = staged.checksums().size(),
               .blocks_written = filled.blocks_written,
               .bytes_written = filled.bytes_written,
               .is_incremental = staged.is_recycled()};
  }
  return staged;
}

Result<CheckpointReport> checkpoint(ByteSource& from, const Pool& pool, const std::string& name,
                                    const CheckpointOptions& options) {
  CheckpointReport report;
  STRATA_ASSIGN(StagedSegment staged, stage_checkpoint(from, pool, name, options, &report));
  STRATA_TRY(pool.publish(std::span(&staged, 1), Deadline::after_ms(options.timeout_ms)));
  report.version = staged.version();
  return report;
}

Result<CheckpointReport> checkpoint(std::span<const std::byte> from, const Pool& pool,
                                    const std::string& name, const CheckpointOptions& options) {
  SpanSource source(from);
  return checkpoint(source, pool, name, options);
}

Result<VerifiedReader> VerifiedReader::open(const Pool& pool, const std::string& name,
                                            std::uint64_t version, Deadline deadline) {
  STRATA_ASSIGN(LocatedSegment located, pool.locate(name, version, Access::read_only, deadline));
  VerifiedReader reader;
  reader.entry_ = located.found.entry;
  reader.file_ = std::move(located.file);
  reader.what_ = fmt::format("{}#{} version {}", pool.path(), name, reader.version());
  STRATA_TRY(reader.map(pool.os(), reader.file_.fd.get()));
  return reader;
}

Result<VerifiedReader> VerifiedReader::open_frozen(const PoolFile& file,
                                                   const DirectoryEntry& entry) {
  VerifiedReader reader;
  reader.entry_ = entry;
  reader.what_ = fmt::format("{}#{} version {}", file.path, padded_text(entry.name), entry.version);
  STRATA_TRY(reader.map(*file.os, file.fd.get()));
  return reader;
}

Result<void> VerifiedReader::map(Os& os, int fd) {
  const DirectoryEntry& entry = entry_;
  std::uint64_t bytes = entry.payload_offset_bytes + entry.max_bytes;
  if (entry.checksums_offset_bytes != 0) {
    bytes = entry.checksums_offset_bytes - entry.header_offset_bytes + entry.checksum_count * 8;
  }
  STRATA_ASSIGN(domain_, Domain::map(os, fd,
                                     {.offset_bytes = entry.header_offset_bytes,
                                      .bytes = bytes,
                                      .access = Access::read_only}));
  const std::byte* const start = domain_->bytes().data();
  if (entry.checksums_offset_bytes == 0) {
    // Live segments grow; their header says how far.
    const auto* page = reinterpret_cast<const HeaderPage*>(start);
    const std::uint64_t now = page->live.payload_bytes.value.load(std::memory_order_acquire);
    if (now > entry.max_bytes) {
      return fail(Code::corrupt, fmt::format("{}: header: impossible size {}", what_, now));
    }
    entry_.payload_bytes = now;
    return {};
  }
  const auto* table = reinterpret_cast<const std::uint64_t*>(
      start + (entry.checksums_offset_bytes - entry.header_offset_bytes));
  checksums_ = {table, entry.checksum_count};
  if (crc32c(std::as_bytes(checksums_)) != entry.checksums_crc32c) {
    return fail(Code::corrupt, what_ + ": the crc of its table of checksums is wrong");
  }
  return {};
}

std::uint64_t VerifiedReader::block_bytes() const {
  return has_checksums() ? entry_.checksum_block_bytes : kDefaultBlockBytes;
}

std::uint64_t VerifiedReader::block_count() const {
  return (entry_.payload_bytes + block_bytes() - 1) / block_bytes();
}

std::span<const std::byte> VerifiedReader::unverified() const {
  return domain_->bytes().subspan(entry_.payload_offset_bytes, entry_.payload_bytes);
}

const HeaderPage& VerifiedReader::header() const {
  return *reinterpret_cast<const HeaderPage*>(domain_->bytes().data());
}

Result<Content> VerifiedReader::content() const {
  STRATA_ASSIGN(const IdentityBlock identity,
                read_identity_block(std::as_bytes(std::span(&header(), 1))));
  return read_content_block(header(), identity, bytes());
}

Result<std::span<const std::byte>> VerifiedReader::block(std::uint64_t index) const {
  if (!has_checksums()) {
    return fail(Code::failed_precondition, what_ +
                                               ": was not checkpointed, so that it has no "
                                               "checksums");
  }
  if (index >= block_count()) {
    return fail(Code::invalid_argument,
                fmt::format("{}: has {} blocks, not {}", what_, block_count(), index + 1));
  }
  const auto bytes = unverified().subspan(index * block_bytes(), bytes_of_block(index));
  if (hash_long(bytes) != checksums_[index]) {
    return fail(Code::corrupt,
                fmt::format("{}: block {} ({} bytes at {}) differs from its checksum", what_, index,
                            bytes.size(), index * block_bytes()));
  }
  return bytes;
}

Result<std::span<const std::byte>> VerifiedReader::block_if_verifiable(std::uint64_t index) const {
  if (has_checksums()) return block(index);
  return unverified().subspan(index * block_bytes(), bytes_of_block(index));
}

std::uint64_t VerifiedReader::bytes_of_block(std::uint64_t index) const {
  return std::min(block_bytes(), bytes() - index * block_bytes());
}

Result<void> VerifiedReader::copy_blocks(std::uint64_t first, std::uint64_t last,
                                         std::span<std::byte> into) const {
  const std::uint64_t begin = first * block_bytes();
  const std::uint64_t end = std::min(last * block_bytes(), bytes());
  if (first >= last || last > block_count() || into.size() != end - begin) {
    return fail(Code::invalid_argument, fmt::format("{}: blocks {} to {} are not {} bytes", what_,
                                                    first, last, into.size()));
  }
  if (auto there = domain_->fault_in(unverified().subspan(begin, end - begin)); !there) {
    return unexpected(there.error().in(fmt::format("{}: bytes {} to {}", what_, begin, end)));
  }
  for (std::uint64_t i = first; i < last; ++i) {
    // Verified block by block, so that the copy finds it in the cache.
    STRATA_ASSIGN(const auto source, block_if_verifiable(i));
    stream_copy(into.data() + (i * block_bytes() - begin), source.data(), source.size());
  }
  return {};
}

Result<void> VerifiedReader::read(std::uint64_t offset_bytes, std::span<std::byte> into) const {
  if (offset_bytes > bytes() || into.size() > bytes() - offset_bytes) {
    return fail(Code::invalid_argument, fmt::format("{}: {} bytes at {} are not within its {}",
                                                    what_, into.size(), offset_bytes, bytes()));
  }
  while (!into.empty()) {
    const std::uint64_t index = offset_bytes / block_bytes();
    STRATA_ASSIGN(const auto source, block(index));
    const std::uint64_t skip = offset_bytes - index * block_bytes();
    const std::size_t count = std::min<std::size_t>(into.size(), source.size() - skip);
    std::memcpy(into.data(), source.data() + skip, count);
    into = into.subspan(count);
    offset_bytes += count;
  }
  return {};
}

Result<LoadReport> load_version(const Pool& pool, const std::string& name, std::uint64_t version,
                                std::span<std::byte> to, const LoadOptions& options) {
  STRATA_ASSIGN(const VerifiedReader reader,
                VerifiedReader::open(pool, name, version, options.deadline));
  if (to.size() < reader.bytes()) {
    return fail(Code::invalid_argument,
                fmt::format("{} bytes do not fit into {}", reader.bytes(), to.size()));
  }
  if (!reader.has_checksums() && !options.even_if_unverified) {
    return fail(
        Code::failed_precondition,
        fmt::format("{}#{} was not checkpointed, so that it has no checksums", pool.path(), name));
  }
  const std::uint64_t block_bytes = reader.block_bytes();
  const auto copy = [&](std::uint64_t first, std::uint64_t last) -> Result<void> {
    const std::uint64_t begin = first * block_bytes;
    const std::uint64_t end = std::min(last * block_bytes, reader.bytes());
    STRATA_TRY(reader.copy_blocks(first, last, to.subspan(begin, end - begin)));
    if (options.progress) options.progress(end - begin);
    return {};
  };
  STRATA_TRY(for_pieces(reader.block_count(), blocks_in_piece(block_bytes), options.threads, copy));
  return LoadReport{reader.version(), reader.bytes(),
                    reader.has_checksums() ? reader.block_count() : 0};
}

Result<VerifyReport> verify_blocks(const Pool& pool, const std::string& name, std::uint64_t version,
                                   unsigned threads) {
  STRATA_ASSIGN(const VerifiedReader reader, VerifiedReader::open(pool, name, version));
  return verify_blocks(reader, threads);
}

Result<VerifyReport> verify_blocks(const VerifiedReader& reader, unsigned threads) {
  VerifyReport report;
  report.version = reader.version();
  report.blocks_verified = reader.block_count();
  if (!reader.has_checksums()) {
    return fail(Code::failed_precondition, reader.what() +
                                               ": was not checkpointed, so that it has no "
                                               "checksums");
  }
  std::mutex mutex;
  const auto look = [&](std::uint64_t first, std::uint64_t last) -> Result<void> {
    for (std::uint64_t i = first; i < last; ++i) {
      if (reader.block(i)) continue;
      const std::uint64_t at = i * reader.block_bytes();
      const std::lock_guard lock(mutex);
      report.bad_block_count += 1;
      if (report.bad_blocks.size() < kReportedBlocks) {
        report.bad_blocks.push_back({i, at, std::min(reader.block_bytes(), reader.bytes() - at)});
      }
    }
    return {};
  };
  STRATA_TRY(
      for_pieces(reader.block_count(), blocks_in_piece(reader.block_bytes()), threads, look));
  std::sort(report.bad_blocks.begin(), report.bad_blocks.end(),
            [](const BadBlock& a, const BadBlock& b) { return a.block < b.block; });
  return report;
}

}  // namespace strata::inline v0_1
