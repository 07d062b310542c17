// What can be told of a segment without mapping its payload.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "strata/base/result.h"
#include "strata/segment/content.h"
#include "strata/segment/header.h"
#include "strata/segment/uri.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

// Where device memory is, as its header tells without any driver.
struct DeviceStat {
  std::array<std::uint8_t, 16> uuid{};
  DeviceMechanism mechanism = DeviceMechanism::automatic;
  std::uint64_t allocation_bytes = 0;  // that it takes on the device while anybody is attached
  std::string pci_address = {};        // "0000:3b:00.0"
  bool is_held = false;                // a holder keeps it when nobody else is attached
};

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
  // What the payload is; else why that cannot be told, which keeps nobody from attaching.
  Result<Content> content = Content();
  std::optional<DeviceStat> device;  // of device memory
  std::optional<Status> problem;     // why it cannot be attached
  bool is_of_another =
      false;  // it is a second name, or a copy, of the segment that `problem` names
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
