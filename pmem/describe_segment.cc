#include "pmem/describe_segment.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "pmem/directory_header.h"
#include "pmem/pool_access.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::size_t kPoolSetUuidAt = 48;  // in pool_hdr: poolset_uuid
constexpr std::uint64_t kWaitMs = 1000;     // for a directory to stand still
constexpr std::uint64_t kRetryNs = 500'000;

template <typename T>
T load(std::span<const std::byte> bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::string kind_of(std::span<const std::byte> head) {
  const auto starts_with = [&](std::string_view text) {
    return head.size() >= text.size() && std::memcmp(head.data(), text.data(), text.size()) == 0;
  };
  if (starts_with("PMEMPOOLSET")) return "pool set";
  if (starts_with(std::string_view("PMEMOBJ\0", 8))) return "libpmemobj";
  if (starts_with(std::string_view("PMEMBLK\0", 8))) return "libpmemblk";
  if (starts_with(std::string_view("PMEMLOG\0", 8))) return "libpmemlog";
  return "none";
}

// What its own header page says.
void describe_header(const PoolFile& file, const DirectoryEntry& entry, PoolSegmentInfo& info) {
  alignas(HeaderPage) std::array<std::byte, kHeaderBytes> bytes{};
  const auto got = file.os->pread(file.fd.get(), bytes, entry.header_offset_bytes);
  if (!got) {
    info.problem = got.error().message();
    info.problem_code = got.error().code();
    return;
  }
  const auto identity = read_identity_block(std::span(bytes).first(*got));
  if (!identity) {
    info.problem = identity.error().message();
    info.problem_code = identity.error().code();
    return;
  }
  if (identity->uuid != entry.uuid) {
    info.problem = "its header page is of another segment";
    return;
  }
  const auto* page = reinterpret_cast<const HeaderPage*>(bytes.data());
  const std::uint32_t state = page->live.state.value.load(std::memory_order_relaxed);
  const std::uint64_t payload = page->live.payload_bytes.value.load(std::memory_order_relaxed);
  if (state > static_cast<std::uint32_t>(SegmentState::retired)) {
    info.problem = fmt::format("its header has the impossible state {}", state);
    return;
  }
  if (payload < identity->created_payload_bytes || payload > entry.max_bytes) {
    info.problem = fmt::format("its header has the impossible size {}", payload);
    return;
  }
  if (const auto content = read_content_block(*page, *identity, payload); !content) {
    info.problem = content.error().message();
    info.problem_code = content.error().code();
    return;
  }
  info.segment_state = static_cast<SegmentState>(state);
  info.payload_bytes = payload;
}

}  // namespace

PoolSegmentInfo describe_segment(const PoolFile& file, const PoolEntry& each) {
  const DirectoryEntry& entry = each.entry;
  PoolSegmentInfo info;
  info.name = std::string(padded_text(entry.name));
  info.slot = each.slot;
  info.version = entry.version;
  info.state = entry.state <= static_cast<std::uint32_t>(EntryState::retired)
                   ? static_cast<EntryState>(entry.state)
                   : EntryState::free;
  info.problem = each.problem;
  if (!info.problem.empty()) return info;
  info.is_immutable = (entry.flags & kEntryImmutable) != 0;
  info.object_offset_bytes = entry.object_offset_bytes;
  info.object_bytes = entry.object_bytes;
  info.header_offset_bytes = entry.header_offset_bytes;
  info.payload_offset_bytes = entry.header_offset_bytes + entry.payload_offset_bytes;
  info.payload_bytes = entry.payload_bytes;
  info.max_bytes = entry.max_bytes;
  info.checksum_block_bytes = entry.checksum_block_bytes;
  info.published_unix_ns = entry.published_unix_ns;
  info.uuid = uuid_text(entry.uuid);
  const LockRange range = file.lock_range(each.slot);
  const auto is_held = [&](std::uint64_t byte, std::uint64_t count) {
    return file.os->is_range_locked(range.fd, range.base_bytes + byte, count, LockKind::exclusive)
        .value_or(false);
  };
  info.is_attached = is_held(kReaderByte, 2);
  info.is_attached_for_writing = is_held(kWriterByte, 1);
  describe_header(file, entry, info);
  // The header of one that is not published yet, or not any more, is nobody's promise.
  if (info.state == EntryState::staged || info.state == EntryState::retired) info.problem.clear();
  return info;
}

namespace {

// The directory's magic where the root object is said to be: no other pool has it there.
bool has_directory(Os& os, int fd, std::span<const std::byte> head) {
  std::array<char, 8> magic{};
  const auto root = load<std::uint64_t>(head, kObjRootOffsetAt);
  return root <= INT64_MAX &&
         os.pread(fd, std::as_writable_bytes(std::span(magic)), root).value_or(0) == magic.size() &&
         magic == kDirectoryMagic;
}

// Whether there is a directory anywhere, which nothing leads to.
Result<bool> has_lost_directory(Os& os, int fd, std::uint64_t file_bytes) {
  return any_directory(os, fd, file_bytes, [](std::uint64_t) { return true; });
}

void note_damage(PoolInfo& info, const std::string& what) {
  info.problem += (info.problem.empty() ? "" : "; ") + what;
  info.problem_code = Code::corrupt;
}

void note_problem(PoolInfo& info, const Status& status) {
  // Whoever prints it says of which pool.
  const std::string prefix = info.path + ": ";
  std::string why = status.message();
  if (why.starts_with(prefix)) why.erase(0, prefix.size());
  if (!info.is_damaged()) info.problem_code = status.code();
  info.problem += (info.problem.empty() ? "" : "; ") + why;
}

// Which kind of pool it is, also where the bytes that say so are damaged.
Result<void> recognise(Os& os, int fd, std::span<const std::byte> head, PoolInfo& info) {
  const char* layout = reinterpret_cast<const char*>(head.data() + kObjLayoutAt);
  if (info.kind == "libpmemobj") info.layout = std::string(layout, strnlen(layout, 1024));
  const bool is_strata = info.layout == kPoolLayoutName;
  if (has_directory(os, fd, head)) {
    if (info.kind == "none") note_damage(info, "the signature of its pool header is damaged");
    if (info.kind == "libpmemobj" && !is_strata) {
      note_damage(info, "its layout's name is damaged");
    }
    if (info.kind == "none" || info.kind == "libpmemobj") info.kind = "strata";
    return {};
  }
  if (!is_strata) return {};
  if (load<std::uint64_t>(head, kObjRootOffsetAt) == 0) {
    STRATA_ASSIGN(const bool is_lost, has_lost_directory(os, fd, info.file_bytes));
    if (!is_lost) return {};
    note_damage(info, "what leads to its directory is damaged");
  }
  info.kind = "strata";
  return {};
}

void note_truncation(std::span<const std::byte> head, PoolInfo& info) {
  const std::uint64_t heap = load<std::uint64_t>(head, kObjHeapSizeAt);
  const std::uint64_t end = info.heap_offset_bytes + heap;
  if (heap == 0 || end < heap || end <= info.file_bytes) return;
  note_damage(info, fmt::format("the file is truncated: {} of its {} bytes are missing",
                                end - info.file_bytes, end));
}

// All versions; what their headers seem to say wrong counts only of a directory that stands still.
Result<DirectoryCopy> list_segments(const PoolFile& file, PoolInfo& info) {
  const Deadline deadline = Deadline::after_ms(kWaitMs);
  while (true) {
    auto copy = file.read_all();
    const bool may_wait = !deadline.expired();
    if (copy) {
      info.segments.clear();
      for (const PoolEntry& each : entries_of(*copy))
        info.segments.push_back(describe_segment(file, each));
      const bool is_fine = std::all_of(info.segments.begin(), info.segments.end(),
                                       [](const auto& each) { return each.problem.empty(); });
      if (is_fine || !may_wait) return copy;
      STRATA_ASSIGN(const bool is_still, file.is_still(copy->head.sequence.value));
      if (is_still) return copy;
    } else if (copy.error().code() != Code::not_ready || !may_wait) {
      return copy;
    }
    file.os->sleep_ns(kRetryNs);
  }
}

void describe_directory(const PoolFile& file, PoolInfo& info) {
  info.directory_offset_bytes = file.directory_offset_bytes;
  info.is_in_change = file.is_changing().value_or(false);
  const auto copy = list_segments(file, info);
  if (!copy) return note_problem(info, copy.error());
  info.version_major = copy->head.header.version_major;
  info.version_minor = copy->head.header.version_minor;
  info.uuid = uuid_text(copy->head.header.pool_uuid);
  info.slots = copy->head.header.slot_count;
  info.used_slots = copy->head.state.used_slots;
  info.changes = copy->head.state.changes;
  info.directory_bytes = directory_bytes(info.slots);
  info.unknown_read_only_features = unknown_read_only_features(copy->head.header);
}

}  // namespace

Result<PoolInfo> inspect(Os& os, const std::string& path) {
  PoolInfo info;
  info.path = path;
  // Not to wait for the other end of a pipe.
  STRATA_ASSIGN(const Fd fd, os.open(path, O_RDONLY | O_NONBLOCK));
  STRATA_ASSIGN(const auto facts, os.fstat(fd.get()));
  if (!S_ISREG(facts.st_mode)) return fail(Code::invalid_argument, path + ": is not a file");
  info.file_bytes = static_cast<std::uint64_t>(facts.st_size);
  STRATA_ASSIGN(const auto volume, os.fstatfs(fd.get()));
  const auto network = incoherent_file_system(static_cast<std::uint64_t>(volume.f_type));
  if (!network.empty()) {
    info.file_system_warning = fmt::format(
        "on {}: processes of several hosts would not see each other's changes", network);
  }
  std::array<std::byte, kObjHeaderBytes> head{};
  STRATA_ASSIGN(const std::size_t got, os.pread(fd.get(), head, 0));
  info.kind = kind_of(std::span(head).first(got));
  if (info.kind == "pool set") return info;
  if (got < head.size()) {
    if (info.kind != "none") {
      note_damage(info, fmt::format("the file is truncated: {} bytes are all that is left", got));
    }
    return info;
  }
  STRATA_TRY(recognise(os, fd.get(), head, info));
  if (info.kind == "none") return info;
  info.pmdk_version = load<std::uint32_t>(head, kObjMajorAt);
  std::array<std::uint8_t, 16> uuid{};
  std::memcpy(uuid.data(), head.data() + kPoolSetUuidAt, uuid.size());
  info.pmdk_uuid = uuid_text(uuid);
  if (info.kind != "libpmemobj" && info.kind != "strata") return info;
  info.heap_offset_bytes = load<std::uint64_t>(head, kObjHeapOffsetAt);
  note_truncation(head, info);
  if (info.kind != "strata") return info;
  const auto file = PoolFile::open(os, path, Access::read_only);
  if (file) {
    describe_directory(*file, info);
  } else if (!info.is_damaged()) {
    note_problem(info, file.error());
  }
  return info;
}

Result<void> require_strata_pool(const PoolInfo& info) {
  if (info.kind == "strata") return {};
  if (info.kind == "none") return fail(Code::unsupported, info.path + ": is no pool");
  if (info.kind != "libpmemobj") {
    return fail(Code::unsupported, fmt::format("{}: is a {}{}, not a Strata pool", info.path,
                                               info.kind, info.kind == "pool set" ? "" : " pool"));
  }
  if (info.layout == kPoolLayoutName) {
    return fail(Code::unsupported,
                fmt::format("{}: is an empty libpmemobj pool of layout \"{}\", which Strata has "
                            "put nothing into",
                            info.path, info.layout));
  }
  return fail(Code::unsupported,
              fmt::format("{}: is a libpmemobj pool of layout \"{}\", not a Strata pool", info.path,
                          info.layout));
}

}  // namespace strata::inline v0_1
