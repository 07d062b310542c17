#include "shm/shm_backend.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/memfd.h>

#include <algorithm>

#include "numa/place.h"
#include "numa/sysfs.h"
#include "segment/handle_check.h"
#include "segment/new_identity.h"
#include "segment/segment_file.h"
#include "shm/huge_payload.h"
#include "shm/shm_files.h"

namespace strata {
namespace {

constexpr std::uint64_t kRetryNs = 100'000;  // while a name is on its way out

bool is_hugetlb(PageSize size) { return size == PageSize::huge_2m || size == PageSize::huge_1g; }

// Marks the creator as alive and attached, before anybody can see the segment.
Result<void> lock_as_creator(Os& os, int fd) {
  STRATA_TRY(os.try_lock_byte(fd, kLockBaseBytes + kWriterByte, LockKind::shared));
  STRATA_TRY(os.try_lock_byte(fd, kLockBaseBytes + kCreatorByte, LockKind::exclusive));
  return {};
}

// Whether nothing is left to do for a segment once its header is written.
bool is_ready_at_once(const CreateOptions& options) {
  return options.commit == Commit::sparse && options.publish == Publish::at_once &&
         !needs_topology(options.placement) && !is_hugetlb(options.page_size);
}

// Sizes the file and writes the whole header page, which thereby is committed memory. Nobody
// can see the file yet, so that the state may be final already.
Result<void> write_header(Os& os, int fd, const IdentityBlock& identity,
                          const CreateOptions& options) {
  const SegmentState state =
      is_ready_at_once(options) ? SegmentState::ready : SegmentState::initialising;
  const std::uint64_t file_bytes =
      identity.payload_is_apart ? kHeaderBytes
                                : identity.payload_offset_bytes + identity.created_payload_bytes;
  STRATA_TRY(os.ftruncate(fd, file_bytes));
  STRATA_TRY(os.pwrite(fd, make_header_page(identity, state), 0));
  return {};
}

// Whoever holds a descriptor of a memfd could make the file shorter, and the next touch of what is
// gone would kill this process (SIGBUS). The seal keeps everybody from it, and allows growth.
Result<void> check_cannot_shrink(Os& os, int fd) {
  const auto seals = os.get_seals(fd);
  if (seals && (*seals & F_SEAL_SHRINK) != 0) return {};
  return fail(
      Code::failed_precondition,
      "its memory is not sealed against shrinking (F_SEAL_SHRINK), so that its sender could "
      "take it away while it is in use; create_anonymous() seals what it makes");
}

// Faults in all that exists, with 2 MiB pages where they are to be had. Best effort: the
// segment is whole without it.
void populate(Os& os, FileMapping& mapping) {
  const auto existing = mapping.existing_bytes();
  if (!existing || *existing == 0) return;
  const auto range =
      mapping.reserved().first(std::min<std::size_t>(*existing, mapping.reserved().size()));
  (void)os.madvise(range.data(), range.size(), MADV_HUGEPAGE);
  (void)fault_in(os, range);
}

}  // namespace

std::string ShmBackend::path_of(std::string_view name) const {
  return options_.directory + "/" + shm_file_name(name);
}

Result<HugePayload> ShmBackend::huge_payload(const SegmentUri& uri, const IdentityBlock& identity) {
  const bool is_1g = identity.page_bytes == GiB(1);
  return HugePayload::locate(os_, is_1g ? options_.huge_1g_directory : options_.huge_2m_directory,
                             uri, identity);
}

FileMapping::OpenPayload ShmBackend::payload_opener(const SegmentUri& uri) {
  return [this, uri](const IdentityBlock& identity, uid_t owner, int flags) -> Result<Fd> {
    STRATA_ASSIGN(const HugePayload payload, huge_payload(uri, identity));
    return payload.open(owner, flags);
  };
}

Result<Plan> ShmBackend::plan(const Placement& placement, std::uint64_t payload_bytes,
                              PageSize page_size) {
  if (!needs_topology(placement)) return local_plan(payload_bytes, page_size);
  const std::lock_guard lock(mutex_);
  // Nodes come and go while a process runs: memory on CXL, a pmem module turned into memory.
  // So does what a cpuset allows of them.
  const std::vector<int> forbidden = forbidden_nodes(os_);
  std::string nodes_now =
      fmt::format("{} without {}", read_trimmed(os_, "/sys/devices/system/node/has_memory"),
                  fmt::join(forbidden, ","));
  if (topology_ && nodes_now == topology_nodes_) {
    STRATA_TRY(topology_->refresh_free_bytes(os_));
  } else {
    STRATA_ASSIGN(topology_, Topology::from_machine(os_));
    topology_nodes_ = std::move(nodes_now);
  }
  return make_plan(*topology_, placement, payload_bytes, page_size, os_.current_cpu());
}

Result<void> ShmBackend::place(Segment& segment, FileMapping& mapping,
                               const CreateOptions& options) {
  STRATA_ASSIGN(const Plan plan,
                this->plan(options.placement, options.payload_bytes, options.page_size));
  // The policy covers the address space that the segment may grow into as well.
  if (options.commit == Commit::sparse) {
    if (plan.mode == Plan::Mode::local) return {};
    STRATA_TRY(bind_pages(os_, mapping.reserved(), plan));
    return {};
  }
  STRATA_ASSIGN(const PlacementReport report,
                strata::place(os_, mapping.reserved().first(options.payload_bytes), plan,
                              {.fd = mapping.payload_fd()}));
  store(report, segment.header().placement);
  return {};
}

Result<Segment> ShmBackend::finish(SegmentUri uri, const IdentityBlock& identity,
                                   SegmentFiles files, const CreateOptions& options) {
  STRATA_ASSIGN(auto mapping, FileMapping::create(os_, std::move(files), identity));
  FileMapping& file_mapping = *mapping;
  if (uri.name.empty()) mapping->set_anonymous();
  Segment segment = Segment::adopt_new(uri, identity, std::move(mapping));
  const bool is_ready = is_ready_at_once(options);
  if (!is_ready) STRATA_TRY(place(segment, file_mapping, options));
  FileMappingHooks hooks;
  if (!uri.name.empty()) hooks = detach_hooks(uri, identity);
  set_growth_hook(file_mapping, identity, std::move(hooks));
  if (options.publish == Publish::at_once && !is_ready) STRATA_TRY(segment.publish());
  return segment;
}

FileMappingHooks ShmBackend::detach_hooks(const SegmentUri& uri, const IdentityBlock& identity) {
  FileMappingHooks hooks;
  const auto lifetime = static_cast<Lifetime>(identity.lifetime);
  if (lifetime == Lifetime::process || lifetime == Lifetime::last_detach) {
    // What ends here may have been the last user. The rules are those of gc: whoever else is
    // attached, or took the name meanwhile, is found by their locks.
    hooks.on_detach = [this, uri] { (void)reclaim_one(uri, {}); };
  }
  return hooks;
}

void ShmBackend::set_growth_hook(FileMapping& mapping, const IdentityBlock& identity,
                                 FileMappingHooks hooks) {
  if (identity.max_bytes == identity.created_payload_bytes) {  // it cannot grow
    if (hooks.on_detach) mapping.set_hooks(std::move(hooks));
    return;
  }
  hooks.commit = [this, &mapping, page_size = static_cast<PageSize>(identity.page_size),
                  asked = std::string(padded_text(identity.placement))](
                     std::span<std::byte> fresh) -> Result<void> {
    // The policy has been with the object since it was made; what is left to do is to commit,
    // near to the right node, and to look at what was got.
    STRATA_ASSIGN(const Placement placement, parse_placement(asked));
    STRATA_ASSIGN(Plan plan, this->plan(placement, fresh.size(), page_size));
    STRATA_TRY(strata::place(os_, fresh, plan, {.fd = mapping.payload_fd()}));
    const auto end =
        static_cast<std::size_t>(fresh.data() + fresh.size() - mapping.reserved().data());
    STRATA_ASSIGN(const PlacementReport whole, report(os_, mapping.reserved().first(end)));
    store(whole, mapping.header().placement);
    return {};
  };
  mapping.set_hooks(std::move(hooks));
}

Result<Segment> ShmBackend::create(const SegmentUri& uri, const CreateOptions& options) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in("create " + uri.to_string()));
  };
  STRATA_TRY(check_name(uri.name));
  const auto identity = make_identity(os_, SegmentKind::shm, uri.name, options);
  if (!identity) return context(identity.error());
  std::optional<HugePayload> payload;
  if (is_hugetlb(options.page_size)) {
    auto located = huge_payload(uri, *identity);
    if (!located) return context(located.error());
    payload.emplace(std::move(*located));
  }
  const std::string path = path_of(uri.name);
  auto file = os_.open(options_.directory, O_TMPFILE | O_RDWR, options.mode);
  if (!file) return context(file.error());
  const auto prepared = [&]() -> Result<void> {
    // The umask may have taken bits away that were asked for.
    if (options.mode & 0077) STRATA_TRY(os_.fchmod(file->get(), options.mode));
    STRATA_TRY(write_header(os_, file->get(), *identity, options));
    return lock_as_creator(os_, file->get());
  }();
  if (!prepared) return context(prepared.error());
  auto linked = os_.link_fd(file->get(), path);
  if (!linked && linked.error().code() == Code::already_exists) {
    // What stands in the way may be the remains of a process that was killed.
    const auto reclaimed = reclaim_one(uri, {});
    if (reclaimed && reclaimed->was_reclaimed) linked = os_.link_fd(file->get(), path);
  }
  if (!linked) {
    if (linked.error().code() == Code::already_exists) {
      return context(Status(Code::already_exists, "the name is taken"));
    }
    return context(linked.error());
  }
  auto segment = [&]() -> Result<Segment> {
    SegmentFiles files{std::move(*file), Fd()};
    if (payload) {
      STRATA_ASSIGN(files.payload, payload->create(options.mode));
      STRATA_TRY(os_.ftruncate(files.payload.get(),
                               align_up(options.payload_bytes, identity->page_bytes)));
    }
    return finish(uri, *identity, std::move(files), options);
  }();
  if (!segment) {
    abandon(uri, *identity);
    return context(segment.error());
  }
  return segment;
}

Result<Segment> ShmBackend::create_anonymous(const CreateOptions& options) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in("create an anonymous segment"));
  };
  const auto identity = make_identity(os_, SegmentKind::shm, {}, options);
  if (!identity) return context(identity.error());
  auto segment = [&]() -> Result<Segment> {
    SegmentFiles files;
    STRATA_ASSIGN(files.header, os_.memfd_create("strata", MFD_ALLOW_SEALING));
    STRATA_TRY(write_header(os_, files.header.get(), *identity, options));
    STRATA_TRY(os_.add_seals(files.header.get(), F_SEAL_SHRINK));
    STRATA_TRY(lock_as_creator(os_, files.header.get()));
    if (identity->payload_is_apart) {
      const unsigned size_flag = identity->page_bytes == GiB(1) ? MFD_HUGE_1GB : MFD_HUGE_2MB;
      STRATA_ASSIGN(files.payload, os_.memfd_create("strata-payload",
                                                    MFD_ALLOW_SEALING | MFD_HUGETLB | size_flag));
      STRATA_TRY(os_.ftruncate(files.payload.get(),
                               align_up(options.payload_bytes, identity->page_bytes)));
      STRATA_TRY(os_.add_seals(files.payload.get(), F_SEAL_SHRINK));
    }
    return finish({"shm", {}, {}}, *identity, std::move(files), options);
  }();
  if (!segment) return context(segment.error());
  return segment;
}

Result<Segment> ShmBackend::attach(const SegmentUri& uri, const AttachOptions& options) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in("attach " + uri.to_string()));
  };
  STRATA_TRY(check_name(uri.name));
  const Deadline deadline = Deadline::after_ms(options.timeout_ms);
  // A FIFO or a device under our name must not make the open itself wait.
  const int flags = (options.access == Access::read_write ? O_RDWR : O_RDONLY) | O_NOFOLLOW |
                    O_NONBLOCK | O_NOCTTY;
  while (true) {
    auto file = os_.open(path_of(uri.name), flags);
    if (!file) {
      if (file.error().code() == Code::not_found) {
        return context(Status(Code::not_found, "no such segment"));
      }
      return context(explain_open_failure(os_, path_of(uri.name), options.access, file.error()));
    }
    auto attached = FileMapping::attach(
        os_, std::move(*file), payload_opener(uri),
        {.uri = uri, .access = options.access, .deadline = deadline, .must_have_name = true});
    if (!attached) {
      // Removed between open and lease: the name may mean another segment by now.
      const bool was_removed = attached.error().code() == Code::not_found;
      if (was_removed && !deadline.expired()) {
        os_.sleep_ns(kRetryNs);
        continue;
      }
      return context(attached.error());
    }
    if (options.populate) populate(os_, *attached->mapping);
    FileMappingHooks hooks;
    if (attached->identity.lifetime == static_cast<std::uint32_t>(Lifetime::last_detach)) {
      hooks = detach_hooks(uri, attached->identity);
    }
    set_growth_hook(*attached->mapping, attached->identity, std::move(hooks));
    return Segment::adopt(uri, attached->identity, std::move(attached->mapping));
  }
}

Result<Segment> ShmBackend::attach_descriptors(const Handle& handle,
                                               const std::vector<Fd>& descriptors,
                                               const AttachOptions& options) {
  if (descriptors.empty()) return fail(Code::corrupt, "its memory did not come along");
  const int open_flags = options.access == Access::read_write ? O_RDWR : O_RDONLY;
  const auto open_own = [&](const Fd& sent) -> Result<Fd> {
    STRATA_TRY(check_cannot_shrink(os_, sent.get()));
    // The sender's locks belong to the descriptor it sent: take one of our own.
    return os_.reopen(sent.get(), open_flags);
  };
  STRATA_ASSIGN(Fd header, open_own(descriptors[0]));
  const auto open_payload = [&](const IdentityBlock&, uid_t, int) -> Result<Fd> {
    if (descriptors.size() < 2) return fail(Code::corrupt, "its payload did not come along");
    return open_own(descriptors[1]);
  };
  STRATA_ASSIGN(auto attached,
                FileMapping::attach(os_, std::move(header), open_payload,
                                    {.uri = {"shm", {}, {}},
                                     .access = options.access,
                                     .deadline = Deadline::after_ms(options.timeout_ms)}));
  attached.mapping->set_anonymous();
  set_growth_hook(*attached.mapping, attached.identity, {});
  FileMapping& mapping = *attached.mapping;
  STRATA_ASSIGN(Segment segment,
                Segment::adopt({"shm", {}, {}}, attached.identity, std::move(attached.mapping)));
  STRATA_TRY(check_led_to(handle, segment));
  if (options.populate) populate(os_, mapping);
  return segment;
}

Result<Segment> ShmBackend::attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                          const AttachOptions& options) {
  auto segment = [&]() -> Result<Segment> {
    STRATA_TRY(check_handle(handle, {.kind = SegmentKind::shm}, os_, options));
    if (!handle.locator.empty()) return attach_by_locator(*this, handle, options);
    return attach_descriptors(handle, descriptors, options);
  }();
  if (!segment) return unexpected(segment.error().in("attach a handle"));
  return segment;
}

}  // namespace strata
