// What the payload of a segment is, so that its name is enough to attach to it as what it was made
// as: an array with its elements and shape, or one of Strata's own things.
//
//     Segment mesh = catalog.create("shm:mesh", {.content = {.element = "<f8", .shape = {9, 3}}});
//     Content same = catalog.attach("shm:mesh")->content().value();  // "array" of <f8, 9x3
//
//   Threads:  a value.
//   Errors:   invalid_argument for what no header takes, with the rule.
//   Persists: in the header page, as docs/format/header.md says; it never changes.
// Elements are described, not converted: nobody reads or writes them by it but their users.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "strata/base/result.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

inline constexpr std::size_t kMaxDimensions = 16;
inline constexpr std::string_view kArrayType = "array";

struct Content {
  // "array", "strata.Lock"; up to 63 letters, digits, '.', '_' and '-', a letter first. Empty:
  // plain bytes, or an array where there is an element. An array's elements begin with the payload.
  std::string type = {};
  // As NumPy spells a dtype: see ElementType. Empty: nothing is said of elements.
  std::string element = {};
  // Of the elements, in C order, the last dimension without gaps; none: one element.
  std::vector<std::uint64_t> shape = {};

  // Whether nothing is said: bytes, of which their users know more.
  bool is_plain() const { return type.empty() && element.empty() && shape.empty(); }
  // What the elements take; 0 without. Errors: invalid_argument where type, element or shape cannot
  // be, or take more than 2^64 bytes.
  Result<std::uint64_t> bytes() const;
  // The same array with as many whole rows (all dimensions but the first) as `payload_bytes` hold.
  // Unchanged where it has no rows, or rows of no bytes.
  Content with_payload(std::uint64_t payload_bytes) const;
  // "array of <f8, 1000x1000", "strata.Lock", "bytes".
  std::string to_string() const;

  bool operator==(const Content&) const = default;
};

// An element type taken apart: byte order, kind, size. The kinds, as in NumPy:
//   b  bool (b1)              i, u  integers (1, 2, 4, 8 bytes)
//   f  floats (2, 4, 8, 16)   c     complex numbers (8, 16, 32)
//   S  bytes, V  anything     U     characters of 4 bytes, of which the number counts: "<U3" has 12
// The order is '<' or '>', and '|' where there is none: one byte, S and V. f16 and c32 are what the
// machine has as long double.
struct ElementType {
  char order = '|';
  char kind = 'V';
  std::uint64_t bytes = 1;
};

// Takes the spelling of headers alone ("<f8", "|u1"). Errors: invalid_argument.
Result<ElementType> parse_element(std::string_view element);
// The spelling of headers for what people write: also "f8", "=f8", "u1", "float64", "bool".
// Errors: invalid_argument.
Result<std::string> spell_element(std::string_view text);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
