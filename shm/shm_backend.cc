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
#include "shm/huge_payload.h"
#include "shm/shm_placer.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kRetryNs = 100'000;  // while a name is on its way out

bool is_hugetlb(PageSize size) { return size == PageSize::huge_2m || size == PageSize::huge_1g; }

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
  STRATA_TRY(os.pwrite(fd, make_header_page(identity, state, options.content), 0));
  return {};
}

// The plane of a file that is complete but for its payload, and that nobody else can see.
Result<std::unique_ptr<HeaderPlane>> plane_of_new(Os& os, Fd file, const IdentityBlock& identity,
                                                  const CreateOptions& options) {
  STRATA_TRY(write_header(os, file.get(), identity, options));
  auto plane = std::make_unique<HeaderPlane>(os, std::move(file), Access::read_write);
  STRATA_TRY(plane->lease_as_creator());
  return plane;
}

// Whoever holds a descriptor of a memfd could make the file shorter, and the next touch of what
// is gone would kill this process (SIGBUS). The seal keeps everybody from it, and allows growth.
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
void populate(Os& os, FilePayload& payload) {
  const auto existing = payload.existing_bytes();
  if (!existing || *existing == 0) return;
  const auto range =
      payload.reserved().first(std::min<std::size_t>(*existing, payload.reserved().size()));
  (void)os.madvise(range.data(), range.size(), MADV_HUGEPAGE);
  (void)fault_in(os, range);
}

}  // namespace

ShmBackend::ShmBackend(Os& os, ShmOptions options)
    : os_(os),
      options_(std::move(options)),
      files_(os, {.scheme = "shm", .directory = options_.directory},
             [this](const SegmentUri& uri,
                    const IdentityBlock& identity) -> Result<std::unique_ptr<ApartFile>> {
               STRATA_ASSIGN(HugePayload payload, huge_payload(uri, identity));
               return std::make_unique<HugePayload>(std::move(payload));
             }) {}

const Capabilities& ShmBackend::capabilities() const {
  static const Capabilities all =
      Capabilities()
          .without(Capability::device_bytes, "host memory has no address on a device")
          .without(Capability::persist, "it is volatile memory");
  return all;
}

// There are none in containers.
Result<std::vector<SegmentStat>> ShmBackend::list(std::string_view container) {
  if (!container.empty()) return std::vector<SegmentStat>();
  return files_.list();
}

Result<std::vector<ReclaimDecision>> ShmBackend::reclaim(std::string_view container,
                                                         const ReclaimOptions& options) {
  if (!container.empty()) return std::vector<ReclaimDecision>();
  return files_.reclaim(options);
}

Result<HugePayload> ShmBackend::huge_payload(const SegmentUri& uri, const IdentityBlock& identity) {
  const bool is_1g = identity.page_bytes == GiB(1);
  return HugePayload::locate(os_, is_1g ? options_.huge_1g_directory : options_.huge_2m_directory,
                             uri, identity);
}

FilePayload::OpenPayload ShmBackend::payload_opener(const SegmentUri& uri) {
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

Result<void> ShmBackend::place(FilePayload& payload, const CreateOptions& options) {
  STRATA_ASSIGN(const Plan plan,
                this->plan(options.placement, options.payload_bytes, options.page_size));
  // The policy covers the address space that the segment may grow into as well.
  if (options.commit == Commit::sparse) {
    if (plan.mode == Plan::Mode::local) return {};
    STRATA_TRY(bind_pages(os_, payload.reserved(), plan));
    return {};
  }
  STRATA_ASSIGN(const PlacementReport report,
                strata::place(os_, payload.reserved().first(options.payload_bytes), plan,
                              {.fd = payload.fd()}));
  store(report, payload.plane().page().placement);
  return {};
}

Result<Segment> ShmBackend::finish(SegmentUri uri, const IdentityBlock& identity,
                                   std::unique_ptr<HeaderPlane> plane, Fd own_file,
                                   const CreateOptions& options) {
  STRATA_ASSIGN(auto mapped, FilePayload::create(std::move(plane), std::move(own_file), identity));
  if (uri.name.empty()) mapped.payload->set_anonymous();
  const bool is_ready = is_ready_at_once(options);
  if (!is_ready) STRATA_TRY(place(*mapped.payload, options));
  mapped.payload->set_placer(std::make_unique<ShmPlacer>(*this));
  AttachmentParts parts = parts_of(uri, std::move(mapped));
  parts.on_detach = on_detach(uri, identity);
  Segment segment = Segment::adopt_new(std::move(parts));
  if (options.publish == Publish::at_once && !is_ready) STRATA_TRY(segment.publish());
  return segment;
}

std::function<void()> ShmBackend::on_detach(const SegmentUri& uri, const IdentityBlock& identity) {
  const auto lifetime = static_cast<Lifetime>(identity.lifetime);
  if (uri.name.empty() || (lifetime != Lifetime::process && lifetime != Lifetime::last_detach)) {
    return {};
  }
  // What ends here may have been the last user. The rules are those of gc: whoever else is
  // attached, or took the name meanwhile, is found by their locks.
  return [this, uri] { (void)files_.reclaim_one(uri, {}); };
}

Result<Segment> ShmBackend::do_create(const SegmentUri& uri, const CreateOptions& options) {
  STRATA_ASSIGN(const IdentityBlock identity,
                make_identity(os_, SegmentKind::shm, uri.name, options));
  std::optional<HugePayload> payload;
  if (is_hugetlb(options.page_size)) {
    STRATA_ASSIGN(HugePayload located, huge_payload(uri, identity));
    payload.emplace(std::move(located));
  }
  STRATA_ASSIGN(Fd file, files_.create_unnamed(options.mode));
  STRATA_ASSIGN(auto plane, plane_of_new(os_, std::move(file), identity, options));
  STRATA_TRY(files_.link(plane->fd(), uri));
  auto segment = [&]() -> Result<Segment> {
    Fd own_file;
    if (payload) {
      STRATA_ASSIGN(own_file, payload->create(options.mode));
      STRATA_TRY(
          os_.ftruncate(own_file.get(), align_up(options.payload_bytes, identity.page_bytes)));
    }
    return finish(uri, identity, std::move(plane), std::move(own_file), options);
  }();
  if (!segment) files_.abandon(uri, identity);
  return segment;
}

Result<Segment> ShmBackend::do_create_anonymous(const CreateOptions& options) {
  STRATA_ASSIGN(const IdentityBlock identity, make_identity(os_, SegmentKind::shm, {}, options));
  STRATA_ASSIGN(Fd file, os_.memfd_create("strata", MFD_ALLOW_SEALING));
  STRATA_ASSIGN(auto plane, plane_of_new(os_, std::move(file), identity, options));
  STRATA_TRY(os_.add_seals(plane->fd(), F_SEAL_SHRINK));
  Fd own_file;
  if (identity.payload_is_apart) {
    const unsigned size_flag = identity.page_bytes == GiB(1) ? MFD_HUGE_1GB : MFD_HUGE_2MB;
    STRATA_ASSIGN(own_file,
                  os_.memfd_create("strata-payload", MFD_ALLOW_SEALING | MFD_HUGETLB | size_flag));
    STRATA_TRY(os_.ftruncate(own_file.get(), align_up(options.payload_bytes, identity.page_bytes)));
    STRATA_TRY(os_.add_seals(own_file.get(), F_SEAL_SHRINK));
  }
  return finish({"shm", {}, {}}, identity, std::move(plane), std::move(own_file), options);
}

Result<Segment> ShmBackend::attach_files(const SegmentUri& uri, FilePayload::Mapped&& mapped,
                                         const AttachOptions& options) {
  if (options.populate) populate(os_, *mapped.payload);
  mapped.payload->set_placer(std::make_unique<ShmPlacer>(*this));
  AttachmentParts parts = parts_of(uri, std::move(mapped));
  if (parts.identity.lifetime == static_cast<std::uint32_t>(Lifetime::last_detach)) {
    parts.on_detach = on_detach(uri, parts.identity);
  }
  return Segment::adopt(std::move(parts));
}

Result<Segment> ShmBackend::do_attach(const SegmentUri& uri, const AttachOptions& options) {
  const Deadline deadline = Deadline::after_ms(options.timeout_ms);
  while (true) {
    STRATA_ASSIGN(Fd file, files_.open(uri.name, options.access));
    auto mapped = FilePayload::attach(
        os_, std::move(file), payload_opener(uri),
        {.uri = uri, .access = options.access, .deadline = deadline, .must_have_name = true});
    if (mapped) return attach_files(uri, std::move(*mapped), options);
    // Removed between open and lease: the name may mean another segment by now.
    const bool was_removed = mapped.error().code() == Code::not_found;
    if (!was_removed || deadline.expired()) return unexpected(mapped.error());
    os_.sleep_ns(kRetryNs);
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
  const SegmentUri anonymous{"shm", {}, {}};
  STRATA_ASSIGN(auto mapped,
                FilePayload::attach(os_, std::move(header), open_payload,
                                    {.uri = anonymous,
                                     .access = options.access,
                                     .deadline = Deadline::after_ms(options.timeout_ms)}));
  mapped.payload->set_anonymous();
  STRATA_ASSIGN(Segment segment, attach_files(anonymous, std::move(mapped), options));
  STRATA_TRY(check_led_to(handle, segment));
  return segment;
}

Result<Segment> ShmBackend::do_attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                             const AttachOptions& options) {
  STRATA_TRY(check_handle(handle, {.kind = SegmentKind::shm}, os_, options));
  if (!handle.locator.empty()) return attach_by_locator(*this, handle, options);
  return attach_descriptors(handle, descriptors, options);
}

}  // namespace strata::inline v0_1
