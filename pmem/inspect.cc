#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "pmem/check.h"

namespace strata {
namespace {

constexpr std::size_t kPoolSetUuidAt = 48;  // in pool_hdr: poolset_uuid

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

void describe_segment(const PoolFile& file, const PoolEntry& each, PoolSegmentInfo& info) {
  const DirectoryEntry& entry = each.entry;
  info.name = std::string(padded_text(entry.name));
  info.slot = each.slot;
  info.version = entry.version;
  info.state = entry.state <= static_cast<std::uint32_t>(EntryState::retired)
                   ? static_cast<EntryState>(entry.state)
                   : EntryState::free;
  info.problem = each.problem;
  if (!info.problem.empty()) return;
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
  alignas(HeaderPage) std::array<std::byte, kHeaderBytes> bytes{};
  const auto got = file.os->pread(file.fd.get(), bytes, entry.header_offset_bytes);
  if (!got) {
    info.problem = got.error().message();
    return;
  }
  const auto identity = read_identity_block(std::span(bytes).first(*got));
  if (!identity) {
    info.problem = identity.error().message();
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
  info.segment_state = static_cast<SegmentState>(state);
  info.payload_bytes = payload;
}

}  // namespace

Result<PoolInfo> inspect(Os& os, const std::string& path) {
  PoolInfo info;
  info.path = path;
  STRATA_ASSIGN(const Fd fd, os.open(path, O_RDONLY));
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
  if (info.kind == "none" || info.kind == "pool set" || got < head.size()) {
    if (info.kind != "none" && info.kind != "pool set") info.problem = "the file is truncated";
    return info;
  }
  info.pmdk_version = load<std::uint32_t>(head, kObjMajorAt);
  std::array<std::uint8_t, 16> uuid{};
  std::memcpy(uuid.data(), head.data() + kPoolSetUuidAt, uuid.size());
  info.pmdk_uuid = uuid_text(uuid);
  if (info.kind != "libpmemobj") return info;
  const char* layout = reinterpret_cast<const char*>(head.data() + kObjLayoutAt);
  info.layout = std::string(layout, strnlen(layout, 1024));
  info.heap_offset_bytes = load<std::uint64_t>(head, kObjHeapOffsetAt);
  if (info.layout != kPoolLayoutName) return info;
  info.kind = "strata";
  auto file = PoolFile::open(os, path, Access::read_only);
  if (!file) {
    info.problem = file.error().message();
    return info;
  }
  info.directory_offset_bytes = file->directory_offset_bytes;
  info.is_in_change = file->is_changing().value_or(false);
  const Pool pool = Pool::at(os, path);
  const auto copy = pool.directory_as_it_is(Deadline::after_ms(1000));
  if (!copy) {
    info.problem = copy.error().message();
    return info;
  }
  info.version_major = copy->head.header.version_major;
  info.version_minor = copy->head.header.version_minor;
  info.uuid = uuid_text(copy->head.header.pool_uuid);
  info.slots = copy->head.header.slot_count;
  info.used_slots = copy->head.state.used_slots;
  info.changes = copy->head.state.changes;
  info.directory_bytes = directory_bytes(info.slots);
  for (const PoolEntry& each : entries_of(*copy))
    describe_segment(*file, each, info.segments.emplace_back());
  return info;
}

}  // namespace strata
