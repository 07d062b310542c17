#include "python/core/element.h"

#include "strata/segment/content.h"

namespace strata::python {
namespace {

std::string letter_of(const ElementType& type) {
  switch (type.kind) {
    case 'b': return "?";
    case 'i': return type.bytes == 1 ? "b" : type.bytes == 2 ? "h" : type.bytes == 4 ? "i" : "l";
    case 'u': return type.bytes == 1 ? "B" : type.bytes == 2 ? "H" : type.bytes == 4 ? "I" : "L";
    case 'f': return type.bytes == 2 ? "e" : type.bytes == 4 ? "f" : type.bytes == 8 ? "d" : "g";
    case 'c': return type.bytes == 8 ? "Zf" : type.bytes == 16 ? "Zd" : "Zg";
    case 'S': return std::to_string(type.bytes) + "s";
    case 'U': return std::to_string(type.bytes / 4) + "w";
    default: return std::to_string(type.bytes) + "x";
  }
}

}  // namespace

Result<Element> describe_element(const std::string& typestr) {
  STRATA_ASSIGN(const ElementType type, parse_element(typestr));
  std::string format = letter_of(type);
  // Of the machine's own order nothing is said: memoryview knows single letters alone. Where an
  // order is given, a long has 4 bytes.
  if (type.order == '>') format = format == "l" ? ">q" : format == "L" ? ">Q" : ">" + format;
  return Element{.typestr = typestr, .bytes = type.bytes, .format = std::move(format)};
}

Result<interop::ElementType> exchanged_element(const Element& element) {
  using interop::ElementKind;
  STRATA_ASSIGN(const ElementType type, parse_element(element.typestr));
  const auto bits = static_cast<std::uint32_t>(type.bytes * 8);
  if (type.order != '>') {
    switch (type.kind) {
      case 'b': return interop::ElementType{ElementKind::boolean, bits};
      case 'i': return interop::ElementType{ElementKind::signed_integer, bits};
      case 'u': return interop::ElementType{ElementKind::unsigned_integer, bits};
      case 'f': return interop::ElementType{ElementKind::floating, bits};
      case 'c': return interop::ElementType{ElementKind::complex, bits};
      default: break;
    }
  }
  return fail(Code::unsupported, "dtype \"" + element.typestr +
                                     "\" has no name in DLPack and in the CUDA array interface: "
                                     "share the array as numbers in the machine's byte order");
}

}  // namespace strata::python
