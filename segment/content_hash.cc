#include "strata/segment/content_hash.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <cstring>

namespace strata::inline v0_1 {
namespace {

ContentHash canonical_form(XXH128_hash_t value) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, value);
  ContentHash hash;
  static_assert(sizeof canonical.digest == sizeof hash);
  std::memcpy(hash.data(), canonical.digest, sizeof hash);
  return hash;
}

}  // namespace

ContentHash content_hash(std::span<const std::byte> bytes) {
  return canonical_form(XXH3_128bits(bytes.data(), bytes.size()));
}

struct ContentHasher::State {
  XXH3_state_t* of_xxhash = XXH3_createState();
  ~State() { XXH3_freeState(of_xxhash); }
};

ContentHasher::ContentHasher() : state_(std::make_unique<State>()) {
  XXH3_128bits_reset(state_->of_xxhash);
}

ContentHasher::~ContentHasher() = default;

void ContentHasher::add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->of_xxhash, bytes.data(), bytes.size());
}

ContentHash ContentHasher::hash() const {
  return canonical_form(XXH3_128bits_digest(state_->of_xxhash));
}

std::string hash_text(const ContentHash& hash) {
  std::string text;
  for (std::uint8_t byte : hash)
    text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace strata::inline v0_1
