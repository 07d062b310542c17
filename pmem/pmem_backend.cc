#include "pmem/pmem_backend.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/step.h"
#include "pmem/directory_change.h"
#include "pmem/pmem_payload.h"
#include "pmem/pool.h"
#include "pmem/pool_internal.h"
#include "segment/new_identity.h"
#include "segment/segment_file.h"

namespace strata {
namespace {

constexpr std::uint64_t kRetryNs = 100'000;  // while a creator fills its segment

Result<void> check_options(const CreateOptions& options) {
  STRATA_TRY(check_create_options(options));
  if (options.placement.kind != Placement::Kind::local) {
    return fail(Code::unsupported, fmt::format("placement {}: a pool's memory is where its file is",
                                               options.placement.to_string()));
  }
  if (options.page_size == PageSize::huge_2m || options.page_size == PageSize::huge_1g) {
    return fail(Code::unsupported, "hugetlb pages: a pool's memory is a file");
  }
  return {};
}

// Waits until the segment is published. The caller has checked the identity block.
Result<void> await_ready(Mapping& mapping, const IdentityBlock& identity, Access access,
                         Deadline deadline) {
  const LockRange range = mapping.lock_range();
  while (true) {
    const auto state = static_cast<SegmentState>(
        mapping.header().live.state.value.load(std::memory_order_acquire));
    switch (state) {
      case SegmentState::ready: return {};
      case SegmentState::sealed:
        if (access != Access::read_write) return {};
        return fail(Code::failed_precondition, "it is sealed; attach it read-only");
      case SegmentState::retired: return fail(Code::not_found, "it has been removed");
      case SegmentState::initialising: {
        STRATA_ASSIGN(const bool is_creator_alive,
                      mapping.os().is_range_locked(range.fd, range.base_bytes + kCreatorByte, 1,
                                                   LockKind::exclusive));
        if (!is_creator_alive) {
          return fail(Code::not_ready,
                      fmt::format("its creator (pid {}) died before publishing it; create it "
                                  "again, or `strata gc` reclaims it",
                                  identity.creator_pid));
        }
        if (deadline.expired()) {
          return fail(Code::not_ready, fmt::format("its creator (pid {}) is still filling it",
                                                   identity.creator_pid));
        }
        mapping.os().sleep_ns(kRetryNs);
        break;
      }
      default: return fail(Code::corrupt, "header: impossible state");
    }
  }
}

// Lock state never persists: with no other writer, whatever the locks inside say is of the past.
// The caller holds the change lock, which keeps other writers from attaching meanwhile.
Result<void> renew_generation(Mapping& mapping) {
  LiveBlock& live = mapping.header().live;
  live.generation.value.fetch_add(1, std::memory_order_acq_rel);
  return mapping.durability().persist(&live.generation, sizeof live.generation);
}

}  // namespace

PmemBackend::PmemBackend(Os& os, PmemBackendOptions options)
    : os_(os), options_(std::move(options)), registry_(os, options_.registry_directory) {}

Result<Segment> PmemBackend::attach(const SegmentUri& uri, const AttachOptions& options) {
  return attach_version(uri, 0, options);
}

Result<Segment> PmemBackend::attach_version(const SegmentUri& uri, std::uint64_t version,
                                            const AttachOptions& options) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in("attach " + uri.to_string()));
  };
  const Deadline deadline = Deadline::after_ms(options.timeout_ms);
  const Pool pool = Pool::at(os_, uri.container);
  auto located = pool.locate(uri.name, version, options.access, deadline);
  if (!located) return context(located.error());
  const FoundEntry found = located->found;
  if (options.access == Access::read_write) {
    if (auto owned = own_segment_blocks(located->file, found.entry); !owned) {
      return context(owned.error());
    }
  }
  auto mapping =
      PmemMapping::map(std::move(located->file), found.slot, found.entry,
                       {.access = options.access, .worst_granularity = options_.worst_granularity});
  if (!mapping) return context(mapping.error());
  wrap(**mapping, uri.container, found.entry);
  auto identity = read_identity_block(std::as_bytes(std::span(&(*mapping)->header(), 1)));
  if (!identity) return context(identity.error());
  if (auto match = check_match(*identity, found.entry); !match) return context(match.error());
  if (must_attach_read_only(*identity) && options.access == Access::read_write) {
    return context(Status(Code::unsupported, "header: unknown features; attach it read-only"));
  }
  if (options.access == Access::read_write) {
    if (located->is_first_writer) {
      if (auto renewed = renew_generation(**mapping); !renewed) return context(renewed.error());
    }
    const LockRange range = (*mapping)->lock_range();
    if (auto done = os_.unlock_byte(range.fd, range.base_bytes + kChangeByte); !done) {
      return context(done.error());
    }
  }
  if (auto ready = await_ready(**mapping, *identity, options.access, deadline); !ready) {
    return context(ready.error());
  }
  if (options.populate) {
    (void)os_.madvise(
        (*mapping)->host_payload().value(), found.entry.payload_bytes,
        options.access == Access::read_write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
  }
  set_on_detach(**mapping, uri, *identity, Role::user);
  remember(uri.container);
  auto segment = Segment::adopt(uri, *identity, std::move(*mapping));
  if (!segment) return context(segment.error());
  return segment;
}

void PmemBackend::wrap(PmemMapping& mapping, const std::string& pool_path,
                       const DirectoryEntry& entry) {
  if (!options_.wrap_durability || mapping.access() != Access::read_write) return;
  mapping.set_durability(
      options_.wrap_durability(mapping.domain(), pool_path, entry.header_offset_bytes));
}

// Segments that live no longer than their users take themselves away.
void PmemBackend::set_on_detach(PmemMapping& mapping, const SegmentUri& uri,
                                const IdentityBlock& identity, Role role) {
  const auto lifetime = static_cast<Lifetime>(identity.lifetime);
  const bool ends_now =
      lifetime == Lifetime::last_detach || (lifetime == Lifetime::process && role == Role::creator);
  if (!ends_now) return;
  mapping.set_on_detach([this, uri, uuid = identity.uuid, lifetime, pid = ::getpid()] {
    if (::getpid() != pid) return;  // a forked child, which shares its parent's lease
    // A destructor cannot fail; whoever is still attached keeps a last_detach segment alive.
    (void)Pool::at(os_, uri.container)
        .remove({.name = uri.name,
                 .even_if_attached = lifetime == Lifetime::process,
                 .uuid = uuid,
                 .deadline = Deadline::after_ms(options_.change_timeout_ms)});
  });
}

Result<Segment> PmemBackend::create(const SegmentUri& uri, const CreateOptions& options) {
  auto segment = create_in(uri, options);
  if (!segment) return unexpected(segment.error().in("create " + uri.to_string()));
  return segment;
}

Result<FoundEntry> PmemBackend::reserve(const SegmentUri& uri, const IdentityBlock& wanted,
                                        PoolFile& file) {
  STRATA_ASSIGN(
      const auto change,
      DirectoryChange::begin(os_, uri.container, Deadline::after_ms(options_.change_timeout_ms)));
  // It is a pool, and what is put into it from now on must be found if this process is killed.
  remember(uri.container);
  STRATA_TRY(change->sweep());
  if (const auto taken = change->find_current(uri.name)) {
    STRATA_TRY(require_current(*change, uri.name));
    // What a creator left behind that died before publishing is no segment.
    STRATA_ASSIGN(const bool is_used, change->is_in_use(*taken));
    const auto* page = reinterpret_cast<const HeaderPage*>(
        change->objects().at(change->entry(*taken).header_offset_bytes));
    const std::uint32_t state = page->live.state.value.load(std::memory_order_acquire);
    if (is_used || state != static_cast<std::uint32_t>(SegmentState::initialising)) {
      return fail(Code::already_exists, "the name is taken");
    }
    STRATA_TRY(change->release(*taken));
    STRATA_TRY(change->commit_part());  // its room is free from then on, for the new one too
  }
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
  const auto page = make_header_page(identity);
  std::byte* const header = change->objects().at(room.header_offset_bytes);
  std::memcpy(header, page.data(), page.size());
  change->objects().persist(header, page.size());
  STRATA_TRY(change->put(found.slot, entry));
  STRATA_TRY(change->commit());
  return found;
}

Result<Segment> PmemBackend::create_in(const SegmentUri& uri, const CreateOptions& options) {
  STRATA_TRY(check_options(options));
  STRATA_ASSIGN(IdentityBlock identity, make_identity(os_, SegmentKind::pmem, uri.name, options));
  PoolFile file;  // holds the creator's locks on the slot
  STRATA_ASSIGN(const FoundEntry found, reserve(uri, identity, file));
  STRATA_STEP("create: name reserved");
  const auto finish = [&]() -> Result<Segment> {
    STRATA_ASSIGN(auto mapping,
                  PmemMapping::map(std::move(file), found.slot, found.entry,
                                   {.worst_granularity = options_.worst_granularity}));
    wrap(*mapping, uri.container, found.entry);
    STRATA_ASSIGN(identity, read_identity_block(std::as_bytes(std::span(&mapping->header(), 1))));
    STRATA_TRY(mapping->extend(0, options.payload_bytes));
    STRATA_STEP("create: payload zeroed");
    if (options.publish == Publish::at_once) {
      auto& state = mapping->header().live.state;
      state.value.store(static_cast<std::uint32_t>(SegmentState::ready), std::memory_order_release);
      STRATA_TRY(mapping->durability().persist(&state, sizeof state));
    }
    set_on_detach(*mapping, uri, identity, Role::creator);
    return Segment::adopt(uri, identity, std::move(mapping));
  };
  auto segment = finish();
  if (!segment) {
    // Best effort: if this fails as well, the next create takes the name over.
    (void)Pool::at(os_, uri.container)
        .remove({.name = uri.name, .even_if_attached = true, .uuid = found.entry.uuid});
  }
  return segment;
}

}  // namespace strata
