// A TypeTag is what a named object says of its type: a name for people and a hash of its layout.
// Two programs agree on an object where both agree on both.
//
// The name is the compiler's spelling of T; a program that others share objects with (or that is
// built by another compiler) gives its type a name and a version of its own:
//
//     template <> struct strata::TypeTraits<Mesh> {
//       static constexpr std::string_view name = "app.Mesh";
//       static constexpr std::uint64_t version = 2;  // changes with the layout
//     };
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

template <typename T>
struct TypeTraits {
 private:
  static constexpr std::string_view spelling() {
    const std::string_view function = __PRETTY_FUNCTION__;
    // "… spelling() [with T = X; std::string_view = …]" (GCC) or "… [T = X]" (Clang)
    const auto from = function.find("T = ") + 4;
    const auto semicolon = function.find(';', from);
    return function.substr(
        from, (semicolon == std::string_view::npos ? function.rfind(']') : semicolon) - from);
  }
  // Strata's own types are the same ones in every version that keeps their layout: the inline
  // namespace is no part of their names.
  struct Plain {
    std::array<char, spelling().size()> text{};
    std::size_t bytes = 0;
  };
  static constexpr Plain plain() {
    constexpr std::string_view kWith = "strata::v0_1::";
    constexpr std::string_view kWithout = "strata::";
    Plain name;
    for (std::string_view rest = spelling(); !rest.empty();) {
      const bool is_ours = rest.starts_with(kWith);
      for (const char character : is_ours ? kWithout : rest.substr(0, 1))
        name.text[name.bytes++] = character;
      rest.remove_prefix(is_ours ? kWith.size() : 1);
    }
    return name;
  }
  static constexpr Plain kPlain = plain();

 public:
  static constexpr std::string_view name{kPlain.text.data(), kPlain.bytes};
  static constexpr std::uint64_t version = 0;
};

struct TypeTag {
  std::string_view name;
  std::uint64_t bytes;
  std::uint32_t align_bytes;
  std::uint64_t layout_hash;  // of size, alignment, version and the whole name
};

// FNV-1a, which a compiler can work out.
constexpr TypeTag make_type_tag(std::string_view name, std::uint64_t bytes,
                                std::uint32_t align_bytes, std::uint64_t version) {
  constexpr std::uint64_t kPrime = 0x100'0000'01B3;
  std::uint64_t hash = 0xCBF2'9CE4'8422'2325;
  for (const std::uint64_t part : {bytes, std::uint64_t{align_bytes}, version}) {
    for (int shift = 0; shift < 64; shift += 8)
      hash = (hash ^ (part >> shift & 0xFF)) * kPrime;
  }
  for (const char character : name)
    hash = (hash ^ static_cast<unsigned char>(character)) * kPrime;
  return {name, bytes, align_bytes, hash};
}

template <typename T>
inline constexpr TypeTag kTypeTag = make_type_tag(TypeTraits<T>::name, sizeof(T), alignof(T),
                                                  TypeTraits<T>::version);

template <typename T>
constexpr const TypeTag& type_tag() {
  return kTypeTag<T>;
}

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
