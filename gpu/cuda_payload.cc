#include "gpu/cuda_payload.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "gpu/driver.h"
#include "segment/attachment.h"
#include "strata/segment/handle.h"

namespace strata::inline v0_1 {

Result<std::unique_ptr<CudaPayload>> CudaPayload::open(HeaderPlane& plane) {
  std::unique_ptr<CudaPayload> payload(new CudaPayload(plane));
  const bool is_writer = plane.access() == Access::read_write;
  STRATA_TRY(payload->map_header(plane.fd(), is_writer ? PROT_READ | PROT_WRITE : PROT_READ));
  plane.use_page(payload->header_);
  return payload;
}

CudaPayload::~CudaPayload() {
  // Nobody is given what is being unmapped.
  served_.reset();
  memory_.reset();
  if (header_) (void)os_.munmap(header_, kHeaderBytes);
}

Result<CudaPayload*> CudaPayload::of(const Segment& segment) {
  auto* const payload = dynamic_cast<CudaPayload*>(attachment_of(segment).payload.get());
  if (payload) return payload;
  return fail(Code::unsupported,
              fmt::format("{} is not in the memory of a device", segment.uri().to_string()));
}

Result<void> CudaPayload::map_header(int fd, int protection) {
  MapRequest request{.bytes = kHeaderBytes, .protection = protection, .fd = fd};
  if (header_) {
    request.address = header_;
    request.flags |= MAP_FIXED;
  }
  STRATA_ASSIGN(header_, os_.mmap(request));
  return {};
}

void CudaPayload::set_memory(std::unique_ptr<cuda::DeviceMemory> memory,
                             const ExportBlock& exported, std::uint64_t payload_bytes) {
  memory_ = std::move(memory);
  exported_ = exported;
  payload_bytes_ = payload_bytes;
  staging_ = cuda::StagingRing::of(device());
}

Result<std::byte*> CudaPayload::host_bytes() {
  return fail(Code::unsupported,
              "it is in the memory of a device, which the host cannot address: use device_bytes(), "
              "or copy with read() and write()");
}

Result<DeviceSpan> CudaPayload::device_bytes() {
  return DeviceSpan{address(), payload_bytes_, device().uuid()};
}

Result<void> CudaPayload::read(std::uint64_t offset_bytes, std::span<std::byte> into) {
  return staging_->copy_to_host(address() + offset_bytes, into);
}

Result<void> CudaPayload::write(std::uint64_t offset_bytes, std::span<const std::byte> from) {
  return staging_->copy_to_device(address() + offset_bytes, from);
}

// Whatever stream of this process wrote.
Result<void> CudaPayload::settle(std::uint64_t) {
  STRATA_ASSIGN(const cuda::ContextScope scope, device().enter());
  return STRATA_CUDA(device().driver(), cuCtxSynchronize);
}

Result<std::uint64_t> CudaPayload::existing_bytes() {
  return exported_.allocation_bytes - exported_.offset_bytes;
}

Result<void> CudaPayload::extend(std::uint64_t, std::uint64_t) {
  return fail(Code::unsupported, "memory of a device cannot grow");
}

Result<void> CudaPayload::check_may_freeze() {
  if (mechanism() != DeviceMechanism::legacy_ipc) return {};
  return fail(Code::unsupported,
              "memory behind an IPC handle stays writable for all who open it: create it with the "
              "mechanism vmm-fd to seal it");
}

Result<void> CudaPayload::freeze(const std::function<Result<void>()>& record) {
  STRATA_ASSIGN(const struct stat facts, os_.fstat(plane_.fd()));
  STRATA_ASSIGN(const Fd read_only, os_.reopen(plane_.fd(), O_RDONLY));
  STRATA_TRY(memory_->set_access(Access::read_only));
  auto frozen = record();
  if (frozen) frozen = map_header(read_only.get(), PROT_READ);
  if (frozen) frozen = os_.fchmod(plane_.fd(), facts.st_mode & 0555);
  if (!frozen) {
    (void)map_header(plane_.fd(), PROT_READ | PROT_WRITE);
    (void)memory_->set_access(Access::read_write);
  }
  return frozen;
}

void CudaPayload::describe(Handle& handle) const {
  handle.mechanism = exported_.mechanism;
  handle.device_uuid = exported_.device_uuid;
  handle.allocation_bytes = exported_.allocation_bytes;
  handle.driver_version = exported_.driver_version;
}

}  // namespace strata::inline v0_1
