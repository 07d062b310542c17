// ShadowDurability is the medium as it would be after a power failure: an image beside the live
// bytes that receives only what was flushed and then drained. At every drain it hands a copy of
// the image to an oracle, which recovers it and says whether anything is wrong.
//
//     ShadowDurability shadow(os, live, {.evict_per_mille = 300, .seed = 7});
//     shadow.watch([&](std::span<std::byte> image) { recover(image); CHECK(is_consistent(image));
//     });
//
//   Threads:  any. The oracle runs inside drain(), one image at a time, and must not drain the
//             shadow itself.
//   Lifetime: the live bytes must outlive it.
//   Errors:   drain fails as told by fail_drain_at, for tests of that.
//   Cost:     a drain compares all live bytes with the image if anything is evicted.
//   Persists: that is the point.
// With evict_per_mille, each unit that differs from the image may reach it at any drain though
// nobody flushed it, as caches do of their own accord: only so are updates in a wrong order seen.
// A flushed unit reaches the image as it was at its flush: what is stored later needs another one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <span>
#include <thread>
#include <vector>

#include "os/os.h"
#include "strata/base/result.h"
#include "strata/segment/durability.h"

namespace strata::inline v0_1 {

struct ShadowOptions {
  std::size_t granularity_bytes = 64;
  unsigned evict_per_mille = 0;
  std::uint64_t seed = 1;
  // Bugs that tests plant, to see that they are found: of so many flushes or drains one is lost,
  // by chance and in turn. 0: none.
  unsigned lose_flushes_one_in = 0;
  unsigned lose_drains_one_in = 0;
};

class ShadowDurability final : public Durability {
 public:
  using Oracle = std::function<void(std::span<std::byte> image)>;

  // The image starts as the live bytes are now.
  ShadowDurability(Os& os, std::span<std::byte> live, const ShadowOptions& options);
  ~ShadowDurability() override;
  ShadowDurability(const ShadowDurability&) = delete;
  ShadowDurability& operator=(const ShadowDurability&) = delete;

  // From now on `oracle` gets a copy of the image at every drain: as it is before the drain has
  // taken effect, if something was evicted, and as it is after.
  void watch(Oracle oracle);
  // One more image, of this moment.
  void examine();
  // The image as it is, as a copy for the caller to do with what it likes.
  std::vector<std::byte> image() const;
  // The power fails: the live bytes become the image.
  void lose_power();
  // The n-th drain from now (the first is 1) fails with EIO and makes nothing durable.
  void fail_drain_at(std::uint64_t n);

  std::uint64_t drains() const { return drains_; }
  std::uint64_t flushed_bytes() const { return flushed_bytes_; }
  std::uint64_t images() const { return images_; }  // given to the oracle

  bool is_volatile() const override { return false; }
  std::size_t granularity_bytes() const override { return options_.granularity_bytes; }
  void flush(const void* address, std::size_t bytes) override;
  Result<void> drain() override;

 private:
  struct Flushed {
    std::uint64_t time;
    std::size_t at;
    std::vector<std::byte> bytes;
  };
  bool evict_some();
  void apply(const Flushed& one);
  void show();

  Os& os_;
  const std::span<std::byte> live_;
  const ShadowOptions options_;
  mutable std::mutex mutex_;
  std::mt19937_64 random_;
  Fd file_;
  std::span<std::byte> image_;
  std::map<std::thread::id, std::vector<Flushed>> flushed_;
  std::uint64_t clock_ = 0;             // counts flushes and evictions
  std::vector<std::uint64_t> written_;  // when each unit reached the image
  Oracle oracle_;
  std::uint64_t drains_ = 0;
  std::uint64_t flushed_bytes_ = 0;
  std::uint64_t images_ = 0;
  std::uint64_t fail_at_ = 0;
};

}  // namespace strata::inline v0_1
