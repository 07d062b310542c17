#include "strata/segment/content.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/printable.h"
#include "strata/segment/header.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::size_t kTypeBytes = sizeof(ContentBlock::type);
constexpr std::size_t kElementBytes = sizeof(ContentBlock::element);
constexpr std::uint64_t kMaxItem = 0x7fff'ffff;  // as NumPy counts them
constexpr std::uint64_t kCharacterBytes = 4;     // of kind U

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

Unexpected no_element(std::string_view text, std::string_view why) {
  return fail(Code::invalid_argument, fmt::format("element type \"{}\": {}", printable(text), why));
}

// Whether a number of that kind can have so many bytes.
bool has_size(char kind, std::uint64_t bytes) {
  switch (kind) {
    case 'b': return bytes == 1;
    case 'i':
    case 'u': return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
    case 'f': return bytes == 2 || bytes == 4 || bytes == 8 || bytes == 16;
    case 'c': return bytes == 8 || bytes == 16 || bytes == 32;
    default: return bytes != 0;
  }
}

// Kind and size, without the byte order.
Result<ElementType> parse_kind(std::string_view text, std::string_view whole) {
  if (text.empty() || std::string_view("biufcSUV").find(text.front()) == std::string_view::npos) {
    return no_element(whole, "its kind is none of b, i, u, f, c, S, U, V");
  }
  ElementType type{.order = '|', .kind = text.front(), .bytes = 0};
  const std::string_view digits = text.substr(1);
  if (digits.empty() || digits.front() == '0') return no_element(whole, "it has no size");
  std::uint64_t count = 0;
  for (const char c : digits) {
    if (!is_digit(c)) return no_element(whole, "its size is no number");
    count = count * 10 + static_cast<std::uint64_t>(c - '0');
    if (count > kMaxItem) return no_element(whole, "its size is over 2^31");
  }
  if (!has_size(type.kind, count)) return no_element(whole, "no such number has this size");
  type.bytes = type.kind == 'U' ? count * kCharacterBytes : count;
  return type;
}

bool has_order(const ElementType& type) {
  return type.kind != 'S' && type.kind != 'V' && type.bytes != 1;
}

constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kNames{{
    {"bool", "|b1"},
    {"int8", "|i1"},
    {"int16", "<i2"},
    {"int32", "<i4"},
    {"int64", "<i8"},
    {"uint8", "|u1"},
    {"uint16", "<u2"},
    {"uint32", "<u4"},
    {"uint64", "<u8"},
    {"float16", "<f2"},
    {"float32", "<f4"},
    {"float64", "<f8"},
    {"complex64", "<c8"},
    {"complex128", "<c16"},
}};

Result<void> check_type(std::string_view type) {
  const auto is_allowed = [](char c) {
    return is_letter(c) || is_digit(c) || c == '.' || c == '_' || c == '-';
  };
  if (type.size() < kTypeBytes && is_letter(type.front()) &&
      std::all_of(type.begin(), type.end(), is_allowed)) {
    return {};
  }
  return fail(Code::invalid_argument,
              fmt::format("content type \"{}\": takes up to {} letters, digits, '.', '_' and '-', "
                          "a letter first",
                          printable(type), kTypeBytes - 1));
}

// The bytes of the dimensions from `first` on; nothing where they are more than can be counted.
std::optional<std::uint64_t> product(const Content& content, std::size_t first,
                                     std::uint64_t item_bytes) {
  const auto begin = content.shape.begin() + static_cast<std::ptrdiff_t>(first);
  if (std::find(begin, content.shape.end(), 0u) != content.shape.end()) return 0;
  std::uint64_t bytes = item_bytes;
  for (auto each = begin; each != content.shape.end(); ++each) {
    if (__builtin_mul_overflow(bytes, *each, &bytes)) return std::nullopt;
  }
  return bytes;
}

}  // namespace

Result<ElementType> parse_element(std::string_view element) {
  if (element.size() >= kElementBytes) {
    return no_element(element, fmt::format("at most {} characters", kElementBytes - 1));
  }
  if (element.empty()) return no_element(element, "it is empty");
  STRATA_ASSIGN(ElementType type, parse_kind(element.substr(1), element));
  type.order = element.front();
  const bool is_right =
      has_order(type) ? type.order == '<' || type.order == '>' : type.order == '|';
  if (is_right) return type;
  return no_element(element, has_order(type) ? "its byte order is neither '<' nor '>'"
                                             : "it has no byte order: '|'");
}

Result<std::string> spell_element(std::string_view text) {
  for (const auto& [name, element] : kNames) {
    if (text == name) return std::string(element);
  }
  constexpr std::string_view kOrders = "<>=|";
  const bool says_order = !text.empty() && kOrders.find(text.front()) != std::string_view::npos;
  const std::string_view rest = says_order ? text.substr(1) : text;
  STRATA_ASSIGN(const ElementType type, parse_kind(rest, text));
  char order = says_order ? text.front() : '=';
  if (!has_order(type)) order = '|';
  if (order == '=') order = '<';
  std::string element = order + std::string(rest);
  STRATA_TRY(parse_element(element));
  return element;
}

Result<std::uint64_t> Content::bytes() const {
  if (!type.empty()) STRATA_TRY(check_type(type));
  if (shape.size() > kMaxDimensions) {
    return fail(Code::invalid_argument,
                fmt::format("shape: {} dimensions, at most {}", shape.size(), kMaxDimensions));
  }
  if (element.empty()) {
    if (shape.empty()) return 0;
    return fail(Code::invalid_argument, "shape: without an element type it says nothing");
  }
  STRATA_ASSIGN(const ElementType item, parse_element(element));
  if (const auto all = product(*this, 0, item.bytes)) return *all;
  return fail(Code::invalid_argument,
              fmt::format("shape {}: takes more than 2^64 bytes", fmt::join(shape, "x")));
}

Content Content::with_payload(std::uint64_t payload_bytes) const {
  const auto item = parse_element(element);
  if (!item || shape.empty()) return *this;
  const std::uint64_t row_bytes = product(*this, 1, item->bytes).value_or(0);
  if (row_bytes == 0) return *this;
  Content other = *this;
  other.shape.front() = payload_bytes / row_bytes;
  return other;
}

std::string Content::to_string() const {
  if (is_plain()) return "bytes";
  std::string text(type.empty() ? kArrayType : std::string_view(type));
  if (!element.empty()) text += " of " + element;
  if (!shape.empty()) text += fmt::format(", {}", fmt::join(shape, "x"));
  return text;
}

}  // namespace strata::inline v0_1
