// A Segment is a piece of memory with a name, mapped into this process: a value that any
// backend makes and that says nothing of how it was made.
//
//     STRATA_ASSIGN(Segment mesh, catalog.attach("shm:mesh", {.access = Access::read_only}));
//     std::span<const std::byte> bytes = mesh.host_bytes().value();
//
//   Threads:  const members any; refresh, grow, seal and publish one thread at a time.
//   Lifetime: destruction detaches. It never removes the named thing unless its lifetime, fixed
//             at creation, is `process` or `last_detach`. Spans end with the Segment.
//   Errors:   see each function; nothing changes on failure.
//   Cost:     host_bytes() is two loads; no virtual call stands on the data path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "segment/handle.h"
#include "segment/header.h"
#include "segment/lease.h"
#include "segment/payload.h"
#include "segment/uri.h"
#include "sync/sync_context.h"

namespace strata {

class Segment {
 public:
  // For backends. `identity` is a checked copy.
  static Result<Segment> adopt(SegmentUri uri, IdentityBlock identity,
                               std::unique_ptr<Mapping> mapping);
  // For a backend that has just made the segment: its size is the one it was made with.
  static Segment adopt_new(SegmentUri uri, IdentityBlock identity,
                           std::unique_ptr<Mapping> mapping);
  Segment(Segment&&) noexcept;
  Segment& operator=(Segment&&) noexcept;
  ~Segment();

  const SegmentUri& uri() const { return uri_; }
  const IdentityBlock& identity() const { return identity_; }
  SegmentState state() const;
  Access access() const { return mapping_->access(); }

  // Bytes that may be read and, by writers, written: the size at attach or the last refresh().
  std::uint64_t payload_bytes() const { return payload_bytes_; }
  std::uint64_t max_bytes() const { return identity_.max_bytes; }

  // The payload. Errors: unsupported where the host cannot address it.
  Result<std::span<const std::byte>> host_bytes() const;
  // The payload, to write to. Errors: failed_precondition when attached read-only or sealed.
  Result<std::span<std::byte>> writable_bytes();

  // Sees growth by others. Returns the new size. Errors: corrupt where header and file disagree.
  Result<std::uint64_t> refresh();
  // Grows the payload, zero filled, placed as at creation; never shrinks. Addresses stay.
  // Errors: invalid_argument over max_bytes; exhausted with the limit and what is free;
  // timed_out when another process changes the segment meanwhile.
  Result<void> grow(std::uint64_t new_payload_bytes,
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
  Durability& durability() { return mapping_->durability(); }

  // This process's participant, joined at the first call. Errors: see Participant::join.
  Result<Participant*> participant();
  // What the locks and rings of sync/ need to know of this process, as a participant of the
  // present generation. It ends with this Segment. Errors: as participant().
  Result<SyncContext> sync_context();
  std::atomic<std::uint64_t>& generation() { return header().live.generation.value; }

  // The handle that lets another process attach, and the descriptors that go with it.
  // Errors: not_found where the pool that the segment is in has lost its name.
  Result<Handle> handle() const;
  std::vector<int> descriptors() const { return mapping_->descriptors(); }

  // The raw page, for backends and placement; its bytes are hostile.
  HeaderPage& header() const { return mapping_->header(); }
  Mapping& mapping() const { return *mapping_; }

 private:
  Segment(SegmentUri uri, IdentityBlock identity, std::unique_ptr<Mapping> mapping);

  SegmentUri uri_;
  IdentityBlock identity_;
  std::unique_ptr<Mapping> mapping_;
  std::unique_ptr<Participant> participant_;
  std::byte* payload_ = nullptr;
  std::uint64_t payload_bytes_ = 0;
};

}  // namespace strata
