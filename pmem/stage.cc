// Pool's new versions: staged, filled without the pool's lock, published together.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/crc32c.h"
#include "pmem/directory_change.h"
#include "pmem/pool_access.h"
#include "pmem/pool_internal.h"
#include "segment/new_identity.h"
#include "strata/base/step.h"
#include "strata/pmem/pool.h"
#include "strata/segment/content_hash.h"
#include "strata/segment/uri.h"

namespace strata::inline v0_1 {

StagedSegment::StagedSegment() : parts_(std::make_unique<StagedParts>()) {}
StagedSegment::StagedSegment(StagedSegment&&) noexcept = default;
StagedSegment& StagedSegment::operator=(StagedSegment&&) noexcept = default;
StagedSegment::~StagedSegment() = default;

HeaderPage& StagedSegment::header() const {
  return *reinterpret_cast<HeaderPage*>(parts_->domain->bytes().data());
}

Durability& StagedSegment::durability() const { return *parts_->domain; }
const std::string& StagedSegment::name() const { return parts_->name; }
std::uint64_t StagedSegment::checksum_block_bytes() const {
  return parts_->entry.checksum_block_bytes;
}
std::uint32_t StagedSegment::slot() const { return parts_->slot; }
std::uint64_t StagedSegment::version() const { return parts_->entry.version; }
bool StagedSegment::is_recycled() const { return parts_->is_recycled; }
void StagedSegment::set_payload_durable() { parts_->is_payload_durable = true; }

std::span<std::byte> StagedSegment::payload() const {
  return parts_->domain->bytes().subspan(parts_->entry.payload_offset_bytes,
                                         parts_->entry.payload_bytes);
}

std::span<std::uint64_t> StagedSegment::checksums() const {
  if (parts_->entry.checksums_offset_bytes == 0) return {};
  std::byte* const table = parts_->domain->bytes().data() + (parts_->entry.checksums_offset_bytes -
                                                             parts_->entry.header_offset_bytes);
  return {reinterpret_cast<std::uint64_t*>(table), parts_->entry.checksum_count};
}

Result<void> StagedSegment::store(std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
  if (parts_->domain->granularity() == Granularity::page) {
    const std::uint64_t payload_at =
        parts_->entry.header_offset_bytes + parts_->entry.payload_offset_bytes;
    STRATA_TRY(parts_->file.os->pwrite(parts_->file.fd.get(), bytes, payload_at + offset_bytes));
    return {};
  }
  const auto place = payload().subspan(offset_bytes, bytes.size());
  STRATA_TRY(parts_->domain->fault_in(place));
  parts_->domain->copy(place.data(), bytes.data(), bytes.size());
  return {};
}

void StagedSegment::start_writeback(std::uint64_t offset_bytes, std::uint64_t bytes) {
  const std::uint64_t begin =
      parts_->entry.header_offset_bytes + parts_->entry.payload_offset_bytes + offset_bytes;
  (void)parts_->file.os->start_writeback(parts_->file.fd.get(), {begin, begin + bytes});
}

Result<void> StagedSegment::seal() {
  STRATA_TRY(parts_->domain->fault_in(payload()));
  header().seal = make_seal_block(parts_->entry.payload_bytes, content_hash(payload()));
  parts_->state = SegmentState::sealed;
  return {};
}

Result<void> StagedSegment::take_over(const HeaderPage& from, std::uint32_t keep_versions) {
  if (must_attach_read_only(from.identity)) {
    return fail(Code::unsupported,
                fmt::format("{}: header: read-only feature bits {:#x} unknown; use a newer strata",
                            parts_->name, from.identity.features_read_only));
  }
  IdentityBlock& identity = header().identity;
  identity.uuid = from.identity.uuid;
  identity.lifetime = from.identity.lifetime;
  identity.job_id = from.identity.job_id;
  identity.creator_pid = from.identity.creator_pid;
  identity.creator_uid = from.identity.creator_uid;
  identity.creator_start_time_ticks = from.identity.creator_start_time_ticks;
  identity.creator_pid_namespace = from.identity.creator_pid_namespace;
  identity.boot_id = from.identity.boot_id;
  identity.created_unix_ns = from.identity.created_unix_ns;
  sign(identity);
  header().live.generation.value = from.live.generation.value.load() + 1;
  header().seal = from.seal;
  // Where it has grown the copy is made with all that it is by now. What nobody can read stays so.
  const auto content = read_content_block(from, from.identity, parts_->entry.payload_bytes);
  if (content) {
    STRATA_ASSIGN(header().content, make_content_block(*content));
  } else {
    header().content = from.content;
  }
  if (from.live.state.value.load() == static_cast<std::uint32_t>(SegmentState::sealed)) {
    parts_->state = SegmentState::sealed;
  }
  parts_->taken_uuid = identity.uuid;
  parts_->entry.lifetime = identity.lifetime;
  parts_->final_keep_versions = keep_versions;
  return {};
}

Result<StagedSegment> Pool::stage(const StageOptions& options) const {
  const auto context = [&](const Status& status) {
    return unexpected(status.in(fmt::format("stage {}#{}", path_, options.name)));
  };
  if (auto valid = check_name(options.name); !valid) return context(valid.error());
  if (options.checksum_block_bytes != 0 &&
      (options.checksum_block_bytes < kPageBytes ||
       (options.checksum_block_bytes & (options.checksum_block_bytes - 1)) != 0)) {
    return context(Status(Code::invalid_argument,
                          fmt::format("{} bytes a checksum: takes a power of two from 4096",
                                      options.checksum_block_bytes)));
  }
  auto identity = make_identity(*os_, SegmentKind::pmem, options.name,
                                {.payload_bytes = options.payload_bytes,
                                 .max_bytes = options.max_bytes,
                                 .placement = {},
                                 .lifetime = options.lifetime,
                                 .job_id = options.job_id,
                                 .content = options.content});
  if (!identity) return context(identity.error());
  StagedSegment staged;
  staged.parts_->name = options.name;
  staged.parts_->must_be_new = options.must_be_new;
  {
    auto change = DirectoryChange::begin(*os_, path_, options.deadline);
    if (!change) return context(change.error());
    // Not by its name before, which a larger pool, or a repaired one, may have taken since.
    auto file = (*change)->open_again();
    if (!file) return context(file.error());
    staged.parts_->file = std::move(*file);
    const auto filled = fill_staged(**change, *identity, options, staged);
    if (!filled) return context(filled.error());
    if (auto done = (*change)->commit(); !done) return context(done.error());
  }
  STRATA_STEP("stage: entry published");
  const DirectoryEntry& entry = staged.parts_->entry;
  std::uint64_t bytes = entry.payload_offset_bytes + entry.max_bytes;
  if (entry.checksums_offset_bytes != 0) {
    bytes = entry.checksums_offset_bytes - entry.header_offset_bytes + entry.checksum_count * 8;
  }
  auto domain = Domain::map(*os_, staged.parts_->file.fd.get(),
                            {.offset_bytes = entry.header_offset_bytes, .bytes = bytes});
  if (!domain) return context(domain.error());
  staged.parts_->domain = std::move(*domain);
  if (options.zeroed && !staged.parts_->is_recycled) {
    auto zeroed =
        zero_durably(*os_, staged.parts_->file.fd.get(), *staged.parts_->domain, staged.payload(),
                     entry.header_offset_bytes + entry.payload_offset_bytes);
    if (!zeroed) return context(zeroed.error());
  }
  return staged;
}

// The spare: the version beyond those that are kept, if its room fits and nobody looks at it.
Result<std::optional<std::uint32_t>> Pool::find_recyclable(const DirectoryChange& change,
                                                           const StageOptions& options) const {
  const std::vector<std::uint32_t> previous = previous_versions(change, options.name);
  if (!options.recycle || options.keep_versions == 0 || previous.size() <= options.keep_versions) {
    return std::nullopt;
  }
  const DirectoryEntry& oldest = change.entry(previous.back());
  const std::uint64_t max_bytes = std::max(options.max_bytes, options.payload_bytes);
  const bool has_same_shape = oldest.payload_bytes == options.payload_bytes &&
                              oldest.max_bytes == max_bytes &&
                              oldest.checksum_block_bytes == options.checksum_block_bytes &&
                              oldest.checksums_offset_bytes != 0;
  if (!has_same_shape) return std::nullopt;
  STRATA_ASSIGN(const bool is_used, change.is_in_use(previous.back()));
  if (is_used) return std::nullopt;
  return previous.back();
}

Result<void> Pool::fill_staged(DirectoryChange& change, IdentityBlock identity,
                               const StageOptions& options, StagedSegment& staged) const {
  STRATA_TRY(change.sweep());
  if (options.must_be_new) {
    STRATA_ASSIGN(const bool had_remains, free_name(change, options.name));
    if (had_remains) STRATA_TRY(change.commit_part());  // their room is the new one's too
  }
  STRATA_ASSIGN(const auto recyclable, find_recyclable(change, options));
  if (recyclable) {
    staged.parts_->slot = *recyclable;
  } else {
    STRATA_ASSIGN(staged.parts_->slot, change.find_free());
  }
  const LockRange range = staged.parts_->file.lock_range(staged.parts_->slot);
  STRATA_ASSIGN(const bool locked,
                os_->try_lock_byte(range.fd, range.base_bytes + kCreatorByte, LockKind::exclusive));
  if (!locked) return fail(Code::not_ready, "somebody still looks at the slot: try again");
  if (recyclable) STRATA_TRY(own_segment_blocks(staged.parts_->file, change.entry(*recyclable)));
  staged.parts_->leaves_spare = options.recycle && options.keep_versions != 0;
  DirectoryEntry& entry = staged.parts_->entry;
  if (recyclable) {
    entry = change.entry(*recyclable);
    staged.parts_->is_recycled = true;
  } else {
    const std::uint64_t block = options.checksum_block_bytes;
    entry.checksum_block_bytes = options.checksum_block_bytes;
    entry.checksum_count = block ? (options.payload_bytes + block - 1) / block : 0;
    STRATA_ASSIGN(const Room room, change.allocate(identity.max_bytes, entry.checksum_count));
    entry.object_offset_bytes = room.object_offset_bytes;
    entry.object_bytes = room.object_bytes;
    entry.header_offset_bytes = room.header_offset_bytes;
    entry.payload_offset_bytes = room.payload_offset_bytes;
    entry.checksums_offset_bytes = room.checksums_offset_bytes;
    entry.payload_bytes = options.payload_bytes;
    entry.max_bytes = identity.max_bytes;
    std::copy(options.name.begin(), options.name.end(), entry.name.begin());
  }
  entry.state = static_cast<std::uint32_t>(EntryState::staged);
  entry.flags = options.checksum_block_bytes ? kEntryImmutable : 0;
  entry.uuid = identity.uuid;
  entry.keep_versions = options.keep_versions;
  entry.lifetime = identity.lifetime;
  entry.version = options.version;
  identity.payload_offset_bytes = entry.payload_offset_bytes;
  sign(identity);
  const auto page = make_header_page(identity, SegmentState::initialising, options.content);
  std::byte* const header = change.objects().at(entry.header_offset_bytes);
  // If the change is undone, the old version must have its header page back.
  STRATA_TRY(change.objects().snapshot(header, page.size()));
  std::memcpy(header, page.data(), page.size());
  return change.put(staged.parts_->slot, entry);
}

Result<void> Pool::publish_one(StagedSegment staged, Deadline deadline) const {
  return publish(std::span(&staged, 1), deadline);
}

namespace {

// One more than any version of `name` that is there. After a rollback the current version is not
// the newest one.
std::uint64_t next_version(const DirectoryChange& change, const std::string& name) {
  std::uint64_t newest = 0;
  for (const std::uint32_t slot : previous_versions(change, name))
    newest = std::max(newest, change.entry(slot).version);
  if (const auto current = change.find_current(name))
    newest = std::max(newest, change.entry(*current).version);
  return newest + 1;
}

Result<void> check_names_differ(std::span<const StagedSegment> staged) {
  std::set<std::string_view> names;
  for (const StagedSegment& each : staged) {
    if (names.insert(each.name()).second) continue;
    return fail(Code::invalid_argument,
                each.name() + ": staged twice, and a name has one version of a number");
  }
  return {};
}

}  // namespace

// What the directory names must be whole.
Result<void> Pool::make_durable(StagedSegment& staged) const {
  StagedParts& parts = *staged.parts_;
  const std::span<std::byte> all = parts.domain->bytes();
  // What the payload may grow into holds nothing yet.
  const std::uint64_t begun = parts.is_payload_durable
                                  ? kHeaderBytes
                                  : parts.entry.payload_offset_bytes + parts.entry.payload_bytes;
  parts.domain->flush(all.data(), begun);
  parts.domain->flush(staged.checksums().data(), staged.checksums().size_bytes());
  STRATA_TRY(parts.domain->drain());
  staged.header().live.state.value.store(static_cast<std::uint32_t>(parts.state),
                                         std::memory_order_release);
  STRATA_TRY(parts.domain->persist(all.data(), kHeaderBytes));
  parts.entry.checksums_crc32c = crc32c(std::as_bytes(staged.checksums()));
  return {};
}

Result<void> Pool::publish_all(std::span<StagedSegment> staged, bool as_one,
                               Deadline deadline) const {
  for (StagedSegment& each : staged)
    STRATA_TRY(make_durable(each));
  STRATA_STEP("publish: all versions durable");
  STRATA_ASSIGN(const auto change, DirectoryChange::begin(*os_, path_, deadline));
  if (as_one) {
    std::uint64_t version = 1;
    for (const StagedSegment& each : staged)
      version =
          std::max({version, each.parts_->entry.version, next_version(*change, each.parts_->name)});
    for (StagedSegment& each : staged)
      each.parts_->entry.version = version;
  }
  for (StagedSegment& each : staged)
    STRATA_TRY(publish_in(*change, each));
  STRATA_TRY(change->commit());
  for (StagedSegment& each : staged) {
    // Attached no more: from now on it is a segment like any other.
    const LockRange range = each.parts_->file.lock_range(each.parts_->slot);
    (void)os_->unlock_byte(range.fd, range.base_bytes + kCreatorByte);
  }
  return {};
}

Result<void> Pool::publish(std::span<StagedSegment> staged, Deadline deadline) const {
  Result<void> done = publish_all(staged, false, deadline);
  if (done) return done;
  return unexpected(
      done.error().in(fmt::format("publish {} segments in {}", staged.size(), path_)));
}

Result<std::uint64_t> Pool::publish_as_one(std::span<StagedSegment> staged,
                                           Deadline deadline) const {
  Result<void> done = check_names_differ(staged);
  if (done) done = publish_all(staged, true, deadline);
  if (!done) {
    return unexpected(
        done.error().in(fmt::format("publish {} segments in {}", staged.size(), path_)));
  }
  return staged.empty() ? 0 : staged.front().version();
}

Result<void> Pool::publish_in(DirectoryChange& change, StagedSegment& staged) const {
  const DirectoryEntry& now = change.entry(staged.parts_->slot);
  if (!has_state(now, EntryState::staged) || now.uuid != staged.parts_->entry.uuid) {
    return fail(Code::failed_precondition, fmt::format("{}: what was staged is gone from slot {}",
                                                       staged.parts_->name, staged.parts_->slot));
  }
  DirectoryEntry entry = staged.parts_->entry;
  entry.state = static_cast<std::uint32_t>(EntryState::current);
  entry.published_unix_ns = unix_ns();
  entry.version = std::max(entry.version, next_version(change, staged.parts_->name));
  if (staged.parts_->must_be_new) STRATA_TRY(free_name(change, staged.parts_->name));
  if (const auto old_slot = change.find_current(staged.parts_->name)) {
    STRATA_ASSIGN(const bool has_writers, is_attached(change, *old_slot, kWriterByte, 1));
    if (has_writers && staged.parts_->guarded_slot != old_slot) {
      return fail(Code::failed_precondition,
                  fmt::format("{} is attached for writing by {}", staged.parts_->name,
                              describe(find_holders(*os_, change.file().lock_range(*old_slot)))));
    }
    DirectoryEntry old = change.entry(*old_slot);
    old.state = static_cast<std::uint32_t>(EntryState::previous);
    STRATA_TRY(change.put(*old_slot, old));
  }
  const std::uint32_t keep = entry.keep_versions;
  entry.keep_versions = staged.parts_->final_keep_versions.value_or(keep);
  entry.uuid = staged.parts_->taken_uuid.value_or(entry.uuid);
  STRATA_TRY(change.put(staged.parts_->slot, entry));
  STRATA_TRY(
      trim_versions(change, staged.parts_->name, staged.parts_->leaves_spare ? keep + 1 : keep));
  staged.parts_->entry = entry;
  return {};
}

Result<void> Pool::resize(const std::string& name, std::uint64_t new_payload_bytes,
                          Deadline deadline) const {
  const auto context = [&](const Status& status) {
    return unexpected(
        status.in(fmt::format("resize {}#{} to {}", path_, name, format_bytes(new_payload_bytes))));
  };
  auto old = locate(name, 0, Access::read_only, deadline);
  if (!old) return context(old.error());
  const DirectoryEntry& entry = old->found.entry;
  if (entry.flags & kEntryImmutable) {
    return context(Status(Code::failed_precondition, "it is a checkpoint, which never changes"));
  }
  // Keeps writers out until the copy has taken its place: an exclusive lock needs a writable fd.
  auto guard = PoolFile::open(*os_, path_, Access::read_write);
  if (!guard) return context(guard.error());
  const LockRange range = guard->lock_range(old->found.slot);
  const auto alone =
      os_->try_lock_byte(range.fd, range.base_bytes + kWriterByte, LockKind::exclusive);
  if (!alone) return context(alone.error());
  if (!*alone) {
    return context(Status(Code::failed_precondition,
                          "attached for writing by " + describe(find_holders(*os_, range))));
  }
  const auto is_done = grow_in_place(*old, new_payload_bytes, deadline);
  if (!is_done) return context(is_done.error());
  if (*is_done) return {};
  auto source = Domain::map(*os_, old->file.fd.get(),
                            {.offset_bytes = entry.header_offset_bytes,
                             .bytes = entry.payload_offset_bytes + entry.max_bytes,
                             .access = Access::read_only});
  if (!source) return context(source.error());
  const auto* page = reinterpret_cast<const HeaderPage*>((*source)->bytes().data());
  const auto content = [&]() -> Result<Content> {
    STRATA_ASSIGN(const IdentityBlock identity,
                  read_identity_block(std::as_bytes(std::span(page, 1))));
    return read_content_block(*page, identity, new_payload_bytes);
  }();
  if (!content) return context(content.error());
  const std::uint64_t old_bytes =
      std::min(page->live.payload_bytes.value.load(std::memory_order_acquire), entry.max_bytes);
  auto staged = stage({.name = name,
                       .payload_bytes = new_payload_bytes,
                       .keep_versions = entry.keep_versions,
                       .content = *content,
                       .deadline = deadline});
  if (!staged) return context(staged.error());
  std::memcpy(staged->payload().data(), (*source)->bytes().data() + entry.payload_offset_bytes,
              std::min(old_bytes, new_payload_bytes));
  // Locks within the copied bytes belong to the generation before.
  staged->header().live.generation.value = page->live.generation.value + 1;
  staged->parts_->guarded_slot = old->found.slot;
  if (auto done = publish(std::span(&*staged, 1), deadline); !done) return context(done.error());
  return {};
}

// Returns whether the object has the room. The caller keeps writers out.
Result<bool> Pool::grow_in_place(const LocatedSegment& old, std::uint64_t new_payload_bytes,
                                 Deadline) const {
  const DirectoryEntry& entry = old.found.entry;
  if (new_payload_bytes > entry.max_bytes) return false;
  STRATA_ASSIGN(const PoolFile file, PoolFile::open(*os_, path_, Access::read_write));
  STRATA_TRY(own_segment_blocks(file, entry));
  STRATA_ASSIGN(const auto domain,
                Domain::map(*os_, file.fd.get(),
                            {.offset_bytes = entry.header_offset_bytes,
                             .bytes = entry.payload_offset_bytes + entry.max_bytes}));
  auto* page = reinterpret_cast<HeaderPage*>(domain->bytes().data());
  const std::uint64_t now = page->live.payload_bytes.value.load(std::memory_order_acquire);
  if (new_payload_bytes < now) return false;
  STRATA_TRY(zero_durably(
      *os_, file.fd.get(), *domain,
      domain->bytes().subspan(entry.payload_offset_bytes + now, new_payload_bytes - now),
      entry.header_offset_bytes + entry.payload_offset_bytes + now));
  // Size last: whoever sees it may touch every byte below it.
  page->live.payload_bytes.value.store(new_payload_bytes, std::memory_order_release);
  STRATA_TRY(domain->persist(&page->live.payload_bytes, sizeof page->live.payload_bytes));
  return true;
}

}  // namespace strata::inline v0_1
