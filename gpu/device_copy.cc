#include "strata/gpu/device_copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "gpu/cuda_payload.h"
#include "gpu/device_sink.h"
#include "gpu/device_wait.h"
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

// What the caller has asked for.
struct Request {
  std::uint64_t bytes;
  CuStream stream;
  std::uint64_t timeout_ms;
};

// Both are mapped into one device.
Result<CopyOnStream> copy_on_device(const Side& from, const Side& to, const Request& request) {
  Device& device = to.device->device();
  STRATA_ASSIGN(const ContextScope scope, device.enter());
  STRATA_TRY(STRATA_CUDA(device.driver(), cuMemcpyAsync, to.address(), from.address(),
                         request.bytes, request.stream));
  const bool is_peer = from.device->exported().device_uuid != to.device->exported().device_uuid;
  return begun(is_peer ? CopyPath::peer : CopyPath::on_device, request.bytes);
}

Result<void> wait_for_stream(Device& device, const Request& request) {
  STRATA_ASSIGN(const ContextScope scope, device.enter());
  return await_queued(device, request.stream, Deadline::after_ms(request.timeout_ms),
                      "what is on the stream");
}

// Each of the two devices may use the other's mapping: the caller's stream is of either.
Result<void> connect(const Side& from, const Side& to) {
  STRATA_TRY(from.device->let_reach(to.device->device()));
  return to.device->let_reach(from.device->device());
}

// What is queued on the default stream of `first` by now comes before what is queued on that of
// `then` from now on.
Result<void> order_default_streams(Device& first, Device& then) {
  const Driver& driver = first.driver();
  STRATA_ASSIGN(const ContextScope of_first, first.enter());
  CuEvent now = nullptr;
  STRATA_TRY(STRATA_CUDA(driver, cuEventCreate, &now, kEventDisableTiming));
  auto done = STRATA_CUDA(driver, cuEventRecord, now, nullptr);
  if (done) {
    done = [&]() -> Result<void> {
      STRATA_ASSIGN(const ContextScope of_then, then.enter());
      return STRATA_CUDA(driver, cuStreamWaitEvent, nullptr, now, 0);
    }();
  }
  // The driver keeps it until it has passed.
  (void)driver.call().cuEventDestroy(now);
  return done;
}

Result<CopyOnStream> copy_to_peer(const Side& from, const Side& to, const Request& request) {
  Device& target = to.device->device();
  if (!request.stream) STRATA_TRY(order_default_streams(from.device->device(), target));
  STRATA_ASSIGN(const ContextScope scope, target.enter());
  STRATA_TRY(STRATA_CUDA(target.driver(), cuMemcpyAsync, to.address(), from.address(),
                         request.bytes, request.stream));
  return begun(CopyPath::peer, request.bytes);
}

// They are mapped into two devices. Where neither can use the other's mapping, the one that is read
// from copies ahead into pinned memory, from which it goes into that of the other.
Result<CopyOnStream> copy_between_devices(const Side& from, const Side& to,
                                          const Request& request) {
  Device& source = from.device->device();
  Device& target = to.device->device();
  const auto connected = connect(from, to);
  if (connected) return copy_to_peer(from, to, request);
  const std::uint64_t bytes = request.bytes;
  STRATA_TRY(wait_for_stream(source, request));
  DeviceSink sink(StagingRing::of(target), to.address(), request.timeout_ms);
  const auto pass_on = [&](std::uint64_t offset_bytes, std::span<const std::byte> piece) {
    return sink.put(offset_bytes, piece.size(), [&](std::span<std::byte> into) -> Result<void> {
      std::memcpy(into.data(), piece.data(), piece.size());
      return {};
    });
  };
  STRATA_TRY(
      StagingRing::of(source)->read_in_pieces(from.address(), bytes, pass_on, request.timeout_ms));
  STRATA_TRY(sink.finish());
  return done(CopyPath::staged, bytes,
              fmt::format("one is mapped into {}, the other into {}, and they do not reach each "
                          "other's memory ({})",
                          source.describe(), target.describe(), connected.error().message()));
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

Result<CopyOnStream> copy_to_host(const Side& from, const Side& to, const Request& request) {
  Device& device = from.device->device();
  const auto [bytes, stream, timeout_ms] = request;
  if (registration_of(to, bytes)) {
    STRATA_ASSIGN(const ContextScope scope, device.enter());
    STRATA_TRY(STRATA_CUDA(device.driver(), cuMemcpyDtoHAsync, to.writable(), from.address(), bytes,
                           stream));
    return begun(CopyPath::pinned, bytes);
  }
  STRATA_TRY(wait_for_stream(device, request));
  STRATA_TRY(
      StagingRing::of(device)->copy_to_host(from.address(), {to.writable(), bytes}, timeout_ms));
  return done(CopyPath::staged, bytes, not_mapped(to));
}

Result<CopyOnStream> copy_from_host(const Side& from, const Side& to, const Request& request) {
  Device& device = to.device->device();
  const auto [bytes, stream, timeout_ms] = request;
  if (registration_of(from, bytes)) {
    STRATA_ASSIGN(const ContextScope scope, device.enter());
    STRATA_TRY(STRATA_CUDA(device.driver(), cuMemcpyHtoDAsync, to.address(), from.readable(), bytes,
                           stream));
    return begun(CopyPath::pinned, bytes);
  }
  STRATA_TRY(wait_for_stream(device, request));
  STRATA_TRY(
      StagingRing::of(device)->copy_to_device(to.address(), {from.readable(), bytes}, timeout_ms));
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
                                  const Request& request) {
  if (from.device && to.device) {
    const bool is_one = &from.device->device() == &to.device->device();
    return is_one ? copy_on_device(from, to, request) : copy_between_devices(from, to, request);
  }
  if (from.device && to.host) return copy_to_host(from, to, request);
  if (from.host && to.device) return copy_from_host(from, to, request);
  // The stream may still be reading or writing one of them.
  for (const Side* const side : {&from, &to}) {
    if (side->device) STRATA_TRY(wait_for_stream(side->device->device(), request));
    const auto mapped = side->host ? HostRegistration::find(side->segment) : nullptr;
    if (mapped) STRATA_TRY(wait_for_stream(mapped->device(), request));
  }
  if (!from.host || !to.host) return copy_by_pieces(from, target, to.offset_bytes, request.bytes);
  std::memcpy(to.writable(), from.readable(), request.bytes);
  return done(CopyPath::host, request.bytes);
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
    return copy_checked(source, target, to, {bytes, stream, range.timeout_ms});
  }();
  if (copied) return copied;
  return unexpected(copied.error().in(
      fmt::format("copy {} to {}", from.uri().to_string(), to.uri().to_string())));
}

}  // namespace strata::inline v0_1::cuda
