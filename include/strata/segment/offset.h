// Offset<T> is a place inside a segment: bytes from the start of its payload. It is what shared
// structures hold instead of pointers, since every process maps the segment elsewhere.
//   Errors:   it came from shared memory, so it may be anything: resolve() checks bounds and
//             alignment before it becomes a pointer. 0 is "nowhere".
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

template <typename T>
struct Offset {
  std::uint64_t bytes = 0;

  explicit operator bool() const { return bytes != 0; }
  bool operator==(const Offset&) const = default;
};

// The `count` objects at `offset` in `payload`, or null where they are not wholly inside or not
// aligned.
template <typename T>
T* resolve(std::span<std::byte> payload, Offset<T> offset, std::uint64_t count = 1) {
  if (!offset || offset.bytes % alignof(T) != 0) return nullptr;
  if (offset.bytes > payload.size() || count > (payload.size() - offset.bytes) / sizeof(T)) {
    return nullptr;
  }
  return reinterpret_cast<T*>(payload.data() + offset.bytes);
}

template <typename T>
const T* resolve(std::span<const std::byte> payload, Offset<T> offset, std::uint64_t count = 1) {
  return resolve<T>(std::span(const_cast<std::byte*>(payload.data()), payload.size()), offset,
                    count);
}

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
