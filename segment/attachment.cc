#include "segment/attachment.h"

namespace strata::inline v0_1 {
namespace {

const Capabilities kEverything;

}  // namespace

Attachment::Attachment(AttachmentParts&& parts)
    : capabilities(&kEverything),
      uri(std::move(parts.uri)),
      identity(parts.identity),
      on_detach(std::move(parts.on_detach)),
      plane(std::move(parts.plane)),
      payload(std::move(parts.payload)) {
  if (const auto start = payload->host_bytes()) host = *start;
}

Attachment::~Attachment() {
  // In this order: the header page may lie in the payload's mapping, and what runs at the end
  // looks for other users, by their locks.
  payload.reset();
  plane.reset();
  if (on_detach) on_detach();
}

}  // namespace strata::inline v0_1
