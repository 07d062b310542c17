// A Segment is a piece of memory with a name, attached to this process: a value that any backend
// makes and that says nothing of how it was made.
//
//     STRATA_ASSIGN(Segment mesh, catalog.attach("shm:mesh", {.access = Access::read_only}));
//     std::span<const std::byte> bytes = mesh.host_bytes().value();
//
//   Threads:  const members any; the others one thread at a time, over all that share it.
//   Lifetime: it stands for one attachment, which heaps, lock contexts and what share() gives hold
//             too: it ends with the last of them, in any order, also at the end of the process.
//             That never removes the named thing unless its lifetime, fixed at creation, is
//             `process` or `last_detach`. Spans end with the attachment. A forked child may go on
//             using what it inherits; to lock it joins as a participant of its own, at its first
//             sync_context(), and holds nothing of what its parent holds.
//   Errors:   see each function; nothing changes on failure. Where a kind of memory cannot do
//             what is asked: unsupported, and why.
//   Cost:     host_bytes() is three loads; no virtual call stands on the data path.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/segment/capabilities.h"
#include "strata/segment/content.h"
#include "strata/segment/device_span.h"
#include "strata/segment/durability.h"
#include "strata/segment/handle.h"
#include "strata/segment/header.h"
#include "strata/segment/placement_report.h"
#include "strata/segment/uri.h"
#include "strata/sync/sync_context.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

struct Attachment;
class Participant;
struct AttachmentParts;

class Segment {
 public:
  // For backends.
  static Result<Segment> adopt(AttachmentParts parts);
  // For a backend that has just made the segment: its size is the one it was made with.
  static Segment adopt_new(AttachmentParts parts);
  Segment(Segment&&) noexcept = default;
  Segment& operator=(Segment&&) noexcept = default;
  ~Segment() = default;

  // Another value over the same attachment, for whoever must not depend on this one.
  Segment share() const { return Segment(attachment_); }

  const SegmentUri& uri() const;
  const IdentityBlock& identity() const;
  SegmentState state() const;
  Access access() const;
  const Capabilities& capabilities() const;

  // Bytes that may be read and, by writers, written: the size at attach or the last refresh().
  std::uint64_t payload_bytes() const;
  std::uint64_t max_bytes() const;
  // What the payload is, as its creator said; an array has its shape of now. Errors: corrupt;
  // unsupported where it was made by a later version that says more.
  Result<Content> content() const;

  // The payload. Errors: unsupported where the host cannot address it: see read().
  Result<std::span<const std::byte>> host_bytes() const;
  // The payload, to write to. Errors: failed_precondition when attached read-only or sealed.
  Result<std::span<std::byte>> writable_bytes();
  // The payload as a device addresses it. Errors: unsupported where none can.
  Result<DeviceSpan> device_bytes() const;

  // Copies out of and into the payload, of every kind of memory, also where the host cannot address
  // it. What is written is seen by others at the latest after settle().
  // Errors: invalid_argument beyond payload_bytes(); for writing as writable_bytes().
  Result<void> read(std::uint64_t offset_bytes, std::span<std::byte> into) const;
  Result<void> write(std::uint64_t offset_bytes, std::span<const std::byte> from);
  // Returns once everything that this process has written is seen by whoever attaches, and is as
  // durable as the memory is. publish() and seal() do it by themselves.
  Result<void> settle();

  // Sees growth by others. Returns the new size. Errors: corrupt where header and file disagree.
  Result<std::uint64_t> refresh();
  // Grows the payload, zero filled, placed as at creation or by the last migration; never shrinks.
  // Addresses stay.
  // Errors: invalid_argument over max_bytes; exhausted with the limit and what is free;
  // timed_out when another process changes the segment meanwhile.
  Result<void> grow(std::uint64_t new_payload_bytes,
                    Deadline deadline = Deadline::after_ms(10'000));
  // Moves the pages to where `placement` says, while processes stay attached; what grows later
  // follows. A sealed segment is moved too, but cannot record where its pages are then.
  // Errors: as grow(); exhausted; failed_precondition where pages stayed behind, with the reasons,
  // or a strict placement was not met: the segment is usable as before, with the others moved.
  Result<PlacementReport> migrate(const Placement& placement,
                                  Deadline deadline = Deadline::after_ms(10'000));

  // Ends Publish::by_creator: attachers see everything written before.
  Result<void> publish();
  // Hashes the content, records it, and makes the segment read-only for everybody and ever.
  // Errors: failed_precondition while another process is attached for writing.
  Result<void> seal(Deadline deadline = Deadline::after_ms(10'000));
  // Compares a sealed segment's content with its recorded hash. Errors: corrupt with both
  // hashes; failed_precondition when it is not sealed.
  Result<void> verify() const;

  // Makes bytes durable. Errors: unsupported where memory is volatile.
  Result<void> persist(std::uint64_t offset_bytes, std::uint64_t bytes);
  Durability& durability() const;

  // This process's participant, joined at the first call and anew in a forked child. A reader joins
  // where it may write to the header's file. It ends with the attachment.
  // Errors: exhausted; permission_denied; failed_precondition once sealed.
  Result<const Participant*> participant();
  // What the locks and rings of sync/ need to know of this process, as a participant of the
  // present generation; it holds the attachment. Errors: as participant().
  Result<SyncContext> sync_context();
  std::atomic<std::uint64_t>& generation() const;
  // The segment's own lock, in its header: for an array or other bytes that have no place for one.
  // Strata never takes it. Free in a new segment; it ends with the attachment.
  // Errors: permission_denied where it is not attached for writing, as a lock is written to;
  // failed_precondition once sealed.
  Result<RobustMutex*> mutex();

  // The handle that lets another process attach, and the descriptors that go with it.
  // Errors: not_found where the pool that the segment is in has lost its name.
  Result<Handle> handle() const;
  std::vector<int> descriptors() const;

 private:
  friend Attachment& attachment_of(const Segment& segment);
  explicit Segment(std::shared_ptr<Attachment> attachment) : attachment_(std::move(attachment)) {}

  Status in_context(const char* verb, const Status& status) const;
  Result<void> check_range(std::uint64_t offset_bytes, std::uint64_t bytes) const;
  Result<void> check_writable() const;
  Result<void> write_seal();
  Result<void> seal_alone();

  std::shared_ptr<Attachment> attachment_;
};

// What a Segment is made of, for backends and tools (segment/attachment.h).
Attachment& attachment_of(const Segment& segment);
// The raw page; its bytes are hostile.
HeaderPage& header_page_of(const Segment& segment);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
