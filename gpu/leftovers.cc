#include "gpu/leftovers.h"

#include <mutex>
#include <utility>
#include <vector>

namespace strata::inline v0_1::cuda {
namespace {

struct Kept {
  const Driver* driver;
  std::uint64_t bytes;
  GiveBackFn give_back;
};

struct AllKept {
  std::mutex mutex;
  std::vector<Kept> kept;
};

AllKept& all_kept() {
  // Never destroyed: what static objects hold may end after this.
  static auto& all = *new AllKept;
  return all;
}

}  // namespace

bool is_given_back(CuResult result) { return result == kSuccess || result == kDeinitialized; }

void keep_leftover(const Driver& driver, std::uint64_t bytes, GiveBackFn give_back) {
  AllKept& all = all_kept();
  const std::lock_guard lock(all.mutex);
  all.kept.push_back({&driver, bytes, std::move(give_back)});
}

void give_back_or_keep(const Driver& driver, std::uint64_t bytes, GiveBackFn give_back) {
  if (!give_back()) keep_leftover(driver, bytes, std::move(give_back));
}

Leftovers leftovers() {
  AllKept& all = all_kept();
  const std::lock_guard lock(all.mutex);
  Leftovers sum;
  for (const Kept& each : all.kept) {
    sum.count += 1;
    sum.bytes += each.bytes;
  }
  return sum;
}

Leftovers retry_leftovers() {
  AllKept& all = all_kept();
  std::vector<Kept> taken;
  {
    const std::lock_guard lock(all.mutex);
    taken.swap(all.kept);
  }
  // Without the lock: what ends here may leave something itself. A forked child only forgets.
  std::erase_if(taken,
                [](const Kept& each) { return each.driver->is_forked() || each.give_back(); });
  {
    const std::lock_guard lock(all.mutex);
    for (Kept& each : taken)
      all.kept.push_back(std::move(each));
  }
  return leftovers();
}

}  // namespace strata::inline v0_1::cuda
