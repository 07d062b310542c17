// The hash that sealing records and verify() compares: XXH3-128 (xxHash), canonical byte order.
//   Source:   Y. Collet, xxHash 0.8; it finds accidents. It is no proof against an adversary who
//             may choose the bytes.
//   Cost:     as fast as memory is read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

using ContentHash = std::array<std::uint8_t, 16>;

inline constexpr std::uint32_t kHashXxh3 = 1;

ContentHash content_hash(std::span<const std::byte> bytes);

// The same of bytes that come piece by piece, in order.
class ContentHasher {
 public:
  ContentHasher();
  ~ContentHasher();
  ContentHasher(const ContentHasher&) = delete;
  ContentHasher& operator=(const ContentHasher&) = delete;
  void add(std::span<const std::byte> bytes);
  ContentHash hash() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string hash_text(const ContentHash& hash);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
