#include "tests/vm/shadow_image.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace strata::inline v0_1::test {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kWordBytes = 8;  // what the CPU stores at once, and never tears
constexpr size_t kFailuresKept = 8;

size_t rounded_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

ShadowImage::ShadowImage(size_t byte_count, Checker checker, ShadowOptions options)
    : room_(rounded_up(byte_count, kPageBytes) + kPageBytes),
      memory_(reinterpret_cast<std::byte*>(
          rounded_up(reinterpret_cast<uintptr_t>(room_.data()), kPageBytes))),
      durable_(rounded_up(byte_count, kPageBytes)),
      checker_(std::move(checker)),
      options_(options),
      random_(options.seed) {}

void ShadowImage::start_checking() {
  pending_.clear();
  std::memcpy(durable_.data(), memory_, durable_.size());
  checking_ = true;
}

void ShadowImage::flush(const void* start, size_t byte_count) {
  const size_t begin = static_cast<size_t>(static_cast<const std::byte*>(start) - memory_);
  for (size_t offset = begin / kLineBytes * kLineBytes; offset < begin + byte_count;
       offset += kLineBytes) {
    PendingLine& line = pending_.emplace_back();
    line.offset = offset;
    std::memcpy(line.content.data(), memory_ + offset, kLineBytes);
  }
}

std::vector<std::byte> ShadowImage::crash_image() {
  std::vector<std::byte> image = durable_;
  const auto evicted = [this] { return random_() % 1000 < options_.evict_per_mille; };
  if (options_.evict_per_mille == 0) return image;
  for (const PendingLine& line : pending_) {
    if (evicted()) std::copy(line.content.begin(), line.content.end(), &image[line.offset]);
  }
  for (size_t offset = 0; offset < image.size(); offset += kWordBytes) {
    if (std::memcmp(&image[offset], memory_ + offset, kWordBytes) != 0 && evicted()) {
      std::memcpy(&image[offset], memory_ + offset, kWordBytes);
    }
  }
  return image;
}

void ShadowImage::drain() {
  if (checking_) {
    std::vector<std::byte> image = crash_image();
    ++images_checked_;
    std::string wrong = checker_(image);
    if (!wrong.empty() && failures_.size() < kFailuresKept) failures_.push_back(std::move(wrong));
  }
  for (const PendingLine& line : pending_) {
    std::copy(line.content.begin(), line.content.end(), &durable_[line.offset]);
  }
  pending_.clear();
}

}  // namespace strata::inline v0_1::test
