#include "gpu/cuda_backend.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cstring>

#include "gpu/device_wait.h"
#include "gpu/driver.h"
#include "gpu/holder.h"
#include "gpu/legacy_memory.h"
#include "gpu/mechanism.h"
#include "gpu/poll.h"
#include "segment/attachment.h"
#include "segment/handle_check.h"
#include "segment/new_identity.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kHolderStartMs = 60'000;

Result<void> check_request(const CreateOptions& options) {
  if ((options.mode & 0077) != 0) {
    return fail(Code::unsupported,
                fmt::format("mode {:04o}: device memory is shared among the processes of one user "
                            "alone, since whoever has its descriptor can write to it: 0600",
                            options.mode));
  }
  if (options.commit == Commit::sparse) {
    return fail(Code::unsupported, "sparse: memory of a device is committed when it is allocated");
  }
  return {};
}

bool needs_holder(Lifetime lifetime) {
  return lifetime == Lifetime::until_removed || lifetime == Lifetime::job;
}

std::string_view lifetime_text(Lifetime lifetime) {
  return lifetime == Lifetime::job ? "job" : "until_removed";
}

Result<void> check_lifetime(const CreateOptions& options, DeviceMechanism mechanism,
                            const CudaOptions& own) {
  const Lifetime lifetime = options.lifetime.value_or(Lifetime::last_detach);
  if (!needs_holder(lifetime)) return {};
  if (mechanism != DeviceMechanism::vmm_fd) {
    return fail(Code::unsupported,
                fmt::format("lifetime {}: memory that is shared by {} ends with the process that "
                            "allocated it; use last_detach",
                            lifetime_text(lifetime), mechanism_name(mechanism)));
  }
  if (own.holder_command.empty()) {
    return fail(Code::unsupported,
                fmt::format("lifetime {}: device memory is gone once nobody is attached; use "
                            "last_detach and keep it with `strata gpu hold`, or set "
                            "CudaOptions::holder_command",
                            lifetime_text(lifetime)));
  }
  return {};
}

template <std::size_t N>
void copy_text(std::array<char, N>& field, std::string_view text) {
  std::copy_n(text.begin(), std::min(text.size(), N - 1), field.begin());
}

ExportBlock export_block_of(const cuda::Device& device, const cuda::DeviceExport& exported) {
  ExportBlock block{};
  block.mechanism = static_cast<std::uint32_t>(exported.mechanism);
  block.driver_version = static_cast<std::uint32_t>(device.driver().version());
  block.device_uuid = device.uuid();
  block.allocation_bytes = exported.allocation_bytes;
  block.offset_bytes = exported.offset_bytes;
  block.handle = exported.handle;
  copy_text(block.pci_address, device.pci_address());
  copy_text(block.device_name, device.name());
  sign(block);
  return block;
}

// The identity of a segment whose payload is no part of any file.
Result<IdentityBlock> make_device_identity(Os& os, const SegmentUri& uri,
                                           const CreateOptions& options) {
  STRATA_ASSIGN(IdentityBlock identity, make_identity(os, SegmentKind::cuda, uri.name, options));
  identity.payload_is_apart = 1;
  identity.payload_offset_bytes = 0;
  sign(identity);
  return identity;
}

// What a header may still be wrong about although its checksum is good.
Result<void> check_is_here(Os& os, const struct stat& facts, const IdentityBlock& identity) {
  const ProcessIdentity& self = os.identity();
  if (facts.st_uid != self.uid) {
    return fail(Code::permission_denied,
                fmt::format("it belongs to uid {}, and device memory is shared among the processes "
                            "of one user alone",
                            facts.st_uid));
  }
  if (identity.boot_id == self.boot_id) return {};
  return fail(
      Code::failed_precondition,
      "it is of an earlier boot of this machine, or of another one, and its memory is gone: "
      "remove it");
}

Result<cuda::Device*> owner_of(const cuda::Devices& devices, const ExportBlock& exported) {
  if (cuda::Device* const owner = devices.find(exported.device_uuid)) return owner;
  std::string seen;
  for (const auto& device : devices.all())
    seen += fmt::format("{}{}", seen.empty() ? "" : ", ", device->describe());
  return fail(
      Code::wrong_device,
      fmt::format("its memory is on {} ({}, at {}), which this process does not see: it "
                  "sees {} (CUDA_VISIBLE_DEVICES)",
                  cuda::device_uuid_text(exported.device_uuid), padded_text(exported.device_name),
                  padded_text(exported.pci_address), seen));
}

// An import that the driver refuses may be a matter of two driver versions.
Status explain_import(const ExportBlock& exported, const cuda::Driver& driver,
                      const Status& failure) {
  const auto own = static_cast<std::uint32_t>(driver.version());
  if (failure.driver_result() == 0 || own == exported.driver_version) return failure;
  return Status(failure.code(),
                fmt::format("{} (it was exported by driver {}, and this process has {})",
                            failure.message(), exported.driver_version, own))
      .with_driver_result(failure.driver_result());
}

}  // namespace

CudaBackend::CudaBackend(Os& os, CudaOptions options)
    : os_(os),
      options_(std::move(options)),
      files_(os, {.scheme = "cuda", .directory = options_.directory, .prefix = "strata-cuda"}),
      server_(os, options_.directory) {}

const Capabilities& CudaBackend::capabilities() const {
  static const Capabilities all =
      Capabilities()
          .without(Capability::host_bytes,
                   "the host cannot address the memory of a device: use device_bytes(), or copy")
          .without(Capability::grow, "memory of a device has the size that it was made with")
          .without(Capability::migrate, "memory stays on its device: make another and copy")
          .without(Capability::placement, "memory of a device is on no node: choose the device")
          .without(Capability::huge_pages, "memory of a device has the pages of its driver")
          .without(Capability::persist, "it is volatile memory: checkpoint it into a pool")
          .without(Capability::heap, "locks and objects need memory that the host can address")
          .without(Capability::copy_on_write, "a device has no private edits: copy it")
          .without(Capability::anonymous, "memory of a device is handed over by its name")
          .with_lifetime(Lifetime::last_detach);
  return all;
}

Result<std::shared_ptr<cuda::Devices>> CudaBackend::devices() const {
  return cuda::Devices::load(options_.driver_library);
}

std::function<void()> CudaBackend::on_detach(const SegmentUri& uri, const IdentityBlock& identity) {
  const auto lifetime = static_cast<Lifetime>(identity.lifetime);
  if (lifetime != Lifetime::process && lifetime != Lifetime::last_detach) return {};
  return [this, uri] { (void)files_.reclaim_one(uri, {}); };
}

cuda::ServeRequest CudaBackend::entry_of(const CudaPayload& payload,
                                         const IdentityBlock& identity) const {
  const auto& generation = payload.plane().page().live.generation.value;
  return {.uuid = identity.uuid,
          .generation = generation.load(std::memory_order_acquire),
          .access = payload.plane().access(),
          .on_release = [listener = release_, uuid = identity.uuid] { listener->call(uuid); }};
}

Result<Segment> CudaBackend::finish(const SegmentUri& uri, const IdentityBlock& identity,
                                    std::unique_ptr<HeaderPlane> plane,
                                    const CreateOptions& options, cuda::Device& device,
                                    const MakeMemory& make_memory) {
  STRATA_ASSIGN(auto payload, CudaPayload::open(*plane));
  STRATA_ASSIGN(cuda::ExportedMemory made, make_memory());
  const ExportBlock exported = export_block_of(device, made.exported);
  std::memcpy(&device_block_of(plane->page()).exported, &exported, sizeof exported);
  payload->set_memory(std::move(made.memory), exported, options.payload_bytes);
  cuda::ServeRequest entry = entry_of(*payload, identity);
  entry.fd = std::move(made.exported.descriptor);
  STRATA_ASSIGN(auto served, server_.serve(std::move(entry)));
  payload->set_served(std::move(served));
  if (needs_holder(*options.lifetime)) {
    STRATA_TRY(
        cuda::start_holder(options_.holder_command, uri, Deadline::after_ms(kHolderStartMs)));
  }
  Segment segment = Segment::adopt_new({.uri = uri,
                                        .identity = identity,
                                        .plane = std::move(plane),
                                        .payload = std::move(payload),
                                        .on_detach = on_detach(uri, identity)});
  if (options.publish == Publish::at_once) STRATA_TRY(segment.publish());
  return segment;
}

Result<Segment> CudaBackend::create_with(const SegmentUri& uri, const CreateOptions& options,
                                         cuda::Device& device, const MakeMemory& make_memory) {
  STRATA_ASSIGN(const IdentityBlock identity, make_device_identity(os_, uri, options));
  STRATA_ASSIGN(Fd file, files_.create_unnamed(options.mode));
  STRATA_TRY(os_.ftruncate(file.get(), kDeviceHeaderFileBytes));
  const auto page = make_header_page(identity, SegmentState::initialising, options.content);
  STRATA_TRY(os_.pwrite(file.get(), page, 0));
  auto plane = std::make_unique<HeaderPlane>(os_, std::move(file), Access::read_write);
  STRATA_TRY(plane->lease_as_creator());
  STRATA_TRY(files_.link(plane->fd(), uri));
  auto segment = finish(uri, identity, std::move(plane), options, device, make_memory);
  if (!segment) files_.abandon(uri, identity);
  return segment;
}

Result<Segment> CudaBackend::do_create(const SegmentUri& uri, const CreateOptions& options) {
  STRATA_TRY(check_request(options));
  STRATA_ASSIGN(const auto all, devices());
  STRATA_ASSIGN(cuda::Device* const device, all->find(options.device.device));
  STRATA_ASSIGN(const DeviceMechanism mechanism,
                cuda::choose_mechanism(*device, options.device.mechanism));
  STRATA_TRY(check_lifetime(options, mechanism, options_));
  return create_with(uri, options, *device, [&]() -> Result<cuda::ExportedMemory> {
    const bool is_legacy = mechanism == DeviceMechanism::legacy_ipc;
    auto made = is_legacy ? cuda::create_legacy(*device, options.payload_bytes)
                          : cuda::create_vmm(*device, options.payload_bytes, mechanism);
    if (made && !options.device.is_filled_by_creator) {
      STRATA_ASSIGN(made->memory, cuda::filled_with_zeros(std::move(made->memory),
                                                          Deadline::after_ms(cuda::kStallMs)));
    }
    return made;
  });
}

Result<Segment> CudaBackend::adopt(const SegmentUri& uri, cuda::CuDevicePointer address,
                                   std::uint64_t bytes) {
  auto adopted = [&]() -> Result<Segment> {
    STRATA_TRY(check_name(uri.name));
    const CreateOptions options{.payload_bytes = bytes, .lifetime = Lifetime::process};
    STRATA_TRY(check_create_options(options));
    STRATA_ASSIGN(const auto all, devices());
    STRATA_ASSIGN(cuda::Device* const device, cuda::device_of(*all, address));
    return keep_world_in(create_with(uri, options, *device,
                                     [&] { return cuda::adopt_legacy(*device, address, bytes); }));
  }();
  if (!adopted) return unexpected(adopted.error().in("adopt as " + uri.to_string()));
  return adopted;
}

Result<void> CudaBackend::bring_memory(CudaPayload& payload, const IdentityBlock& identity,
                                       const AttachOptions& options, Deadline deadline) {
  STRATA_ASSIGN(const ExportBlock exported, read_export_block(payload.plane().page(), identity));
  STRATA_ASSIGN(const auto all, devices());
  STRATA_ASSIGN(cuda::Device* const owner, owner_of(*all, exported));
  cuda::Device* device = owner;
  if (!options.device.empty()) {
    STRATA_ASSIGN(device, all->find(options.device));
  }
  STRATA_TRY(cuda::check_reach(*device, *owner));
  std::unique_ptr<cuda::ServedDescriptor> served;
  auto imported = [&]() -> Result<std::unique_ptr<cuda::DeviceMemory>> {
    switch (static_cast<DeviceMechanism>(exported.mechanism)) {
      case DeviceMechanism::legacy_ipc:
        return cuda::import_legacy(*device, *owner, exported.handle, exported.allocation_bytes);
      case DeviceMechanism::fabric:
        return cuda::import_fabric(*device, *owner, exported.handle, exported.allocation_bytes,
                                   options.access);
      default: break;
    }
    STRATA_ASSIGN(const cuda::DescriptorKind kind, cuda::exported_kind(os_, *owner));
    const auto check = [&](int fd) -> Result<void> {
      STRATA_ASSIGN(const cuda::DescriptorKind got, cuda::descriptor_kind(os_, fd));
      if (got == kind) return {};
      return fail(Code::corrupt,
                  "what a process that is attached hands on is no memory of this driver");
    };
    STRATA_ASSIGN(served, server_.join(entry_of(payload, identity), check, deadline));
    return cuda::import_descriptor(*device, *owner, served->fd(), exported.allocation_bytes,
                                   options.access);
  }();
  if (!imported) return unexpected(explain_import(exported, all->driver(), imported.error()));
  if (!served) {
    STRATA_ASSIGN(served, server_.serve(entry_of(payload, identity)));
  }
  payload.set_memory(std::move(*imported), exported, identity.created_payload_bytes);
  payload.set_served(std::move(served));
  return {};
}

Result<Segment> CudaBackend::attach_header(const SegmentUri& uri, Fd header,
                                           const AttachOptions& options, Deadline deadline) {
  auto plane = std::make_unique<HeaderPlane>(os_, std::move(header), options.access);
  STRATA_TRY(plane->lease(deadline));
  STRATA_ASSIGN(const struct stat facts, os_.fstat(plane->fd()));
  if (facts.st_nlink == 0) return fail(Code::not_found, "it has been removed");
  if (!S_ISREG(facts.st_mode) ||
      static_cast<std::uint64_t>(facts.st_size) < kDeviceHeaderFileBytes) {
    return fail(Code::corrupt, fmt::format("header: the file has only {} bytes", facts.st_size));
  }
  STRATA_ASSIGN(auto payload, CudaPayload::open(*plane));
  STRATA_ASSIGN(const IdentityBlock identity, plane->identify(uri));
  STRATA_TRY(check_is_here(os_, facts, identity));
  STRATA_TRY(plane->await_ready(identity, deadline));
  STRATA_TRY(bring_memory(*payload, identity, options, deadline));
  return Segment::adopt({.uri = uri,
                         .identity = identity,
                         .plane = std::move(plane),
                         .payload = std::move(payload),
                         .on_detach = on_detach(uri, identity)});
}

// A name on its way out, with another segment behind it perhaps: it was taken away, or somebody is
// still letting go of it. Where neither is so, what is missing will not come.
bool CudaBackend::is_in_flux(int header) const {
  const auto facts = os_.fstat(header);
  if (!facts || facts->st_nlink == 0) return true;
  return os_.is_range_locked(header, kLockBaseBytes + kReaderByte, 2, LockKind::exclusive)
      .value_or(false);
}

// Whether another attach could find what the last one did not: another segment under the name, or
// its memory in somebody's hands after all.
bool CudaBackend::is_worth_another_try(int header) const {
  const auto facts = os_.fstat(header);
  if (!facts || facts->st_nlink == 0) return true;
  alignas(HeaderPage) std::array<std::byte, kHeaderBytes> page{};
  const auto read = os_.pread(header, page, 0);
  const auto identity = read ? read_identity_block(std::span(page).first(*read))
                             : Result<IdentityBlock>(unexpected(read.error()));
  return !identity || cuda::may_be_had(os_, peers(), identity->uuid).value_or(true);
}

Result<Segment> CudaBackend::do_attach(const SegmentUri& uri, const AttachOptions& options) {
  const Deadline deadline = Deadline::after_ms(options.timeout_ms);
  cuda::Poll poll(os_, deadline, cuda::Poll::Looks::costly);
  while (true) {
    STRATA_ASSIGN(Fd file, files_.open(uri.name, options.access));
    STRATA_ASSIGN(Fd header, os_.dup(file.get()));
    auto attached = attach_header(uri, std::move(file), options, deadline);
    const bool is_missing = !attached && attached.error().code() == Code::not_found;
    if (!is_missing) return attached;
    // Without a lease meanwhile, which belongs to the open file, so that another is needed: those
    // who wait as this one does would keep each other waiting.
    auto to_look = os_.reopen(header.get(), O_RDONLY);
    if (!to_look) return attached;
    header = std::move(*to_look);
    do {
      if (poll.expired() || !is_in_flux(header.get())) return attached;
      poll.pause();
    } while (!is_worth_another_try(header.get()));
  }
}

Result<Segment> CudaBackend::do_attach_handle(const Handle& handle, std::vector<Fd>,
                                              const AttachOptions& options) {
  STRATA_TRY(check_handle(handle, {.kind = SegmentKind::cuda}, os_, options));
  STRATA_ASSIGN(Segment segment, attach_by_locator(*this, handle, options));
  STRATA_ASSIGN(const CudaPayload* const payload, CudaPayload::of(segment));
  const ExportBlock& exported = payload->exported();
  const bool is_same = exported.device_uuid == handle.device_uuid &&
                       exported.mechanism == handle.mechanism &&
                       exported.allocation_bytes == handle.allocation_bytes;
  if (is_same) return segment;
  return fail(Code::failed_precondition,
              "its memory is on another device, of another size, or shared in another way than "
              "the handle says; ask its sender for a new one");
}

}  // namespace strata::inline v0_1
