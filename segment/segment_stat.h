// What can be told of a segment without mapping its payload.
#pragma once

#include <cstdint>
#include <optional>

#include "base/status.h"
#include "segment/header.h"
#include "segment/uri.h"

namespace strata {

struct SegmentStat {
  SegmentUri uri;
  IdentityBlock identity{};  // zeros where `problem` is set
  SegmentState state = SegmentState::blank;
  std::uint64_t payload_bytes = 0;
  std::uint64_t committed_bytes = 0;  // memory that it really takes
  std::uint32_t owner_uid = 0;
  std::uint32_t mode = 0;
  bool is_attached = false;
  bool is_attached_for_writing = false;
  bool is_creator_alive = false;
  std::optional<Status> problem;  // why it cannot be attached
  bool is_of_another =
      false;  // it is a second name, or a copy, of the segment that `problem` names
};

}  // namespace strata
