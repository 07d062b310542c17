#include "strata/gpu/device_copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "gpu/cuda_payload.h"
#include "gpu/device_source.h"
#include "gpu/driver.h"
#include "gpu/staging.h"
#include "strata/gpu/host_registration.h"

namespace strata::inline v0_1::cuda {
namespace {

constexpr std::uint64_t kPieceBytes = MiB(4);

// One side of a copy: what of the segment takes part, and how it can be reached.
struct Side {
  const Segment& segment;
  std::uint64_t offset_bytes = 0;
  CudaPayload* device = nullptr;    // of device memory
  const std::byte* host = nullptr;  // start of memory that the host addresses

  CuDevicePointer address() const { return device->address() + offset_bytes; }
  const std::byte* readable() const { return host + offset_bytes; }
  // Whether the caller may write to it was checked.
  std::byte* writable() const { return const_cast<std::byte*>(host) + offset_bytes; }
  bool is_within(std::uint64_t bytes) const {
    const std::uint64_t size = segment.payload_bytes();
    return offset_bytes <= size && bytes <= size - offset_bytes;
  }
};

Side side_of(const Segment& segment, std::uint64_t offset_bytes) {
  Side side{segment, offset_bytes};
  if (const auto payload = CudaPayload::of(segment)) {
    side.device = *payload;
  } else if (const auto bytes = segment.host_bytes()) {
    side.host = bytes->data();
  }
  return side;
}

Result<void> check_range(const Side& side, std::uint64_t bytes) {
  if (side.is_within(bytes)) return {};
  return fail(Code::invalid_argument,
              fmt::format("{} bytes at {} are not within the {} of {}", bytes, side.offset_bytes,
                          side.segment.payload_bytes(), side.segment.uri().to_string()));
}

Result<void> check(const Side& from, const Side& to, std::uint64_t bytes) {
  STRATA_TRY(check_range(from, bytes));
  STRATA_TRY(check_range(to, bytes));
  if (to.segment.access() == Access::read_only) {
    const bool is_sealed = to.segment.state() == SegmentState::sealed;
    return fail(Code::failed_precondition,
                fmt::format("{} is {}", to.segment.uri().to_string(),
                            is_sealed ? "sealed" : "attached read-only"));
  }
  const bool is_one = from.segment.identity().uuid == to.segment.identity().uuid;
  const bool overlaps =
      from.offset_bytes < to.offset_bytes + bytes && to.offset_bytes < from.offset_bytes + bytes;
  if (!is_one || !overlaps || bytes == 0) return {};
  return fail(Code::invalid_argument,
              fmt::format("bytes {} and {} of {} overlap within {} bytes", from.offset_bytes,
                          to.offset_bytes, to.segment.uri().to_string(), bytes));
}

CopyOnStream begun(CopyPath path, std::uint64_t bytes) {
  return {.path = path, .state = CopyState::begun, .bytes = bytes};
}

CopyOnStream done(CopyPath path, std::uint64_t bytes, std::string why = {}) {
  return {.path = path, .state = CopyState::done, .bytes = bytes, .why = std::move(why)};
}

// Both are mapped into one device.
Result<CopyOnStream> copy_on_device(const Side& from, const Side& to, std::uint64_t bytes,
                                    CuStream stream) {
  Device& device = to.device->device();
  STRATA_ASSIGN(const ContextScope scope, device.enter());
  STRATA_TRY(
      STRATA_CUDA(device.driver(), cuMemcpyAsync, to.address(), from.address(), bytes, stream));
  const bool is_peer = from.device->exported().device_uuid != to.device->exported().device_uuid;
  return begun(is_peer ? CopyPath::peer : CopyPath::on_device, bytes);
}

Result<void> wait_for_stream(Device& device, CuStream stream) {
  STRATA_ASSIGN(const ContextScope scope, device.enter());
  return STRATA_CUDA(device.driver(), cuStreamSynchronize, stream);
}

// They are mapped into two devices, neither of which can use the other's mapping. The one that is
// read from copies ahead into pinned memory, from which the other takes it.
Result<CopyOnStream> copy_between_devices(const Side& from, const Side& to, std::uint64_t bytes,
                                          CuStream stream) {
  Device& source = from.device->device();
  Device& target = to.device->device();
  STRATA_TRY(wait_for_stream(source, stream));
  DeviceSource pieces(StagingRing::of(source), from.segment.uri().to_string(), from.address(),
                      bytes);
  STRATA_ASSIGN(const ContextScope scope, target.enter());
  for (std::uint64_t at = 0; at < bytes; at += pieces.granule_bytes()) {
    const std::uint64_t count = std::min(pieces.granule_bytes(), bytes - at);
    STRATA_ASSIGN(const LentBytes piece, pieces.lend(at, count));
    STRATA_TRY(
        STRATA_CUDA(target.driver(), cuMemcpyHtoD, to.address() + at, piece.bytes.data(), count));
  }
  return done(CopyPath::staged, bytes,
              fmt::format("one is mapped into {}, the other into {}: attach one of them to the "
                          "other's device (AttachOptions::device), where that can reach it",
                          source.describe(), target.describe()));
}

// Mapped, as far as the copy goes.
std::shared_ptr<HostRegistration> registration_of(const Side& side, std::uint64_t bytes) {
  auto registration = HostRegistration::find(side.segment);
  if (registration && registration->bytes() < side.offset_bytes + bytes) registration.reset();
  return registration;
}

std::string not_mapped(const Side& host) {
  return fmt::format("{} is not mapped to a device: map_to_device() makes a direct way",
                     host.segment.uri().to_string());
}

Result<CopyOnStream> copy_to_host(const Side& from, const Side& to, std::uint64_t bytes,
                                  CuStream stream) {
  Device& device = from.device->device();
  if (registration_of(to, bytes)) {
    STRATA_ASSIGN(const ContextScope scope, device.enter());
    STRATA_TRY(STRATA_CUDA(device.driver(), cuMemcpyDtoHAsync, to.writable(), from.address(), bytes,
                           stream));
    return begun(CopyPath::pinned, bytes);
  }
  STRATA_TRY(wait_for_stream(device, stream));
  STRATA_TRY(StagingRing::of(device)->copy_to_host(from.address(), {to.writable(), bytes}));
  return done(CopyPath::staged, bytes, not_mapped(to));
}

Result<CopyOnStream> copy_from_host(const Side& from, const Side& to, std::uint64_t bytes,
                                    CuStream stream) {
  Device& device = to.device->device();
  if (registration_of(from, bytes)) {
    STRATA_ASSIGN(const ContextScope scope, device.enter());
    STRATA_TRY(STRATA_CUDA(device.driver(), cuMemcpyHtoDAsync, to.address(), from.readable(), bytes,
                           stream));
    return begun(CopyPath::pinned, bytes);
  }
  STRATA_TRY(wait_for_stream(device, stream));
  STRATA_TRY(StagingRing::of(device)->copy_to_device(to.address(), {from.readable(), bytes}));
  return done(CopyPath::staged, bytes, not_mapped(from));
}

// At least one of them is known by read() and write() alone.
Result<CopyOnStream> copy_by_pieces(const Side& from, Segment& to, std::uint64_t to_offset_bytes,
                                    std::uint64_t bytes) {
  std::vector<std::byte> buffer(std::min(kPieceBytes, bytes));
  for (std::uint64_t at = 0; at < bytes; at += buffer.size()) {
    const std::span piece(buffer.data(), std::min<std::uint64_t>(buffer.size(), bytes - at));
    STRATA_TRY(from.segment.read(from.offset_bytes + at, piece));
    STRATA_TRY(to.write(to_offset_bytes + at, piece));
  }
  return done(CopyPath::staged, bytes, "neither host nor device can address both of them");
}

Result<CopyOnStream> copy_checked(const Side& from, const Side& to, Segment& target,
                                  std::uint64_t bytes, CuStream stream) {
  if (from.device && to.device) {
    const bool is_one = &from.device->device() == &to.device->device();
    return is_one ? copy_on_device(from, to, bytes, stream)
                  : copy_between_devices(from, to, bytes, stream);
  }
  if (from.device && to.host) return copy_to_host(from, to, bytes, stream);
  if (from.host && to.device) return copy_from_host(from, to, bytes, stream);
  // The stream may still be reading or writing one of them.
  for (const Side* const side : {&from, &to}) {
    if (side->device) STRATA_TRY(wait_for_stream(side->device->device(), stream));
    const auto mapped = side->host ? HostRegistration::find(side->segment) : nullptr;
    if (mapped) STRATA_TRY(wait_for_stream(mapped->device(), stream));
  }
  if (!from.host || !to.host) return copy_by_pieces(from, target, to.offset_bytes, bytes);
  std::memcpy(to.writable(), from.readable(), bytes);
  return done(CopyPath::host, bytes);
}

}  // namespace

std::string_view copy_path_name(CopyPath path) {
  switch (path) {
    case CopyPath::on_device: return "on the device";
    case CopyPath::peer: return "between devices";
    case CopyPath::pinned: return "pinned";
    case CopyPath::staged: return "staged";
    case CopyPath::host: return "on the host";
  }
  return "";
}

Result<CopyOnStream> copy(const Segment& from, Segment& to, CuStream stream, CopyRange range) {
  const Side source = side_of(from, range.from_offset_bytes);
  const Side target = side_of(to, range.to_offset_bytes);
  const auto copied = [&]() -> Result<CopyOnStream> {
    STRATA_TRY(check_range(source, 0));
    const std::uint64_t bytes =
        range.bytes.value_or(from.payload_bytes() - range.from_offset_bytes);
    STRATA_TRY(check(source, target, bytes));
    if (bytes == 0) return CopyOnStream{};
    return copy_checked(source, target, to, bytes, stream);
  }();
  if (copied) return copied;
  return unexpected(copied.error().in(
      fmt::format("copy {} to {}", from.uri().to_string(), to.uri().to_string())));
}

}  // namespace strata::inline v0_1::cuda
