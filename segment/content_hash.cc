#include "segment/content_hash.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <cstring>

namespace strata {

ContentHash content_hash(std::span<const std::byte> bytes) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes.data(), bytes.size()));
  ContentHash hash;
  static_assert(sizeof canonical.digest == sizeof hash);
  std::memcpy(hash.data(), canonical.digest, sizeof hash);
  return hash;
}

std::string hash_text(const ContentHash& hash) {
  std::string text;
  for (std::uint8_t byte : hash)
    text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace strata
