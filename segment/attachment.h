// An Attachment is what a Segment stands for in this process: header plane, payload and lease. It
// is counted: segments, heaps, lock contexts and exported views hold it, and it ends with the last
// of them, whatever the order. Users never see it.
//   Threads:  const members any. Whoever changes the segment holds `changing`.
//   Lifetime: ends with its last holder; then the payload is unmapped, the lease released, and
//             `on_detach` run.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "segment/header_plane.h"
#include "segment/payload.h"
#include "strata/segment/capabilities.h"
#include "strata/segment/uri.h"

namespace strata::inline v0_1 {

// What a backend hands over. `identity` is a checked copy.
struct AttachmentParts {
  SegmentUri uri;
  IdentityBlock identity;
  std::unique_ptr<HeaderPlane> plane;
  std::unique_ptr<Payload> payload;
  // How many payload bytes exist, where the backend has just asked.
  std::optional<std::uint64_t> existing_bytes = {};
  // Runs after everything is unmapped and every lock is released.
  std::function<void()> on_detach = {};
};

struct Attachment {
  explicit Attachment(AttachmentParts&& parts);
  ~Attachment();
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

  // The backends, and the door to the kernel where they own it: what is destroyed last.
  std::shared_ptr<const void> world;
  const Capabilities* capabilities;
  const SegmentUri uri;
  const IdentityBlock identity;
  std::function<void()> on_detach;
  std::unique_ptr<HeaderPlane> plane;
  std::unique_ptr<Payload> payload;
  std::byte* host = nullptr;  // null where the host cannot address the payload
  std::atomic<std::uint64_t> payload_bytes{0};
  std::timed_mutex changing;  // among the threads of this process; the change lock is for others
};

}  // namespace strata::inline v0_1
