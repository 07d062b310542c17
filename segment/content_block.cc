// What a header says of its payload: written once, read with suspicion.

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "strata/segment/header.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint32_t kKnownRequired = 0;  // none has been needed yet

Unexpected corrupt(std::string_view why) {
  return fail(Code::corrupt, fmt::format("header: what its payload is: {}", why));
}

bool is_blank(const ContentBlock& block) {
  static constexpr ContentBlock kBlank{};
  return std::memcmp(&block, &kBlank, sizeof block) == 0;
}

template <std::size_t N>
bool is_zero_padded(const std::array<char, N>& field) {
  const std::size_t length = padded_text(field).size();
  return length < N && std::all_of(field.begin() + static_cast<std::ptrdiff_t>(length), field.end(),
                                   [](char c) { return c == '\0'; });
}

// The copy as a Content, of the same meaning or none.
Result<Content> content_in(const ContentBlock& block) {
  const std::uint32_t crc =
      crc32c(std::as_bytes(std::span(&block, 1)).first(offsetof(ContentBlock, crc32c)));
  if (block.crc32c != crc) {
    return corrupt(fmt::format("checksum {:08x}, its bytes give {:08x}", block.crc32c, crc));
  }
  if (const std::uint32_t unknown = block.features_required & ~kKnownRequired) {
    return fail(Code::unsupported,
                fmt::format("header: what its payload is: feature bits {:#x} unknown", unknown));
  }
  if (!is_zero_padded(block.type) || !is_zero_padded(block.element)) {
    return corrupt("a text field has no end");
  }
  if (block.dimensions > kMaxDimensions) {
    return corrupt(fmt::format("{} dimensions", block.dimensions));
  }
  const auto end = block.shape.begin() + block.dimensions;
  if (std::any_of(end, block.shape.end(), [](std::uint64_t size) { return size != 0; })) {
    return corrupt("more dimensions than it counts");
  }
  Content content{.type = std::string(padded_text(block.type)),
                  .element = std::string(padded_text(block.element)),
                  .shape = {block.shape.begin(), end}};
  if (content.type.empty()) return corrupt("it has no type");
  return content;
}

// Whether there was no room for another row besides its elements, so that growth brings rows.
bool has_no_room(const Content& content, std::uint64_t bytes, std::uint64_t created_bytes) {
  if (created_bytes == std::max<std::uint64_t>(bytes, 1)) return true;
  return content.with_payload(created_bytes) == content;
}

}  // namespace

Result<ContentBlock> make_content_block(const Content& content) {
  ContentBlock block{};
  if (content.is_plain()) return block;
  STRATA_TRY(content.bytes());
  const std::string_view type = content.type.empty() ? kArrayType : content.type;
  std::copy(type.begin(), type.end(), block.type.begin());
  std::copy(content.element.begin(), content.element.end(), block.element.begin());
  block.dimensions = static_cast<std::uint32_t>(content.shape.size());
  std::copy(content.shape.begin(), content.shape.end(), block.shape.begin());
  sign(block);
  return block;
}

Result<Content> read_content_block(const HeaderPage& page, const IdentityBlock& identity,
                                   std::uint64_t payload_bytes) {
  // One copy first: what is checked below is what the caller gets, whoever writes meanwhile.
  ContentBlock block;
  std::memcpy(&block, &page.content, sizeof block);
  if (is_blank(block)) return Content();
  STRATA_ASSIGN(Content content, content_in(block));
  const auto bytes = content.bytes();
  if (!bytes) return corrupt(bytes.error().message());
  const std::uint64_t created_bytes = identity.created_payload_bytes;
  if (*bytes > created_bytes) {
    return corrupt(fmt::format("{} takes {} bytes, and it was made with {}", content.to_string(),
                               *bytes, created_bytes));
  }
  if (payload_bytes == created_bytes || content.type != kArrayType) return content;
  const bool fits = *bytes <= payload_bytes;
  if (fits && !has_no_room(content, *bytes, created_bytes)) return content;
  return content.with_payload(payload_bytes);
}

}  // namespace strata::inline v0_1
