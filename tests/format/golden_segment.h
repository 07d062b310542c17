// The golden files of shared segments, put where a backend of their own finds them: no other
// program sees them, and they keep the names that stand in them.
#pragma once

#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>

#include "base/check.h"
#include "shm/shm_backend.h"
#include "tests/temp_dir.h"

namespace strata::inline v0_1::golden {

class GoldenSegments {
 public:
  // `name` is the one in its header.
  SegmentUri place(const std::string& file, const std::string& name) {
    std::filesystem::copy_file("tests/format/" + file, directory_ / ("strata." + name));
    // Bazel's outputs are read-only.
    std::filesystem::permissions(directory_ / ("strata." + name), std::filesystem::perms(0600));
    return {"shm", {}, name};
  }
  Segment attach(const std::string& file, const std::string& name,
                 Access access = Access::read_write) {
    return backend_.attach(place(file, name), {.access = access}).value();
  }
  void overwrite(const SegmentUri& uri, std::uint64_t offset_bytes, std::byte value) {
    std::fstream file(directory_ / ("strata." + uri.name),
                      std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset_bytes));
    STRATA_CHECK(file.put(static_cast<char>(value)).flush().good());
  }
  ShmBackend& backend() { return backend_; }

 private:
  test::TempDir directory_{"/dev/shm"};
  RealOs os_;
  ShmBackend backend_{
      os_, {.directory = directory_.path(), .huge_2m_directory = {}, .huge_1g_directory = {}}};
};

// The number that stands at a byte of a format, as its page in docs/format says.
template <typename T>
T number_at(std::span<const std::byte> bytes, std::uint64_t offset) {
  T value;
  STRATA_CHECK(offset + sizeof value <= bytes.size());
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

}  // namespace strata::inline v0_1::golden
