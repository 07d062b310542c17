#include "strata/segment/uri.h"

#include <fmt/format.h>

#include "base/printable.h"

namespace strata::inline v0_1 {
namespace {

bool is_name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

// What is wrong with a long one is told by its beginning.
std::string shown(std::string_view text) {
  return printable(text.substr(0, 64)) + (text.size() > 64 ? "…" : "");
}

}  // namespace

Result<void> check_name(std::string_view name) {
  const auto bad = [&](std::string_view why) {
    return fail(Code::invalid_argument,
                fmt::format("segment name '{}': {}; use 1 to {} of A-Z a-z 0-9 . _ -", shown(name),
                            why, kMaxNameBytes));
  };
  if (name.empty()) return bad("is empty");
  if (name.size() > kMaxNameBytes) return bad(fmt::format("has {} bytes", name.size()));
  if (name.front() == '.' || name.front() == '-') {
    return bad(fmt::format("begins with '{}'", name.front()));
  }
  for (char c : name) {
    if (!is_name_byte(c)) {
      return bad(fmt::format("holds '{}'", shown(std::string_view(&c, 1))));
    }
  }
  return {};
}

Result<SegmentUri> SegmentUri::parse(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return fail(Code::invalid_argument,
                fmt::format("'{}': {}; write shm:NAME or pmem:/path/pool#NAME", shown(text), why));
  };
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) return bad("no scheme before a ':'");
  SegmentUri uri;
  uri.scheme = text.substr(0, colon);
  for (char c : uri.scheme) {
    if (c < 'a' || c > 'z') return bad("the scheme must be of a-z");
  }
  std::string_view rest = text.substr(colon + 1);
  // Pool paths may hold '#': the name is what follows the last one.
  if (const std::size_t hash = rest.rfind('#'); hash != std::string_view::npos) {
    uri.container = rest.substr(0, hash);
    if (uri.container.empty()) return bad("no path before the '#'");
    if (uri.container.find('\0') != std::string::npos) return bad("the path holds a NUL");
    rest = rest.substr(hash + 1);
  }
  uri.name = rest;
  if (auto checked = check_name(uri.name); !checked) return unexpected(checked.error());
  return uri;
}

std::string SegmentUri::to_string() const {
  return container.empty() ? fmt::format("{}:{}", scheme, name)
                           : fmt::format("{}:{}#{}", scheme, container, name);
}

}  // namespace strata::inline v0_1
