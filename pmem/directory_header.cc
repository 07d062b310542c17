#include "pmem/directory_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "base/crc32c.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kKnownRequired = 0;
constexpr std::uint64_t kKnownReadOnly = 0;

constexpr std::uint64_t reversed(std::uint64_t word) { return __builtin_bswap64(word); }

bool has_right_crc(const DirectoryHeader& header) {
  const auto covered = std::as_bytes(std::span(&header, 1));
  return crc32c(covered.first(offsetof(DirectoryHeader, crc32c))) == header.crc32c;
}

// What stands there, if it begins as a directory does.
std::optional<DirectoryHeader> read_header(Os& os, int fd, std::uint64_t at) {
  DirectoryHeader header{};
  if (at > INT64_MAX) return std::nullopt;
  const auto got = os.pread(fd, std::as_writable_bytes(std::span(&header, 1)), at);
  if (!got || *got != sizeof header || header.magic != kDirectoryMagic) return std::nullopt;
  return header;
}

std::optional<DirectoryHeader> header_at_root(const PoolFile& file) {
  std::uint64_t root = 0;
  const auto bytes = std::as_writable_bytes(std::span(&root, 1));
  const auto got = file.os->pread(file.fd.get(), bytes, kObjRootOffsetAt);
  if (!got || *got != sizeof root) return std::nullopt;
  return read_header(*file.os, file.fd.get(), root);
}

}  // namespace

Result<void> check_header(const DirectoryHeader& header) {
  if (header.magic != kDirectoryMagic) {
    return fail(Code::corrupt, "directory: its magic is wrong");
  }
  // Its crc, too, is in that order; no damage does this.
  if (header.byte_order_mark == reversed(kByteOrderMark)) {
    return fail(Code::unsupported, "directory: was written with another byte order");
  }
  // Before anything that it says: of a later program is only what is sound.
  if (!has_right_crc(header)) {
    return fail(Code::corrupt, "directory: the crc of its header is wrong");
  }
  if (header.version_major != kDirectoryVersionMajor) {
    return fail(Code::unsupported,
                fmt::format("directory: is of version {}.{}, and this program knows {}.x: use the "
                            "strata that made it, or a newer one",
                            header.version_major, header.version_minor, kDirectoryVersionMajor));
  }
  if (const std::uint64_t unknown = header.features_required & ~kKnownRequired) {
    return fail(
        Code::unsupported,
        fmt::format("directory: required features {:#x} are unknown: use a newer strata", unknown));
  }
  if (header.byte_order_mark != kByteOrderMark || header.slot_count == 0 ||
      header.slot_count > kMaxSlots || header.header_bytes != sizeof(DirectoryHead) ||
      header.entry_bytes != sizeof(DirectoryEntry) ||
      header.index_offset_bytes != directory_index_offset() ||
      header.entries_offset_bytes != directory_entries_offset(header.slot_count)) {
    return fail(Code::corrupt, "directory: its header contradicts itself");
  }
  return {};
}

std::uint64_t unknown_read_only_features(const DirectoryHeader& header) {
  return header.features_read_only & ~kKnownReadOnly;
}

Result<void> check_changeable(const DirectoryHeader& header) {
  const std::uint64_t unknown = unknown_read_only_features(header);
  if (unknown == 0) return {};
  return fail(Code::unsupported,
              fmt::format("directory: read-only features {:#x} are unknown: the pool can be read, "
                          "and not changed; use a newer strata for that",
                          unknown));
}

Result<bool> any_directory(Os& os, int fd, std::uint64_t file_bytes,
                           const std::function<bool(std::uint64_t at)>& is_meant) {
  const auto magic = std::as_bytes(std::span(kDirectoryMagic));
  std::vector<std::byte> piece(MiB(1));
  STRATA_ASSIGN(const auto data, os.data_extents(fd, {kObjHeaderBytes, file_bytes}));
  for (const FileRange& range : data) {
    // Objects begin at a multiple of 16, so that no magic lies across two pieces.
    for (std::uint64_t at = range.begin; at < range.end; at += piece.size()) {
      STRATA_ASSIGN(const std::size_t got, os.pread(fd, piece, at));
      const auto end = piece.begin() + static_cast<std::ptrdiff_t>(got);
      for (auto from = piece.begin(); from != end; ++from) {
        from = std::search(from, end, magic.begin(), magic.end());
        if (from == end) break;
        if (is_meant(at + static_cast<std::uint64_t>(from - piece.begin()))) return true;
      }
    }
  }
  return false;
}

Result<void> require_known(const PoolFile& file) {
  const auto judge = [&](const DirectoryHeader& header) -> Result<void> {
    Result<void> usable = check_header(header);
    if (usable) usable = check_changeable(header);
    if (usable || usable.error().code() != Code::unsupported) return {};
    return unexpected(usable.error().in(file.path));
  };
  if (const auto header = header_at_root(file)) return judge(*header);
  // What leads to it is damaged: the first that is sound. It lies before every segment, in whose
  // bytes another pool may stand.
  std::optional<DirectoryHeader> found;
  STRATA_TRY(any_directory(*file.os, file.fd.get(), file.file_bytes, [&](std::uint64_t at) {
    found = read_header(*file.os, file.fd.get(), at);
    const bool is_sound =
        found && (has_right_crc(*found) || found->byte_order_mark == reversed(kByteOrderMark));
    if (!is_sound) found.reset();
    return is_sound;
  }));
  return found ? judge(*found) : Result<void>();
}

}  // namespace strata::inline v0_1
