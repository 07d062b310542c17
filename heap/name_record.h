// What the readers and the writers of names share: the words of records. Internal to heap/.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/crc32c.h"
#include "heap/layout.h"
#include "strata/base/bytes.h"
#include "strata/base/result.h"

namespace strata::inline v0_1 {

inline constexpr std::uint64_t kCellOffsetMask = (std::uint64_t{1} << 48) - 1;

inline std::uint32_t record_crc(heap_layout::NameRecord head, std::string_view name,
                                std::string_view type) {
  head.crc32c = 0;
  std::uint32_t crc = crc32c(std::as_bytes(std::span(&head, 1)));
  crc = crc32c(std::as_bytes(std::span(name)), crc);
  return crc32c(std::as_bytes(std::span(type)), crc);
}

inline std::uint64_t type_at(const heap_layout::NameRecord& head) {
  return align_up(head.object + head.bytes, 8);
}

inline Result<void> check_object_name(std::string_view name) {
  if (name.empty() || name.size() > heap_layout::kMaxObjectNameBytes) {
    return fail(Code::invalid_argument, fmt::format("object name of {} bytes: 1 to {} are allowed",
                                                    name.size(), heap_layout::kMaxObjectNameBytes));
  }
  return {};
}

}  // namespace strata::inline v0_1
