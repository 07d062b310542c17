// The content of a segment, whatever kind of memory it is: in place where the host can address it,
// and else by write(), settle() and read().
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "strata/segment/segment.h"
#include "tests/skip.h"

namespace strata::inline v0_1::test {

inline Result<void> put_content(Segment& segment, std::span<const std::byte> content) {
  if (segment.capabilities().has(Capability::host_bytes)) {
    STRATA_ASSIGN(const auto bytes, segment.writable_bytes());
    std::copy(content.begin(), content.end(), bytes.begin());
    return {};
  }
  STRATA_TRY(segment.write(0, content));
  return segment.settle();
}

inline Result<std::vector<std::byte>> content_of(const Segment& segment) {
  std::vector<std::byte> content(segment.payload_bytes());
  if (segment.capabilities().has(Capability::host_bytes)) {
    STRATA_ASSIGN(const auto bytes, segment.host_bytes());
    std::copy(bytes.begin(), bytes.end(), content.begin());
    return content;
  }
  STRATA_TRY(segment.read(0, content));
  return content;
}

}  // namespace strata::inline v0_1::test

// Leaves a case that this kind of memory cannot pass, with the backend's own reason; and one whose
// forked children use the backend.
#define STRATA_NEEDS(capability)                                         \
  if (const auto can = backend.capabilities().require(capability); !can) \
  SKIP_TEST(can.error().message())
#define STRATA_NEEDS_CHILDREN() \
  if (const std::string why = fixture->why_no_children(); !why.empty()) SKIP_TEST(why)
