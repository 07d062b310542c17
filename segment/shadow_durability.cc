#include "segment/shadow_durability.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1 {

ShadowDurability::ShadowDurability(Os& os, std::span<std::byte> live, const ShadowOptions& options)
    : os_(os),
      live_(live),
      options_(options),
      random_(options.seed),
      written_(live.size() / options.granularity_bytes) {
  STRATA_CHECK(live.size() % options.granularity_bytes == 0);
  auto file = os_.memfd_create("shadow", 0);
  STRATA_CHECK(file.has_value());
  file_ = std::move(*file);
  STRATA_CHECK(os_.ftruncate(file_.get(), live.size()).has_value());
  MapRequest request;
  request.bytes = live.size();
  request.fd = file_.get();
  auto mapped = os_.mmap(request);
  STRATA_CHECK(mapped.has_value());
  image_ = {*mapped, live.size()};
  std::memcpy(image_.data(), live_.data(), live_.size());
}

ShadowDurability::~ShadowDurability() { (void)os_.munmap(image_.data(), image_.size()); }

void ShadowDurability::watch(Oracle oracle) {
  const std::lock_guard lock(mutex_);
  oracle_ = std::move(oracle);
}

void ShadowDurability::examine() {
  const std::lock_guard lock(mutex_);
  show();
}

std::vector<std::byte> ShadowDurability::image() const {
  const std::lock_guard lock(mutex_);
  return {image_.begin(), image_.end()};
}

void ShadowDurability::lose_power() {
  const std::lock_guard lock(mutex_);
  flushed_.clear();
  std::memcpy(live_.data(), image_.data(), live_.size());
}

void ShadowDurability::fail_drain_at(std::uint64_t n) {
  const std::lock_guard lock(mutex_);
  fail_at_ = n == 0 ? 0 : drains_ + n;
}

void ShadowDurability::flush(const void* address, std::size_t bytes) {
  if (bytes == 0) return;
  const std::lock_guard lock(mutex_);
  if (options_.lose_flushes_one_in != 0 && random_() % options_.lose_flushes_one_in == 0) return;
  const auto* const first = static_cast<const std::byte*>(address);
  STRATA_CHECK(first >= live_.data() && first + bytes <= live_.data() + live_.size());
  const std::size_t unit = options_.granularity_bytes;
  const std::size_t begin = static_cast<std::size_t>(first - live_.data()) / unit * unit;
  const std::size_t end = align_up(static_cast<std::size_t>(first - live_.data()) + bytes, unit);
  flushed_[std::this_thread::get_id()].push_back(
      {++clock_, begin, {live_.data() + begin, live_.data() + end}});
  flushed_bytes_ += end - begin;
}

Result<void> ShadowDurability::drain() {
  const std::lock_guard lock(mutex_);
  ++drains_;
  if (options_.lose_drains_one_in != 0 && drains_ % options_.lose_drains_one_in == 0) return {};
  if (evict_some()) show();
  std::vector<Flushed> flushed = std::move(flushed_[std::this_thread::get_id()]);
  flushed_.erase(std::this_thread::get_id());
  if (drains_ == fail_at_) return unexpected(status_from_errno(EIO, "drain of the shadow image"));
  for (const Flushed& one : flushed)
    apply(one);
  show();
  return {};
}

// Unit by unit, and never over what reached the image later.
void ShadowDurability::apply(const Flushed& one) {
  const std::size_t unit = options_.granularity_bytes;
  for (std::size_t done = 0; done < one.bytes.size(); done += unit) {
    std::uint64_t& written = written_[(one.at + done) / unit];
    if (written > one.time) continue;
    written = one.time;
    std::memcpy(image_.data() + one.at + done, one.bytes.data() + done, unit);
  }
}

// Each unit that differs may reach the medium now. Whether anything did.
bool ShadowDurability::evict_some() {
  if (options_.evict_per_mille == 0) return false;
  bool evicted = false;
  const std::size_t unit = options_.granularity_bytes;
  for (std::size_t at = 0; at < live_.size(); at += unit) {
    if (std::memcmp(image_.data() + at, live_.data() + at, unit) == 0) continue;
    if (random_() % 1000 >= options_.evict_per_mille) continue;
    std::memcpy(image_.data() + at, live_.data() + at, unit);
    written_[at / unit] = ++clock_;
    evicted = true;
  }
  return evicted;
}

void ShadowDurability::show() {
  if (!oracle_) return;
  ++images_;
  MapRequest request;
  request.bytes = image_.size();
  request.flags = MAP_PRIVATE;  // recovery changes a copy: the image goes on as it is
  request.fd = file_.get();
  auto copy = os_.mmap(request);
  STRATA_CHECK(copy.has_value());
  oracle_({*copy, image_.size()});
  STRATA_CHECK(os_.munmap(*copy, image_.size()).has_value());
}

}  // namespace strata::inline v0_1
