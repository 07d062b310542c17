// One segment: its facts, its bytes, its life.
#include "c/catalog_options.h"
#include "c/handles.h"

using namespace strata;
using namespace strata::c;

namespace {

constexpr bool is_same(Capability ours, strata_capability of_c) {
  return static_cast<int>(ours) == static_cast<int>(of_c);
}
static_assert(is_same(Capability::host_bytes, STRATA_CAN_HOST_BYTES));
static_assert(is_same(Capability::device_bytes, STRATA_CAN_DEVICE_BYTES));
static_assert(is_same(Capability::grow, STRATA_CAN_GROW));
static_assert(is_same(Capability::migrate, STRATA_CAN_MIGRATE));
static_assert(is_same(Capability::placement, STRATA_CAN_PLACEMENT));
static_assert(is_same(Capability::huge_pages, STRATA_CAN_HUGE_PAGES));
static_assert(is_same(Capability::persist, STRATA_CAN_PERSIST));
static_assert(is_same(Capability::heap, STRATA_CAN_HEAP));
static_assert(is_same(Capability::copy_on_write, STRATA_CAN_COPY_ON_WRITE));
static_assert(is_same(Capability::anonymous, STRATA_CAN_ANONYMOUS));
static_assert(static_cast<int>(SegmentKind::shm) == STRATA_KIND_SHM);
static_assert(static_cast<int>(SegmentKind::pmem) == STRATA_KIND_PMEM);
static_assert(static_cast<int>(SegmentKind::cuda) == STRATA_KIND_CUDA);
static_assert(static_cast<int>(SegmentState::blank) == STRATA_STATE_BLANK);
static_assert(static_cast<int>(SegmentState::initialising) == STRATA_STATE_INITIALISING);
static_assert(static_cast<int>(SegmentState::ready) == STRATA_STATE_READY);
static_assert(static_cast<int>(SegmentState::sealed) == STRATA_STATE_SEALED);
static_assert(static_cast<int>(SegmentState::retired) == STRATA_STATE_RETIRED);

}  // namespace

void strata_segment_close(strata_segment* segment) {
  if (check_handle(segment, "") && segment->is_lent) return;
  close_handle(segment);
}

int strata_segment_share(const strata_segment* segment, strata_segment** shared) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_TRY(check_pointer(shared, "shared"));
    *shared = new strata_segment(segment->segment.share());
    return {};
  });
}

const char* strata_segment_uri(const strata_segment* segment) {
  const int code =
      guarded(__func__, [&]() -> Result<void> { return check_handle(segment, "segment"); });
  return code == STRATA_OK ? segment->uri.c_str() : nullptr;
}

int strata_segment_get_info(const strata_segment* segment, strata_segment_info* info) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_TRY(check_report(info, "info"));
    const Segment& of = segment->segment;
    strata_segment_info found{};
    found.kind = of.identity().kind;
    found.state = static_cast<std::uint32_t>(of.state());
    found.access = static_cast<std::uint32_t>(of.access());
    found.lifetime = of.identity().lifetime;
    copy_uuid(found.uuid, of.identity().uuid);
    found.payload_bytes = of.payload_bytes();
    found.max_bytes = of.max_bytes();
    found.page_bytes = of.identity().page_bytes;
    found.generation = of.generation().load(std::memory_order_acquire);
    fill_report(info, found);
    return {};
  });
}

int strata_segment_get_content(const strata_segment* segment, strata_content* content) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_TRY(check_report(content, "content"));
    STRATA_ASSIGN(const Content told, segment->segment.content());
    strata_content found{};
    copy_text(found.type, told.type);
    copy_text(found.element, told.element);
    found.dimensions = static_cast<std::uint32_t>(told.shape.size());
    std::copy(told.shape.begin(), told.shape.end(), found.shape);
    fill_report(content, found);
    return {};
  });
}

int strata_segment_require(const strata_segment* segment, int capability) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    if (capability < 0 || static_cast<std::size_t>(capability) >= kCapabilityCount)
      return is_too_large("capability", static_cast<std::uint64_t>(capability));
    return segment->segment.capabilities().require(static_cast<Capability>(capability));
  });
}

int strata_segment_bytes(const strata_segment* segment, const void** bytes,
                         uint64_t* payload_bytes) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_TRY(check_pointer(bytes, "bytes"));
    STRATA_ASSIGN(const std::span<const std::byte> payload, segment->segment.host_bytes());
    *bytes = payload.data();
    if (payload_bytes != nullptr) *payload_bytes = payload.size();
    return {};
  });
}

int strata_segment_writable_bytes(strata_segment* segment, void** bytes, uint64_t* payload_bytes) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_TRY(check_pointer(bytes, "bytes"));
    STRATA_ASSIGN(const std::span<std::byte> payload, segment->segment.writable_bytes());
    *bytes = payload.data();
    if (payload_bytes != nullptr) *payload_bytes = payload.size();
    return {};
  });
}

int strata_segment_read(const strata_segment* segment, uint64_t offset_bytes, void* into,
                        uint64_t bytes) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_ASSIGN(const std::span<std::byte> to, bytes_at(into, bytes, "into"));
    return segment->segment.read(offset_bytes, to);
  });
}

int strata_segment_write(strata_segment* segment, uint64_t offset_bytes, const void* from,
                         uint64_t bytes) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_ASSIGN(const std::span<const std::byte> source, bytes_at(from, bytes, "from"));
    return segment->segment.write(offset_bytes, source);
  });
}

int strata_segment_settle(strata_segment* segment) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    return segment->segment.settle();
  });
}

int strata_segment_refresh(strata_segment* segment, uint64_t* payload_bytes) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_ASSIGN(const std::uint64_t now, segment->segment.refresh());
    if (payload_bytes != nullptr) *payload_bytes = now;
    return {};
  });
}

int strata_segment_grow(strata_segment* segment, uint64_t new_payload_bytes, uint64_t timeout_ms) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    return segment->segment.grow(new_payload_bytes, Deadline::after_ms(timeout_ms));
  });
}

int strata_segment_migrate(strata_segment* segment, const strata_placement* placement,
                           uint64_t timeout_ms) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_TRY(check_pointer(placement, "placement"));
    STRATA_ASSIGN(const Placement to, placement_of(placement));
    STRATA_TRY(segment->segment.migrate(to, Deadline::after_ms(timeout_ms)));
    return {};
  });
}

int strata_segment_publish(strata_segment* segment) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    return segment->segment.publish();
  });
}

int strata_segment_seal(strata_segment* segment, uint64_t timeout_ms) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    return segment->segment.seal(Deadline::after_ms(timeout_ms));
  });
}

int strata_segment_verify(const strata_segment* segment) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    return segment->segment.verify();
  });
}

int strata_segment_persist(strata_segment* segment, uint64_t offset_bytes, uint64_t bytes) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    return segment->segment.persist(offset_bytes, bytes);
  });
}
