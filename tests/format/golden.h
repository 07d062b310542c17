// Bytes held against a committed file: a change of layout is a change of version, never an
// accident.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

#include "tests/catch.h"

namespace strata::inline v0_1 {

// Compares, or with STRATA_WRITE_GOLDEN=FOLDER writes the file anew.
inline void check_golden(std::span<const std::byte> bytes, const std::string& name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (const char* folder = std::getenv("STRATA_WRITE_GOLDEN")) {
    std::ofstream(std::string(folder) + "/" + name, std::ios::binary) << text;
  }
  std::ifstream file("tests/format/" + name, std::ios::binary);
  const std::string golden{std::istreambuf_iterator<char>(file), {}};
  REQUIRE(golden.size() == text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (golden[i] != text[i]) FAIL(name << " differs at byte " << i);
  }
}

}  // namespace strata::inline v0_1
