#include "pmem/shadow_testing.h"

#include <fcntl.h>

#include <algorithm>
#include <filesystem>
#include <utility>

namespace strata::inline v0_1::test {
namespace {

constexpr std::size_t kMaxVerdicts = 3;

// The segment's own; the shadow outlives it.
class Passing final : public Durability {
 public:
  explicit Passing(ShadowDurability& shadow) : shadow_(shadow) {}
  bool is_volatile() const override { return false; }
  std::size_t granularity_bytes() const override { return shadow_.granularity_bytes(); }
  void flush(const void* address, std::size_t bytes) override { shadow_.flush(address, bytes); }
  Result<void> drain() override { return shadow_.drain(); }

 private:
  ShadowDurability& shadow_;
};

}  // namespace

ShadowedPool::ShadowedPool(std::uint64_t payload_bytes, const ShadowOptions& options)
    : live_{"pmem", dir_ / "live", "segment"},
      image_{"pmem", dir_ / "image", "segment"},
      backend_(os_, {.wrap_durability = [this, options](Domain& domain, const std::string&,
                                                        std::uint64_t file_offset_bytes)
                         -> std::unique_ptr<Durability> {
                 shadow_ = std::make_unique<ShadowDurability>(os_, domain.bytes(), options);
                 file_offset_bytes_ = file_offset_bytes;
                 return std::make_unique<Passing>(*shadow_);
               }}) {
  const std::uint64_t pool_bytes = std::max(MiB(8), 3 * payload_bytes);
  (void)Pool::create(os_, live_.container, {.bytes = pool_bytes}).value();
  (void)backend_.create(live_, {.payload_bytes = payload_bytes}).value();
}

Segment ShadowedPool::attach() { return backend_.attach(live_, {}).value(); }

void ShadowedPool::watch(Verdict verdict) {
  std::filesystem::copy_file(live_.container, image_.container);
  image_file_ = os_.open(image_.container, O_RDWR).value();
  shadow_->watch([this, verdict = std::move(verdict)](std::span<std::byte> bytes) {
    if (verdicts_.size() == kMaxVerdicts) return;
    if (auto put = os_.pwrite(image_file_.get(), bytes, file_offset_bytes_); !put) {
      verdicts_.insert(put.error().to_string());
    } else if (std::string wrong = verdict(os_, image_); !wrong.empty()) {
      verdicts_.insert(std::move(wrong));
    }
  });
}

ShadowedPool::Outcome ShadowedPool::finish() {
  shadow_->examine();
  shadow_->watch({});
  return {shadow_->images(), verdicts_};
}

}  // namespace strata::inline v0_1::test
