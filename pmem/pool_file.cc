#include "pmem/pool_file.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/crc32c.h"
#include "pmem/directory_header.h"
#include "pmem/file_blocks.h"
#include "strata/base/bytes.h"
#include "strata/segment/header.h"
#include "strata/segment/uri.h"

namespace strata::inline v0_1 {
namespace {

template <typename T>
std::span<const std::byte> bytes_before(const T& object, std::size_t end) {
  return std::as_bytes(std::span(&object, 1)).first(end);
}

std::uint64_t load_u64(std::span<const std::byte> bytes, std::size_t at) {
  std::uint64_t value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

Result<void> read_exactly(const PoolFile& file, std::span<std::byte> into, std::uint64_t at) {
  STRATA_ASSIGN(const std::size_t got, file.os->pread(file.fd.get(), into, at));
  if (got == into.size()) return {};
  return fail(Code::corrupt, fmt::format("{}: {} bytes at {} are missing: the file is truncated",
                                         file.path, into.size() - got, at + got));
}

Result<void> check_state(const DirectoryState& state) {
  if (crc32c(bytes_before(state, offsetof(DirectoryState, crc32c))) == state.crc32c) return {};
  return fail(Code::corrupt, "directory: the crc of its state is wrong");
}

// Whoever is about to write has to know all that the pool's makers wanted writers to know.
Result<void> require_changeable(const PoolFile& file) {
  DirectoryHeader header{};
  STRATA_TRY(read_exactly(file, std::as_writable_bytes(std::span(&header, 1)),
                          file.directory_offset_bytes));
  Result<void> usable = check_header(header);
  if (usable) usable = check_changeable(header);
  if (!usable) return unexpected(usable.error().in(file.path));
  return {};
}

Unexpected being_changed(const std::string& path) {
  return fail(Code::not_ready, path + ": its directory is being changed");
}

// What the first 8 KiB must say. Returns the root object's offset.
Result<std::uint64_t> check_obj_header(std::span<const std::byte> head, std::uint64_t file_bytes,
                                       const std::string& path) {
  if (std::memcmp(head.data(), "PMEMPOOLSET", 11) == 0) {
    return fail(Code::unsupported, path + ": is a pool set; Strata pools are single files");
  }
  if (std::memcmp(head.data(), kObjSignature.data(), kObjSignature.size()) != 0) {
    const bool is_pmdk = std::memcmp(head.data(), "PMEM", 4) == 0;
    return fail(is_pmdk ? Code::unsupported : Code::invalid_argument,
                path + (is_pmdk ? ": is a PMDK pool, but not of libpmemobj" : ": is not a pool"));
  }
  std::uint32_t major = 0;
  std::memcpy(&major, head.data() + kObjMajorAt, sizeof major);
  if (major != kObjMajorVersion) {
    return fail(Code::unsupported, fmt::format("{}: is a libpmemobj pool of version {}, needs {}",
                                               path, major, kObjMajorVersion));
  }
  const char* layout = reinterpret_cast<const char*>(head.data() + kObjLayoutAt);
  const std::string_view layout_name(layout, strnlen(layout, 1024));
  if (layout_name != kPoolLayoutName) {
    return fail(Code::unsupported, fmt::format("{}: is a libpmemobj pool of layout \"{}\", not "
                                               "\"{}\"",
                                               path, layout_name.substr(0, 64), kPoolLayoutName));
  }
  const std::uint64_t root = load_u64(head, kObjRootOffsetAt);
  if (root == 0) return fail(Code::corrupt, path + ": has no root object");
  if (root % 8 != 0 || root < kObjHeaderBytes || root > file_bytes ||
      file_bytes - root < sizeof(DirectoryHead)) {
    return fail(Code::corrupt, fmt::format("{}: root object at {} is not within its {} bytes", path,
                                           root, file_bytes));
  }
  return root;
}

}  // namespace

std::uint32_t hash_name(std::string_view name) {
  const std::uint32_t hash = crc32c(std::as_bytes(std::span(name.data(), name.size())));
  return hash == 0 ? 1 : hash;
}

std::string_view entry_state_name(EntryState state) {
  switch (state) {
    case EntryState::free: return "free";
    case EntryState::current: return "current";
    case EntryState::previous: return "previous";
    case EntryState::staged: return "staged";
    case EntryState::retired: return "retired";
  }
  return "unknown";
}

Result<void> check_head(const DirectoryHead& head) {
  STRATA_TRY(check_header(head.header));
  return check_state(head.state);
}

Result<void> check_entry(const DirectoryEntry& entry, std::uint64_t file_bytes) {
  const auto refuse = [](std::string why) {
    return fail(Code::corrupt, "directory entry: " + std::move(why));
  };
  if (entry.state > static_cast<std::uint32_t>(EntryState::retired)) return refuse("unknown state");
  if (entry.state == static_cast<std::uint32_t>(EntryState::free)) return {};
  if (!check_name(padded_text(entry.name))) return refuse("its name breaks the rules");
  if (entry.object_offset_bytes > file_bytes ||
      entry.object_bytes > file_bytes - entry.object_offset_bytes) {
    return refuse(fmt::format("{} bytes at {} are not within the file's {}", entry.object_bytes,
                              entry.object_offset_bytes, file_bytes));
  }
  const std::uint64_t end = entry.object_offset_bytes + entry.object_bytes;
  if (entry.header_offset_bytes % kPageBytes != 0 ||
      entry.header_offset_bytes < entry.object_offset_bytes || entry.header_offset_bytes > end ||
      entry.payload_offset_bytes < kHeaderBytes ||
      end - entry.header_offset_bytes < entry.payload_offset_bytes ||
      entry.max_bytes > end - entry.header_offset_bytes - entry.payload_offset_bytes) {
    return refuse("header page or payload are outside of the object");
  }
  if (entry.payload_bytes > entry.max_bytes) return refuse("payload larger than its room");
  if (entry.checksums_offset_bytes == 0) return {};
  const std::uint64_t block = entry.checksum_block_bytes;
  if (block < kPageBytes || (block & (block - 1)) != 0 ||
      entry.checksum_count != (entry.payload_bytes + block - 1) / block ||
      entry.checksums_offset_bytes % 8 != 0 ||
      entry.checksums_offset_bytes <
          entry.header_offset_bytes + entry.payload_offset_bytes + entry.max_bytes ||
      entry.checksums_offset_bytes > end ||
      entry.checksum_count > (end - entry.checksums_offset_bytes) / 8) {
    return refuse("its table of checksums is not where it can be");
  }
  return {};
}

Result<PoolFile> PoolFile::open(Os& os, const std::string& path, Access access) {
  PoolFile file;
  file.os = &os;
  file.path = path;
  // The path may have come from another process: a FIFO there must not make the open itself wait.
  const int flags = (access == Access::read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_NOCTTY;
  STRATA_ASSIGN(file.fd, os.open(path, flags));
  STRATA_ASSIGN(const auto facts, os.fstat(file.fd.get()));
  if (!S_ISREG(facts.st_mode)) return fail(Code::invalid_argument, path + ": is not a file");
  file.file_bytes = static_cast<std::uint64_t>(facts.st_size);
  std::array<std::byte, kObjHeaderBytes> head{};
  STRATA_ASSIGN(const std::size_t got, os.pread(file.fd.get(), head, 0));
  if (got < head.size()) {
    const bool starts_as_pool =
        got >= kObjSignature.size() &&
        std::memcmp(head.data(), kObjSignature.data(), kObjSignature.size()) == 0;
    return fail(starts_as_pool ? Code::corrupt : Code::invalid_argument,
                fmt::format("{}: {} bytes are {}", path, got,
                            starts_as_pool ? "all that is left of a pool" : "no pool"));
  }
  STRATA_ASSIGN(file.directory_offset_bytes, check_obj_header(head, file.file_bytes, path));
  if (access == Access::read_write) {
    STRATA_TRY(require_changeable(file));
    STRATA_TRY(fill_holes(os, file.fd.get(), facts, path));
  }
  return file;
}

Result<DirectoryHead> PoolFile::read_head() const {
  DirectoryHead head;
  STRATA_TRY(
      read_exactly(*this, std::as_writable_bytes(std::span(&head, 1)), directory_offset_bytes));
  // It never changes: whom it keeps out need not wait for those who change the rest.
  if (auto sound = check_header(head.header); !sound) return unexpected(sound.error().in(path));
  if (head.sequence.value % 2 != 0) return being_changed(path);
  if (auto sound = check_state(head.state); !sound) return unexpected(sound.error().in(path));
  if (file_bytes - directory_offset_bytes < directory_bytes(head.header.slot_count)) {
    return fail(Code::corrupt, path + ": its directory goes beyond the end of the file");
  }
  return head;
}

Result<bool> PoolFile::is_changing() const {
  std::uint64_t now = 0;
  STRATA_TRY(read_exactly(*this, std::as_writable_bytes(std::span(&now, 1)),
                          directory_offset_bytes + offsetof(DirectoryHead, sequence)));
  return now % 2 != 0;
}

Result<bool> PoolFile::is_still(std::uint64_t sequence) const {
  std::atomic_thread_fence(std::memory_order_acquire);
  std::uint64_t now = 0;
  STRATA_TRY(read_exactly(*this, std::as_writable_bytes(std::span(&now, 1)),
                          directory_offset_bytes + offsetof(DirectoryHead, sequence)));
  return now == sequence;
}

Result<bool> PoolFile::has_its_name() const {
  STRATA_ASSIGN(const auto opened, os->fstat(fd.get()));
  const auto named = os->stat(path);
  if (!named && named.error().code() == Code::not_found) return false;
  if (!named) return unexpected(named.error());
  return named->st_dev == opened.st_dev && named->st_ino == opened.st_ino;
}

namespace {

Result<std::vector<IndexEntry>> read_index(const PoolFile& file, const DirectoryHead& head) {
  std::vector<IndexEntry> index(head.header.slot_count);
  STRATA_TRY(read_exactly(file, std::as_writable_bytes(std::span(index)),
                          file.directory_offset_bytes + head.header.index_offset_bytes));
  if (crc32c(std::as_bytes(std::span(index))) != head.state.index_crc32c) {
    return fail(Code::corrupt, file.path + ": the crc of its directory's index is wrong");
  }
  return index;
}

// Runs `read`; what it found wrong counts only if nothing has changed meanwhile.
template <typename Read>
auto read_unchanged(const PoolFile& file, Read read)
    -> decltype(read(std::declval<const DirectoryHead&>())) {
  STRATA_ASSIGN(const DirectoryHead head, file.read_head());
  auto outcome = read(head);
  STRATA_ASSIGN(const bool is_still, file.is_still(head.sequence.value));
  if (!is_still) return being_changed(file.path);
  return outcome;
}

}  // namespace

Result<FoundEntry> PoolFile::find(std::string_view name, std::uint64_t version) const {
  const auto is_meant = [&](const DirectoryEntry& entry) {
    const auto state = static_cast<EntryState>(entry.state);
    if (version == 0) return state == EntryState::current;
    return entry.version == version &&
           (state == EntryState::current || state == EntryState::previous);
  };
  return read_unchanged(*this, [&](const DirectoryHead& head) -> Result<FoundEntry> {
    STRATA_ASSIGN(const auto index, read_index(*this, head));
    const std::uint32_t hash = hash_name(name);
    for (std::uint32_t slot = 0; slot < index.size(); ++slot) {
      if (index[slot].name_hash != hash) continue;
      FoundEntry found{slot, head.sequence.value, {}};
      STRATA_TRY(read_exactly(*this, std::as_writable_bytes(std::span(&found.entry, 1)),
                              directory_offset_bytes + head.header.entries_offset_bytes +
                                  slot * sizeof(DirectoryEntry)));
      const auto where = [&] { return fmt::format("{}: slot {}", path, slot); };
      if (crc32c(std::as_bytes(std::span(&found.entry, 1))) != index[slot].entry_crc32c) {
        return fail(Code::corrupt, where() + ": the crc of its directory entry is wrong");
      }
      if (!is_meant(found.entry)) continue;
      if (auto sound = check_entry(found.entry, file_bytes); !sound) {
        return unexpected(sound.error().in(where()));
      }
      if (padded_text(found.entry.name) == name) return found;
    }
    return fail(Code::not_found,
                version == 0 ? fmt::format("{}: has no segment \"{}\"", path, name)
                             : fmt::format("{}: has no version {} of \"{}\"", path, version, name));
  });
}

Result<DirectoryCopy> PoolFile::read_all() const {
  return read_unchanged(*this, [&](const DirectoryHead& head) -> Result<DirectoryCopy> {
    DirectoryCopy copy;
    copy.head = head;
    STRATA_ASSIGN(copy.index, read_index(*this, head));
    copy.entries.resize(head.header.slot_count);
    copy.problems.resize(head.header.slot_count);
    STRATA_TRY(read_exactly(*this, std::as_writable_bytes(std::span(copy.entries)),
                            directory_offset_bytes + head.header.entries_offset_bytes));
    for (std::size_t slot = 0; slot < copy.entries.size(); ++slot) {
      const DirectoryEntry& entry = copy.entries[slot];
      if (crc32c(std::as_bytes(std::span(&entry, 1))) != copy.index[slot].entry_crc32c) {
        copy.problems[slot] = "the crc of its directory entry is wrong";
      } else if (auto sound = check_entry(entry, file_bytes); !sound) {
        copy.problems[slot] = sound.error().message();
      }
    }
    return copy;
  });
}

std::string_view incoherent_file_system(std::uint64_t magic) {
  switch (magic) {
    case 0x6969: return "NFS";
    case 0xFF534D42: return "CIFS";
    case 0xFE534D42: return "SMB";
    case 0x517B: return "SMB";
    case 0x00C36400: return "Ceph";
    case 0x01021997: return "9p";
    case 0x5346414F: return "AFS";
    case 0x65735546: return "FUSE";
    case 0x0BD00BD0: return "Lustre";
    case 0x47504653: return "GPFS";
    default: return {};
  }
}

Result<void> own_segment_blocks(const PoolFile& file, const DirectoryEntry& entry) {
  const std::uint64_t payload_at = entry.header_offset_bytes + entry.payload_offset_bytes;
  const FileRange segment{entry.header_offset_bytes, payload_at + entry.max_bytes};
  return unshare_blocks(*file.os, file.fd.get(), segment, {}, file.path);
}

std::vector<FileRange> payload_ranges(std::span<const DirectoryEntry> entries,
                                      std::uint64_t file_bytes) {
  std::vector<FileRange> ranges;
  for (const DirectoryEntry& entry : entries) {
    if (has_state(entry, EntryState::free) || !check_entry(entry, file_bytes)) continue;
    const std::uint64_t begin = entry.header_offset_bytes + entry.payload_offset_bytes;
    ranges.push_back({begin, begin + align_up(entry.max_bytes, kPageBytes)});
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const FileRange& a, const FileRange& b) { return a.begin < b.begin; });
  return ranges;
}

}  // namespace strata::inline v0_1
