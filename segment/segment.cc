#include "strata/segment/segment.h"

#include <fmt/format.h>

#include <cstring>

#include "segment/attachment.h"
#include "strata/base/bytes.h"
#include "strata/segment/content_hash.h"

namespace strata::inline v0_1 {
namespace {

// Of a payload that the host cannot address, and that comes through a buffer.
constexpr std::uint64_t kChunkBytes = MiB(4);
constexpr std::uint64_t kLongestThreadWaitNs = 3'600'000'000'000;  // within what chrono can tell

Result<ContentHash> hash_content(const Segment& segment) {
  if (const auto bytes = segment.host_bytes()) return content_hash(*bytes);
  ContentHasher hasher;
  std::vector<std::byte> chunk(std::min(kChunkBytes, segment.payload_bytes()));
  for (std::uint64_t at = 0; at < segment.payload_bytes(); at += chunk.size()) {
    const std::span piece(chunk.data(),
                          std::min<std::uint64_t>(chunk.size(), segment.payload_bytes() - at));
    STRATA_TRY(segment.read(at, piece));
    hasher.add(piece);
  }
  return hasher.hash();
}

// One thread of this process changes the segment at a time.
Result<std::unique_lock<std::timed_mutex>> lock_out_threads(Attachment& attachment,
                                                            Deadline deadline) {
  std::unique_lock lock(attachment.changing, std::defer_lock);
  const std::uint64_t wait_ns = std::min(deadline.remaining_ns(), kLongestThreadWaitNs);
  if (lock.try_lock_for(std::chrono::nanoseconds(wait_ns))) return lock;
  return fail(Code::timed_out, "another thread of this process is changing the segment");
}

}  // namespace

Attachment& attachment_of(const Segment& segment) { return *segment.attachment_; }

HeaderPage& header_page_of(const Segment& segment) { return attachment_of(segment).plane->page(); }

Result<Segment> Segment::adopt(AttachmentParts parts) {
  auto existing = parts.existing_bytes ? Result<std::uint64_t>(*parts.existing_bytes)
                                       : parts.payload->existing_bytes();
  Segment segment(std::make_shared<Attachment>(std::move(parts)));
  STRATA_TRY(existing);
  const Attachment& a = *segment.attachment_;
  const auto bytes = a.plane->payload_bytes(a.identity, *existing);
  if (bytes) {
    segment.attachment_->payload_bytes = *bytes;
  } else {  // it may have grown after attach looked
    STRATA_TRY(segment.refresh());
  }
  return segment;
}

Segment Segment::adopt_new(AttachmentParts parts) {
  Segment segment(std::make_shared<Attachment>(std::move(parts)));
  segment.attachment_->payload_bytes = segment.identity().created_payload_bytes;
  return segment;
}

const SegmentUri& Segment::uri() const { return attachment_->uri; }
const IdentityBlock& Segment::identity() const { return attachment_->identity; }
SegmentState Segment::state() const { return attachment_->plane->state(); }
Access Segment::access() const { return attachment_->plane->access(); }
const Capabilities& Segment::capabilities() const { return *attachment_->capabilities; }
std::uint64_t Segment::max_bytes() const { return attachment_->identity.max_bytes; }
Durability& Segment::durability() const { return attachment_->payload->durability(); }

std::uint64_t Segment::payload_bytes() const {
  return attachment_->payload_bytes.load(std::memory_order_acquire);
}

std::atomic<std::uint64_t>& Segment::generation() const {
  return attachment_->plane->page().live.generation.value;
}

std::vector<int> Segment::descriptors() const { return attachment_->payload->descriptors(); }

Result<Content> Segment::content() const {
  auto content =
      read_content_block(attachment_->plane->page(), attachment_->identity, payload_bytes());
  if (!content) return unexpected(content.error().in(uri().to_string()));
  return content;
}

Status Segment::in_context(const char* verb, const Status& status) const {
  return status.in(fmt::format("{} {}", verb, uri().to_string()));
}

Result<void> Segment::check_range(std::uint64_t offset_bytes, std::uint64_t bytes) const {
  const std::uint64_t size = payload_bytes();
  if (offset_bytes <= size && bytes <= size - offset_bytes) return {};
  return fail(Code::invalid_argument,
              fmt::format("{} bytes at {} are not within its {}", bytes, offset_bytes, size));
}

Result<void> Segment::check_writable() const {
  if (access() != Access::read_only) return {};
  return fail(
      Code::failed_precondition,
      fmt::format("it is {}", state() == SegmentState::sealed ? "sealed" : "attached read-only"));
}

Result<std::span<const std::byte>> Segment::host_bytes() const {
  const Attachment& a = *attachment_;
  if (a.host == nullptr) return unexpected(a.payload->host_bytes().error());
  return std::span<const std::byte>(a.host, payload_bytes());
}

Result<std::span<std::byte>> Segment::writable_bytes() {
  const Attachment& a = *attachment_;
  if (a.host == nullptr) return unexpected(a.payload->host_bytes().error());
  if (auto may = check_writable(); !may) return unexpected(in_context("write", may.error()));
  return std::span(a.host, payload_bytes());
}

Result<DeviceSpan> Segment::device_bytes() const {
  auto span = attachment_->payload->device_bytes();
  if (!span) return unexpected(in_context("address", span.error()));
  return span;
}

Result<void> Segment::read(std::uint64_t offset_bytes, std::span<std::byte> into) const {
  const Attachment& a = *attachment_;
  auto done = check_range(offset_bytes, into.size());
  if (done && a.host != nullptr && !into.empty()) {
    std::memcpy(into.data(), a.host + offset_bytes, into.size());
  } else if (done && a.host == nullptr) {
    done = a.payload->read(offset_bytes, into);
  }
  if (!done) return unexpected(in_context("read", done.error()));
  return {};
}

Result<void> Segment::write(std::uint64_t offset_bytes, std::span<const std::byte> from) {
  const Attachment& a = *attachment_;
  auto done = check_writable();
  if (done) done = check_range(offset_bytes, from.size());
  if (done && a.host != nullptr && !from.empty()) {
    std::memcpy(a.host + offset_bytes, from.data(), from.size());
  } else if (done && a.host == nullptr) {
    done = a.payload->write(offset_bytes, from);
  }
  if (!done) return unexpected(in_context("write", done.error()));
  return {};
}

Result<void> Segment::settle() {
  auto done = attachment_->payload->settle(payload_bytes());
  if (!done) return unexpected(in_context("settle", done.error()));
  return {};
}

Result<std::uint64_t> Segment::refresh() {
  Attachment& a = *attachment_;
  const auto now = [&]() -> Result<std::uint64_t> {
    const std::uint64_t known = payload_bytes();
    const std::uint64_t claimed =
        a.plane->page().live.payload_bytes.value.load(std::memory_order_acquire);
    if (claimed == known && claimed != 0) return claimed;
    STRATA_ASSIGN(const std::uint64_t existing, a.payload->existing_bytes());
    return a.plane->payload_bytes(a.identity, existing);
  }();
  if (!now) return unexpected(now.error().in(uri().to_string()));
  a.payload_bytes.store(*now, std::memory_order_release);
  return now;
}

Result<void> Segment::grow(std::uint64_t new_payload_bytes, Deadline deadline) {
  Attachment& a = *attachment_;
  const auto grown = [&]() -> Result<void> {
    if (access() != Access::read_write) {
      return fail(Code::failed_precondition, "it is not attached for writing");
    }
    if (new_payload_bytes > max_bytes()) {
      return fail(Code::invalid_argument,
                  fmt::format("it was created to hold at most {}", format_bytes(max_bytes())));
    }
    STRATA_ASSIGN(const auto threads, lock_out_threads(a, deadline));
    STRATA_ASSIGN(const ChangeLock lock, a.plane->lock_for_change(deadline));
    STRATA_ASSIGN(const std::uint64_t now, refresh());
    if (state() == SegmentState::sealed) return fail(Code::failed_precondition, "it is sealed");
    if (new_payload_bytes <= now) return {};
    STRATA_TRY(a.capabilities->require(Capability::grow));
    STRATA_TRY(a.payload->extend(now, new_payload_bytes));
    // Size last: whoever sees it may touch every byte below it.
    auto& size = a.plane->page().live.payload_bytes;
    size.value.store(new_payload_bytes, std::memory_order_release);
    a.payload_bytes.store(new_payload_bytes, std::memory_order_release);
    return durability().persist(&size, sizeof size);
  }();
  if (grown) return {};
  return unexpected(grown.error().in(
      fmt::format("grow {} to {}", uri().to_string(), format_bytes(new_payload_bytes))));
}

Result<PlacementReport> Segment::migrate(const Placement& placement, Deadline deadline) {
  Attachment& a = *attachment_;
  auto moved = [&]() -> Result<PlacementReport> {
    STRATA_TRY(a.capabilities->require(Capability::migrate));
    STRATA_ASSIGN(const auto threads, lock_out_threads(a, deadline));
    if (access() != Access::read_write) {
      // It cannot be locked, nor written to: sealed, it holds still by itself.
      if (state() != SegmentState::sealed) {
        return fail(Code::failed_precondition, "it is not attached for writing");
      }
      STRATA_ASSIGN(PlacementReport report, a.payload->migrate(placement, payload_bytes()));
      report.notes.emplace_back("it is sealed: `strata info` goes on showing where its pages were");
      return report;
    }
    STRATA_ASSIGN(const ChangeLock lock, a.plane->lock_for_change(deadline));
    STRATA_ASSIGN(const std::uint64_t bytes, refresh());
    STRATA_ASSIGN(PlacementReport report, a.payload->migrate(placement, bytes));
    record_migration(a.plane->page(), placement);
    store(report, a.plane->page().placement);
    return report;
  }();
  if (!moved) return unexpected(in_context("migrate", moved.error()));
  return moved;
}

Result<void> Segment::publish() {
  HeaderPlane& plane = *attachment_->plane;
  const auto published = [&]() -> Result<void> {
    if (access() != Access::read_write) {
      return fail(Code::failed_precondition, "only its creator can");
    }
    // The content before the state, on the medium as well.
    STRATA_TRY(settle());
    auto& state = plane.page().live.state;
    auto expected = static_cast<std::uint32_t>(SegmentState::initialising);
    // State last: an attacher that sees `ready` may trust every byte before it.
    if (!state.value.compare_exchange_strong(
            expected, static_cast<std::uint32_t>(SegmentState::ready), std::memory_order_release)) {
      return fail(Code::failed_precondition,
                  fmt::format("it is {} already", state_name(static_cast<SegmentState>(expected))));
    }
    return durability().persist(&state, sizeof state);
  }();
  if (!published) return unexpected(in_context("publish", published.error()));
  return {};
}

// Hashes what there is, and records it where nobody looks before the state says `sealed`.
Result<void> Segment::write_seal() {
  HeaderPage& page = attachment_->plane->page();
  STRATA_ASSIGN(const std::uint64_t bytes, refresh());
  STRATA_TRY(settle());
  STRATA_ASSIGN(const ContentHash hash, hash_content(*this));
  const SealBlock seal = make_seal_block(bytes, hash);
  std::memcpy(&page.seal, &seal, sizeof seal);
  return durability().persist(&page.seal, sizeof seal);
}

// Nobody else writes, nor begins to.
Result<void> Segment::seal_alone() {
  HeaderPlane& plane = *attachment_->plane;
  STRATA_TRY(write_seal());
  const SegmentState before = state();
  auto& state_word = plane.page().live.state;
  bool is_stored = false;
  auto frozen = attachment_->payload->freeze([&]() -> Result<void> {
    plane.store_state(SegmentState::sealed);
    is_stored = true;
    return durability().persist(&state_word, sizeof state_word);
  });
  if (!frozen && is_stored) {
    plane.store_state(before);
    (void)durability().persist(&state_word, sizeof state_word);
  }
  return frozen;
}

Result<void> Segment::seal(Deadline deadline) {
  if (state() == SegmentState::sealed && access() == Access::read_only) return {};
  HeaderPlane& plane = *attachment_->plane;
  const auto sealed = [&]() -> Result<void> {
    if (access() != Access::read_write) {
      return fail(Code::failed_precondition, "it is not attached for writing");
    }
    STRATA_TRY(attachment_->payload->check_may_freeze());
    STRATA_ASSIGN(const auto threads, lock_out_threads(*attachment_, deadline));
    STRATA_ASSIGN(const ChangeLock lock, plane.lock_for_change(deadline));
    STRATA_TRY(plane.become_only_writer());
    if (auto done = seal_alone(); !done) {
      plane.give_way_to_writers();
      return done;
    }
    plane.stop_writing();
    return {};
  }();
  if (!sealed) return unexpected(in_context("seal", sealed.error()));
  return {};
}

Result<void> Segment::verify() const {
  const auto verified = [&]() -> Result<void> {
    if (state() != SegmentState::sealed) {
      return fail(
          Code::failed_precondition,
          fmt::format("it is {}, and only a sealed segment has a hash", state_name(state())));
    }
    STRATA_ASSIGN(const SealBlock seal, read_seal_block(attachment_->plane->page()));
    if (seal.sealed_bytes != payload_bytes()) {
      return fail(Code::corrupt,
                  fmt::format("sealed with {} bytes, has {}", seal.sealed_bytes, payload_bytes()));
    }
    STRATA_ASSIGN(const ContentHash hash, hash_content(*this));
    if (hash == seal.hash) return {};
    return fail(Code::corrupt, fmt::format("sealed with hash {}, its bytes give {}",
                                           hash_text(seal.hash), hash_text(hash)));
  }();
  if (!verified) return unexpected(in_context("verify", verified.error()));
  return {};
}

Result<void> Segment::persist(std::uint64_t offset_bytes, std::uint64_t bytes) {
  const auto persisted = [&]() -> Result<void> {
    if (durability().is_volatile()) {
      return fail(Code::unsupported, fmt::format("{} memory is volatile", uri().scheme));
    }
    STRATA_TRY(check_range(offset_bytes, bytes));
    return durability().persist(attachment_->host + offset_bytes, bytes);
  }();
  if (!persisted) return unexpected(in_context("persist", persisted.error()));
  return {};
}

Result<const Participant*> Segment::participant() {
  auto joined = attachment_->plane->participant();
  if (!joined) return unexpected(in_context("join", joined.error()));
  return joined;
}

Result<SyncContext> Segment::sync_context() {
  STRATA_ASSIGN(const Participant* const self, participant());
  return SyncContext(attachment_->plane->os(), std::shared_ptr<const Owner>(attachment_, self),
                     generation().load(std::memory_order_acquire));
}

Result<RobustMutex*> Segment::mutex() {
  if (access() == Access::read_write) return &attachment_->plane->page().lock.mutex;
  const bool is_sealed = state() == SegmentState::sealed;
  return unexpected(
      in_context("lock", is_sealed ? Status(Code::failed_precondition,
                                            "it is sealed: nothing in it can be locked any more")
                                   : Status(Code::permission_denied,
                                            "a lock is written to, and it is attached read-only or "
                                            "copy-on-write: attach it for writing")));
}

Result<Handle> Segment::handle() const {
  const IdentityBlock& identity = attachment_->identity;
  Handle handle;
  handle.kind = static_cast<SegmentKind>(identity.kind);
  handle.access = access();
  handle.uuid = identity.uuid;
  handle.payload_offset_bytes = identity.payload_offset_bytes;
  handle.payload_bytes = payload_bytes();
  handle.max_bytes = identity.max_bytes;
  handle.generation = generation().load(std::memory_order_relaxed);
  const ProcessIdentity& self = attachment_->plane->os().identity();
  handle.exporter_pid = static_cast<std::uint32_t>(self.pid);
  handle.exporter_start_time_ticks = self.start_time_ticks;
  handle.exporter_pid_namespace = self.pid_namespace;
  handle.boot_id = self.boot_id;
  handle.descriptor_count = static_cast<std::uint32_t>(descriptors().size());
  attachment_->payload->describe(handle);
  if (uri().name.empty()) return handle;  // the descriptors are the memory
  SegmentUri locator = uri();
  if (!locator.container.empty()) {
    // The receiver has another working directory.
    auto path = attachment_->plane->os().real_path(locator.container);
    if (!path) return unexpected(in_context("hand over", path.error()));
    locator.container = std::move(*path);
  }
  handle.locator = locator.to_string();
  return handle;
}

}  // namespace strata::inline v0_1
