#include "pmem/rehearsal.h"

#include <mutex>
#include <set>
#include <utility>

#include "base/bytes.h"
#include "os/deadline.h"
#include "os/run_apart.h"
#include "pmem/object_pool.h"
#include "pmem/pool_format.h"

namespace strata {
namespace {

constexpr std::uint64_t kTimeoutMs = 10'000;
// From a run of pages, from a run of its own, whole chunks.
constexpr std::uint64_t kObjectBytes[] = {KiB(4), KiB(512), MiB(4)};

void rehearse(Os& os, const std::string& path) {
  use_copy_on_write();
  auto pool = ObjectPool::open(os, path, kPoolLayoutName, Deadline::after_ms(0));
  if (!pool) return;
  (void)pool->objects();
  if (!pool->begin()) return;
  for (const std::uint64_t bytes : kObjectBytes) {
    // A full pool says so, and that is no damage.
    if (!pool->allocate(bytes, 0)) return pool->abort();
  }
  pool->abort();
}

}  // namespace

Result<void> rehearse_change(Os& os, const std::string& path) {
  const auto ended = run_apart(
      [&] {
        rehearse(os, path);
        return std::string();
      },
      Deadline::after_ms(kTimeoutMs));
  if (ended || ended.error().code() != Code::corrupt) return {};
  return fail(Code::corrupt, path + ": libpmemobj cannot work with its heap (" +
                                 ended.error().message() + "); see `strata pool repair`");
}

Result<void> rehearse_first_change(Os& os, const std::string& path) {
  static std::mutex mutex;
  static std::set<std::pair<dev_t, ino_t>> done;
  const auto facts = os.stat(path);
  if (!facts) return {};  // opening it says why
  const std::pair file(facts->st_dev, facts->st_ino);
  {
    const std::lock_guard lock(mutex);
    if (done.contains(file)) return {};
  }
  STRATA_TRY(rehearse_change(os, path));
  const std::lock_guard lock(mutex);
  done.insert(file);
  return {};
}

}  // namespace strata
