#include "pmem/pmem_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "pmem/directory_change.h"
#include "pmem/pool_access.h"
#include "pmem/pool_internal.h"
#include "segment/attachment.h"
#include "segment/new_identity.h"
#include "strata/base/step.h"
#include "strata/pmem/pool.h"

namespace strata::inline v0_1 {
namespace {

// Lock state never persists: with no other writer, whatever the locks inside say is of the past.
// The caller holds the change lock, which keeps other writers from attaching meanwhile.
Result<void> renew_generation(HeaderPlane& plane, Payload& payload) {
  LiveBlock& live = plane.page().live;
  live.generation.value.fetch_add(1, std::memory_order_acq_rel);
  return payload.durability().persist(&live.generation, sizeof live.generation);
}

}  // namespace

PmemBackend::PmemBackend(Os& os, PmemBackendOptions options)
    : os_(os), options_(std::move(options)), registry_(os, options_.registry_directory) {}

Pool PmemBackend::pool(const std::string& path) {
  remember(path);
  return Pool::at(os_, path);
}

const Capabilities& PmemBackend::capabilities() const {
  constexpr std::string_view kWhereFileIs = "a pool's memory is where its file is";
  static const Capabilities all =
      Capabilities()
          .without(Capability::device_bytes, "a file has no address on a device")
          .without(Capability::migrate, kWhereFileIs)
          .without(Capability::placement, kWhereFileIs)
          .without(Capability::huge_pages, "a pool's memory is a file")
          .without(Capability::anonymous, "what is in a pool has a name");
  return all;
}

Result<PmemBackend::Mapped> PmemBackend::map(const SegmentUri& uri, PoolFile file,
                                             const FoundEntry& found, Access access) {
  Mapped mapped;
  const HeaderPlace place{found.entry.header_offset_bytes, file.lock_range(found.slot).base_bytes};
  mapped.plane = std::make_unique<HeaderPlane>(os_, std::move(file.fd), access, place);
  STRATA_ASSIGN(mapped.payload,
                PmemPayload::map(*mapped.plane, found.entry, options_.worst_granularity));
  if (options_.wrap_durability && access == Access::read_write) {
    mapped.payload->set_durability(options_.wrap_durability(mapped.payload->domain(), uri.container,
                                                            found.entry.header_offset_bytes));
  }
  STRATA_ASSIGN(mapped.identity, mapped.plane->identify(uri));
  STRATA_TRY(check_match(mapped.identity, found.entry));
  return mapped;
}

Result<Segment> PmemBackend::attach_version(const SegmentUri& uri, std::uint64_t version,
                                            const AttachOptions& options) {
  auto attached = keep_world_in(attach_one(uri, version, options));
  if (!attached) return unexpected(attached.error().in("attach " + uri.to_string()));
  return attached;
}

Result<Segment> PmemBackend::attach_one(const SegmentUri& uri, std::uint64_t version,
                                        const AttachOptions& options) {
  const Deadline deadline = Deadline::after_ms(options.timeout_ms);
  const bool is_writer = options.access == Access::read_write;
  STRATA_ASSIGN(auto located,
                Pool::at(os_, uri.container).locate(uri.name, version, options.access, deadline));
  if (is_writer) STRATA_TRY(own_segment_blocks(located.file, located.found.entry));
  STRATA_ASSIGN(Mapped mapped, map(uri, std::move(located.file), located.found, options.access));
  if (is_writer) {
    if (located.is_first_writer) STRATA_TRY(renew_generation(*mapped.plane, *mapped.payload));
    const LockRange range = mapped.plane->lock_range();
    STRATA_TRY(os_.unlock_byte(range.fd, range.base_bytes + kChangeByte));
  }
  STRATA_TRY(mapped.plane->await_ready(mapped.identity, deadline));
  if (options.populate) {
    (void)os_.madvise(mapped.payload->host_bytes().value(), located.found.entry.payload_bytes,
                      is_writer ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
  }
  remember(uri.container);
  return Segment::adopt(parts_of(uri, std::move(mapped), Role::user));
}

AttachmentParts PmemBackend::parts_of(const SegmentUri& uri, Mapped mapped, Role role) {
  return {.uri = uri,
          .identity = mapped.identity,
          .plane = std::move(mapped.plane),
          .payload = std::move(mapped.payload),
          .on_detach = on_detach(uri, mapped.identity, role)};
}

std::function<void()> PmemBackend::on_detach(const SegmentUri& uri, const IdentityBlock& identity,
                                             Role role) {
  const auto lifetime = static_cast<Lifetime>(identity.lifetime);
  const bool ends_now =
      lifetime == Lifetime::last_detach || (lifetime == Lifetime::process && role == Role::creator);
  if (!ends_now) return {};
  return [this, uri, uuid = identity.uuid, lifetime, pid = os_.process_id()] {
    if (os_.process_id() != pid) return;  // a forked child, which shares its parent's lease
    // A destructor cannot fail; whoever is still attached keeps a last_detach segment alive.
    (void)Pool::at(os_, uri.container)
        .remove({.name = uri.name,
                 .even_if_attached = lifetime == Lifetime::process,
                 .uuid = uuid,
                 .deadline = Deadline::after_ms(options_.change_timeout_ms)});
  };
}

Result<FoundEntry> PmemBackend::reserve(const SegmentUri& uri, const IdentityBlock& wanted,
                                        const Content& content, PoolFile& file) {
  STRATA_ASSIGN(
      const auto change,
      DirectoryChange::begin(os_, uri.container, Deadline::after_ms(options_.change_timeout_ms)));
  // It is a pool, and what is put into it from now on must be found if this process is killed.
  remember(uri.container);
  STRATA_TRY(change->sweep());
  STRATA_ASSIGN(const bool had_remains, free_name(*change, uri.name));
  if (had_remains) STRATA_TRY(change->commit_part());  // their room is the new one's too
  STRATA_ASSIGN(file, change->open_again());
  FoundEntry found;
  STRATA_ASSIGN(found.slot, change->find_free());
  const LockRange range = file.lock_range(found.slot);
  STRATA_ASSIGN(const bool is_creator,
                os_.try_lock_byte(range.fd, range.base_bytes + kCreatorByte, LockKind::exclusive));
  STRATA_ASSIGN(const bool is_writer,
                os_.try_lock_byte(range.fd, range.base_bytes + kWriterByte, LockKind::shared));
  if (!is_creator || !is_writer) {
    return fail(Code::not_ready, "another process still looks at the slot: try again");
  }
  STRATA_ASSIGN(const Room room, change->allocate(wanted.max_bytes, 0));
  DirectoryEntry& entry = found.entry;
  entry.state = static_cast<std::uint32_t>(EntryState::current);
  entry.object_offset_bytes = room.object_offset_bytes;
  entry.object_bytes = room.object_bytes;
  entry.header_offset_bytes = room.header_offset_bytes;
  entry.payload_offset_bytes = room.payload_offset_bytes;
  entry.payload_bytes = wanted.created_payload_bytes;
  entry.max_bytes = wanted.max_bytes;
  entry.version = 1;
  entry.uuid = wanted.uuid;
  entry.published_unix_ns = unix_ns();
  entry.lifetime = wanted.lifetime;
  std::copy(uri.name.begin(), uri.name.end(), entry.name.begin());
  IdentityBlock identity = wanted;
  identity.payload_offset_bytes = room.payload_offset_bytes;
  sign(identity);
  // The header says `initialising` before the directory names it.
  const auto page = make_header_page(identity, SegmentState::initialising, content);
  std::byte* const header = change->objects().at(room.header_offset_bytes);
  std::memcpy(header, page.data(), page.size());
  change->objects().persist(header, page.size());
  STRATA_TRY(change->put(found.slot, entry));
  STRATA_TRY(change->commit());
  return found;
}

Result<Segment> PmemBackend::do_create(const SegmentUri& uri, const CreateOptions& options) {
  STRATA_ASSIGN(const IdentityBlock identity,
                make_identity(os_, SegmentKind::pmem, uri.name, options));
  PoolFile file;  // holds the creator's locks on the slot
  STRATA_ASSIGN(const FoundEntry found, reserve(uri, identity, options.content, file));
  STRATA_STEP("create: name reserved");
  const auto finish = [&]() -> Result<Segment> {
    STRATA_ASSIGN(Mapped mapped, map(uri, std::move(file), found, Access::read_write));
    STRATA_TRY(mapped.payload->extend(0, options.payload_bytes));
    STRATA_STEP("create: payload zeroed");
    if (options.publish == Publish::at_once) {
      // All zeros are on the medium already.
      mapped.plane->store_state(SegmentState::ready);
      const auto& state = mapped.plane->page().live.state;
      STRATA_TRY(mapped.payload->durability().persist(&state, sizeof state));
    }
    return Segment::adopt(parts_of(uri, std::move(mapped), Role::creator));
  };
  auto segment = finish();
  if (!segment) {
    // Best effort: if this fails as well, the next create takes the name over.
    (void)Pool::at(os_, uri.container)
        .remove({.name = uri.name, .even_if_attached = true, .uuid = found.entry.uuid});
  }
  return segment;
}

}  // namespace strata::inline v0_1
