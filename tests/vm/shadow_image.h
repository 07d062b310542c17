// A ShadowImage is a medium in memory together with what would be left of it if the power failed
// now: only lines that were flushed and then drained. At every drain, before it takes effect, a
// crash image is handed to a checker.
//
// A kill shows none of this: the CPU's caches are coherent with the file, so a store that was
// never flushed is there after every kill.
//   Threads:  one.
//   Errors:   the checker returns what is wrong with an image; failures() keeps them.
//   Cost:     one copy of the image per drain.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tests/vm/medium.h"

namespace strata::inline v0_1::test {

struct ShadowOptions {
  // Of a thousand 8-byte words that differ, and of a thousand lines that are flushed and not yet
  // drained, how many also reach the image: caches may write back whenever they like. Needed to
  // find a wrong order, where nothing is missing.
  unsigned evict_per_mille = 0;
  uint64_t seed = 0;
};

class ShadowImage : public Medium {
 public:
  // Gets a private copy of the image; returns what is wrong with it, empty when nothing is.
  using Checker = std::function<std::string(std::vector<std::byte>& image)>;

  ShadowImage(size_t byte_count, Checker checker, ShadowOptions options);

  std::byte* bytes() override { return memory_; }
  void flush(const void* start, size_t byte_count) override;
  void drain() override;

  // From now on images are checked; what was written before is durable.
  void start_checking();
  size_t images_checked() const { return images_checked_; }
  const std::vector<std::string>& failures() const { return failures_; }

 private:
  static constexpr size_t kLineBytes = 64;
  struct PendingLine {
    size_t offset;
    std::array<std::byte, kLineBytes> content;
  };

  std::vector<std::byte> crash_image();

  std::vector<std::byte> room_;
  std::byte* memory_;  // in room_, at a multiple of the page size
  std::vector<std::byte> durable_;
  std::vector<PendingLine> pending_;
  Checker checker_;
  const ShadowOptions options_;
  std::mt19937_64 random_;
  bool checking_ = false;
  size_t images_checked_ = 0;
  std::vector<std::string> failures_;
};

}  // namespace strata::inline v0_1::test
