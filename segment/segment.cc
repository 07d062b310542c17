#include "segment/segment.h"

#include <fmt/format.h>

#include <cstring>

#include "segment/content_hash.h"

namespace strata {

namespace {

// Records the hash and, when that is on the medium, the state.
Result<void> write_seal(HeaderPage& header, Durability& durability,
                        std::span<const std::byte> payload) {
  SealBlock seal{};
  seal.sealed_bytes = payload.size();
  seal.hash_algorithm = kHashXxh3;
  seal.hash = content_hash(payload);
  sign(seal);
  std::memcpy(&header.seal, &seal, sizeof seal);
  durability.flush(payload.data(), payload.size());
  durability.flush(&header.seal, sizeof seal);
  STRATA_TRY(durability.drain());
  auto& state = header.live.state;
  state.value.store(static_cast<std::uint32_t>(SegmentState::sealed), std::memory_order_release);
  return durability.persist(&state, sizeof state);
}

}  // namespace

Segment::Segment(SegmentUri uri, IdentityBlock identity, std::unique_ptr<Mapping> mapping)
    : uri_(std::move(uri)), identity_(identity), mapping_(std::move(mapping)) {}

Segment::Segment(Segment&&) noexcept = default;

Segment& Segment::operator=(Segment&& other) noexcept {
  // In this order: a participant uses the mapping's lock file until its end.
  participant_ = std::move(other.participant_);
  mapping_ = std::move(other.mapping_);
  uri_ = std::move(other.uri_);
  identity_ = other.identity_;
  payload_ = other.payload_;
  payload_bytes_ = other.payload_bytes_;
  return *this;
}

Segment::~Segment() { participant_.reset(); }

Result<Segment> Segment::adopt(SegmentUri uri, IdentityBlock identity,
                               std::unique_ptr<Mapping> mapping) {
  Segment segment(std::move(uri), identity, std::move(mapping));
  if (auto payload = segment.mapping_->host_payload()) segment.payload_ = *payload;
  STRATA_TRY(segment.refresh());
  return segment;
}

Segment Segment::adopt_new(SegmentUri uri, IdentityBlock identity,
                           std::unique_ptr<Mapping> mapping) {
  Segment segment(std::move(uri), identity, std::move(mapping));
  if (auto payload = segment.mapping_->host_payload()) segment.payload_ = *payload;
  segment.payload_bytes_ = identity.created_payload_bytes;
  return segment;
}

SegmentState Segment::state() const {
  const std::uint32_t raw = header().live.state.value.load(std::memory_order_acquire);
  return raw <= static_cast<std::uint32_t>(SegmentState::retired) ? static_cast<SegmentState>(raw)
                                                                  : SegmentState::blank;
}

Result<std::span<const std::byte>> Segment::host_bytes() const {
  if (payload_ == nullptr) return unexpected(mapping_->host_payload().error());
  return std::span<const std::byte>(payload_, payload_bytes_);
}

Result<std::span<std::byte>> Segment::writable_bytes() {
  if (payload_ == nullptr) return unexpected(mapping_->host_payload().error());
  if (access() == Access::read_only) {
    return fail(Code::failed_precondition,
                fmt::format("write {}: it is {}", uri_.to_string(),
                            state() == SegmentState::sealed ? "sealed" : "attached read-only"));
  }
  return std::span(payload_, payload_bytes_);
}

Result<std::uint64_t> Segment::refresh() {
  const std::uint64_t claimed = header().live.payload_bytes.value.load(std::memory_order_acquire);
  if (claimed == payload_bytes_ && claimed != 0) return claimed;
  STRATA_ASSIGN(std::uint64_t existing, mapping_->existing_bytes());
  if (claimed > existing) {  // it may have grown after attach looked
    STRATA_ASSIGN(existing, mapping_->existing_bytes());
  }
  if (claimed < identity_.created_payload_bytes || claimed > identity_.max_bytes ||
      claimed > existing) {
    return fail(
        Code::corrupt,
        fmt::format("{}: header says {} bytes; created with {}, may grow to {}, and {} exist",
                    uri_.to_string(), claimed, identity_.created_payload_bytes, identity_.max_bytes,
                    existing));
  }
  payload_bytes_ = claimed;
  return claimed;
}

Result<void> Segment::grow(std::uint64_t new_payload_bytes, Deadline deadline) {
  const auto context = [&](const Status& status) {
    return unexpected(
        status.in(fmt::format("grow {} to {}", uri_.to_string(), format_bytes(new_payload_bytes))));
  };
  if (access() != Access::read_write) {
    return context(Status(Code::failed_precondition, "it is not attached for writing"));
  }
  if (new_payload_bytes > identity_.max_bytes) {
    return context(Status(Code::invalid_argument, fmt::format("it was created to hold at most {}",
                                                              format_bytes(identity_.max_bytes))));
  }
  auto lock = ChangeLock::take(mapping_->os(), mapping_->lock_range(), deadline);
  if (!lock) return context(lock.error());
  const auto now = refresh();
  if (!now) return context(now.error());
  if (state() == SegmentState::sealed) {
    return context(Status(Code::failed_precondition, "it is sealed"));
  }
  if (new_payload_bytes <= *now) return {};
  if (auto extended = mapping_->extend(*now, new_payload_bytes); !extended) {
    return context(extended.error());
  }
  // Size last: whoever sees it may touch every byte below it.
  auto& size = header().live.payload_bytes;
  size.value.store(new_payload_bytes, std::memory_order_release);
  payload_bytes_ = new_payload_bytes;
  if (auto done = durability().persist(&size, sizeof size); !done) return context(done.error());
  return {};
}

Result<void> Segment::publish() {
  if (access() != Access::read_write) {
    return fail(Code::failed_precondition, "publish: only its creator can");
  }
  auto expected = static_cast<std::uint32_t>(SegmentState::initialising);
  // The content before the state, on the medium as well.
  STRATA_TRY(durability().persist(payload_, payload_bytes_));
  // State last: an attacher that sees `ready` may trust every byte before it.
  if (!header().live.state.value.compare_exchange_strong(
          expected, static_cast<std::uint32_t>(SegmentState::ready), std::memory_order_release)) {
    return fail(Code::failed_precondition,
                fmt::format("publish {}: it is {} already", uri_.to_string(),
                            state_name(static_cast<SegmentState>(expected))));
  }
  return durability().persist(&header().live.state, sizeof header().live.state);
}

Result<void> Segment::seal(Deadline deadline) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in("seal " + uri_.to_string()));
  };
  if (state() == SegmentState::sealed && access() == Access::read_only) return {};
  if (access() != Access::read_write) {
    return context(Status(Code::failed_precondition, "it is not attached for writing"));
  }
  if (auto may = mapping_->check_may_freeze(); !may) return context(may.error());
  Os& os = mapping_->os();
  const LockRange range = mapping_->lock_range();
  auto lock = ChangeLock::take(os, range, deadline);
  if (!lock) return context(lock.error());
  // Turning our own shared lock into the only one proves that nobody else writes, and keeps
  // new writers out until the state says `sealed`.
  const auto alone =
      os.try_lock_byte(range.fd, range.base_bytes + kWriterByte, LockKind::exclusive);
  if (!alone) return context(alone.error());
  if (!*alone) {
    std::vector<Holder> writers = find_holders(os, range);
    std::erase_if(writers, [&](const Holder& holder) {
      return !holder.is_writer || holder.pid == os.identity().pid;
    });
    return context(
        Status(Code::failed_precondition, "attached for writing by " + describe(writers)));
  }
  const auto written = [&]() -> Result<void> {
    STRATA_TRY(refresh());
    return write_seal(header(), durability(), {payload_, payload_bytes_});
  }();
  if (!written) {
    // A writer among writers again: others would wait for ever.
    (void)os.try_lock_byte(range.fd, range.base_bytes + kWriterByte, LockKind::shared);
    return context(written.error());
  }
  if (auto frozen = mapping_->freeze(); !frozen) return context(frozen.error());
  // From here on we are a reader among readers.
  STRATA_TRY(os.try_lock_byte(range.fd, range.base_bytes + kReaderByte, LockKind::shared));
  STRATA_TRY(os.unlock_byte(range.fd, range.base_bytes + kWriterByte));
  return {};
}

Result<void> Segment::verify() const {
  if (state() != SegmentState::sealed) {
    return fail(Code::failed_precondition,
                fmt::format("verify {}: it is {}, and only a sealed segment has a hash",
                            uri_.to_string(), state_name(state())));
  }
  auto seal = read_seal_block(header());
  if (!seal) return unexpected(seal.error().in("verify " + uri_.to_string()));
  STRATA_ASSIGN(const auto bytes, host_bytes());
  if (seal->sealed_bytes != bytes.size()) {
    return fail(Code::corrupt, fmt::format("verify {}: sealed with {} bytes, has {}",
                                           uri_.to_string(), seal->sealed_bytes, bytes.size()));
  }
  const ContentHash hash = content_hash(bytes);
  if (hash != seal->hash) {
    return fail(Code::corrupt,
                fmt::format("verify {}: sealed with hash {}, its bytes give {}", uri_.to_string(),
                            hash_text(seal->hash), hash_text(hash)));
  }
  return {};
}

Result<void> Segment::persist(std::uint64_t offset_bytes, std::uint64_t bytes) {
  Durability& durability = mapping_->durability();
  if (durability.is_volatile()) {
    return fail(Code::unsupported,
                fmt::format("persist {}: {} memory is volatile", uri_.to_string(), uri_.scheme));
  }
  if (offset_bytes > payload_bytes_ || bytes > payload_bytes_ - offset_bytes) {
    return fail(Code::invalid_argument,
                fmt::format("persist {}: {} bytes at {} are not within its {}", uri_.to_string(),
                            bytes, offset_bytes, payload_bytes_));
  }
  return durability.persist(payload_ + offset_bytes, bytes);
}

Result<Participant*> Segment::participant() {
  if (!participant_ || participant_->token() == 0) {
    if (access() != Access::read_write) {
      return fail(Code::failed_precondition,
                  fmt::format("join {}: it is not attached for writing", uri_.to_string()));
    }
    if (participant_) {
      return fail(Code::failed_precondition,
                  fmt::format("join {}: a forked child has to attach anew", uri_.to_string()));
    }
    STRATA_ASSIGN(participant_, Participant::join(mapping_->os(), mapping_->lock_range(),
                                                  header().live.next_participant.value));
  }
  return participant_.get();
}

Result<SyncContext> Segment::sync_context() {
  STRATA_ASSIGN(const Participant* const self, participant());
  return SyncContext(mapping_->os(), *self, generation().load(std::memory_order_acquire));
}

Result<Handle> Segment::handle() const {
  Handle handle;
  handle.kind = static_cast<SegmentKind>(identity_.kind);
  handle.access = access();
  handle.uuid = identity_.uuid;
  handle.payload_offset_bytes = identity_.payload_offset_bytes;
  handle.payload_bytes = payload_bytes_;
  handle.max_bytes = identity_.max_bytes;
  handle.generation = header().live.generation.value.load(std::memory_order_relaxed);
  const ProcessIdentity& self = mapping_->os().identity();
  handle.exporter_pid = static_cast<std::uint32_t>(self.pid);
  handle.exporter_start_time_ticks = self.start_time_ticks;
  handle.exporter_pid_namespace = self.pid_namespace;
  handle.boot_id = self.boot_id;
  handle.descriptor_count = static_cast<std::uint32_t>(mapping_->descriptors().size());
  if (uri_.name.empty()) return handle;  // the descriptors are the memory
  SegmentUri locator = uri_;
  if (!locator.container.empty()) {
    // The receiver has another working directory.
    auto path = mapping_->os().real_path(locator.container);
    if (!path) return unexpected(path.error().in("hand over " + uri_.to_string()));
    locator.container = std::move(*path);
  }
  handle.locator = locator.to_string();
  return handle;
}

}  // namespace strata
