// Device memory: where it is, copies, and the order between processes.
#include <optional>

#include "c/handles.h"
#include "gpu/cuda_payload.h"
#include "strata/gpu/device_copy.h"

using namespace strata;
using namespace strata::c;

namespace {

constexpr bool is_same(cuda::CopyPath ours, strata_copy_path of_c) {
  return static_cast<int>(ours) == static_cast<int>(of_c);
}
static_assert(is_same(cuda::CopyPath::on_device, STRATA_COPY_ON_DEVICE));
static_assert(is_same(cuda::CopyPath::peer, STRATA_COPY_PEER));
static_assert(is_same(cuda::CopyPath::pinned, STRATA_COPY_PINNED));
static_assert(is_same(cuda::CopyPath::staged, STRATA_COPY_STAGED));
static_assert(is_same(cuda::CopyPath::host, STRATA_COPY_HOST));

cuda::CuStream stream_of(void* stream) { return static_cast<cuda::CuStream>(stream); }

}  // namespace

int strata_segment_device_bytes(const strata_segment* segment, strata_device_span* span) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_TRY(check_report(span, "span"));
    STRATA_ASSIGN(const DeviceSpan found, segment->segment.device_bytes());
    strata_device_span told{};
    told.address = found.address;
    told.bytes = found.bytes;
    copy_uuid(told.device_uuid, found.device_uuid);
    fill_report(span, told);
    return {};
  });
}

int strata_segment_device(const strata_segment* segment, strata_device_info* info) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_TRY(check_report(info, "info"));
    STRATA_ASSIGN(const CudaPayload* const payload, CudaPayload::of(segment->segment));
    const cuda::Device& device = payload->device();
    strata_device_info told{};
    told.ordinal = device.ordinal();
    copy_uuid(told.uuid, device.uuid());
    told.total_bytes = device.total_bytes();
    copy_text(told.name, device.name());
    copy_text(told.pci_address, device.pci_address());
    fill_report(info, told);
    return {};
  });
}

int strata_segment_copy(const strata_segment* from, strata_segment* to,
                        const strata_copy_options* options, strata_copy_report* report) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(from, "from"));
    STRATA_TRY(check_handle(to, "to"));
    if (report != nullptr) STRATA_TRY(check_report(report, "report"));
    STRATA_ASSIGN(const strata_copy_options checked, read_options(options, "options"));
    cuda::CopyRange range;
    range.from_offset_bytes = checked.from_offset_bytes;
    range.to_offset_bytes = checked.to_offset_bytes;
    if (checked.bytes != 0) range.bytes = checked.bytes;
    STRATA_ASSIGN(const cuda::CopyOnStream done,
                  cuda::copy(from->segment, to->segment, stream_of(checked.stream), range));
    if (report == nullptr) return {};
    strata_copy_report told{};
    told.path = static_cast<std::uint32_t>(done.path);
    told.is_done = done.state == cuda::CopyState::done ? 1 : 0;
    told.bytes = done.bytes;
    copy_text(told.why, done.why);
    fill_report(report, told);
    return {};
  });
}

int strata_timeline_open(strata_segment* segment, strata_timeline** timeline) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_TRY(check_pointer(timeline, "timeline"));
    STRATA_ASSIGN(cuda::Timeline opened, cuda::Timeline::open(segment->segment));
    *timeline = new strata_timeline(std::move(opened));
    return {};
  });
}

void strata_timeline_close(strata_timeline* timeline) { close_handle(timeline); }

int strata_timeline_claim(strata_timeline* timeline, uint32_t slot, strata_signaller** signaller) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(timeline, "timeline"));
    STRATA_TRY(check_pointer(signaller, "signaller"));
    STRATA_ASSIGN(cuda::Signaller claimed, timeline->timeline.claim(slot));
    *signaller = new strata_signaller(std::move(claimed));
    return {};
  });
}

int strata_timeline_follow(strata_timeline* timeline, uint32_t slot, uint64_t timeout_ms,
                           strata_follower** follower) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(timeline, "timeline"));
    STRATA_TRY(check_pointer(follower, "follower"));
    STRATA_ASSIGN(cuda::Follower followed,
                  timeline->timeline.follow(slot, Deadline::after_ms(timeout_ms)));
    *follower = new strata_follower(std::move(followed));
    return {};
  });
}

void strata_signaller_close(strata_signaller* signaller) { close_handle(signaller); }

int strata_signaller_signal(strata_signaller* signaller, uint64_t number) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(signaller, "signaller"));
    return signaller->signaller.signal(number);
  });
}

int strata_signaller_signal_on(strata_signaller* signaller, void* stream, uint64_t number) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(signaller, "signaller"));
    return signaller->signaller.signal(stream_of(stream), number);
  });
}

void strata_follower_close(strata_follower* follower) { close_handle(follower); }

int strata_follower_wait(const strata_follower* follower, uint64_t number, uint64_t timeout_ms) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(follower, "follower"));
    return follower->follower.wait(number, Deadline::after_ms(timeout_ms));
  });
}

int strata_follower_is_reached(const strata_follower* follower, uint64_t number, int* is_reached) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(follower, "follower"));
    STRATA_TRY(check_pointer(is_reached, "is_reached"));
    STRATA_ASSIGN(const bool reached, follower->follower.is_reached(number));
    *is_reached = reached ? 1 : 0;
    return {};
  });
}

int strata_follower_wait_on(const strata_follower* follower, void* stream, uint64_t number,
                            uint64_t timeout_ms, strata_pending_wait** pending) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(follower, "follower"));
    STRATA_TRY(check_pointer(pending, "pending"));
    STRATA_ASSIGN(cuda::PendingWait wait, follower->follower.wait(stream_of(stream), number,
                                                                  Deadline::after_ms(timeout_ms)));
    *pending = new strata_pending_wait(std::move(wait));
    return {};
  });
}

int strata_pending_wait_result(const strata_pending_wait* pending, uint64_t timeout_ms) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(pending, "pending"));
    return pending->wait.result(Deadline::after_ms(timeout_ms));
  });
}

void strata_pending_wait_close(strata_pending_wait* pending) { close_handle(pending); }
