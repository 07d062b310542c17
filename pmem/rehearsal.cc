#include "pmem/rehearsal.h"

#include <mutex>
#include <set>

#include "base/bytes.h"
#include "os/deadline.h"
#include "os/run_apart.h"
#include "pmem/object_pool.h"

namespace strata {
namespace {

constexpr std::uint64_t kTimeoutMs = 10'000;
// From a run of pages, from a run of its own, whole chunks.
constexpr std::uint64_t kObjectBytes[] = {KiB(4), KiB(512), MiB(4)};

void rehearse(Os& os, const std::string& path, const std::string& layout) {
  use_copy_on_write();
  auto pool = ObjectPool::open(os, path, layout.c_str(), Deadline::after_ms(0));
  if (!pool) return;
  (void)pool->objects();
  if (!pool->begin()) return;
  for (const std::uint64_t bytes : kObjectBytes) {
    // A full pool says so, and that is no damage.
    if (!pool->allocate(bytes, 0)) return pool->abort();
  }
  pool->abort();
}

// The files that need no rehearsal any more.
class Trusted {
 public:
  bool has(const FileIdentity& file) {
    const std::lock_guard lock(mutex_);
    return files_.contains(file);
  }
  void add(const FileIdentity& file) {
    const std::lock_guard lock(mutex_);
    files_.insert(file);
  }

 private:
  std::mutex mutex_;
  std::set<FileIdentity> files_;
};

Trusted& trusted() {
  static Trusted files;
  return files;
}

}  // namespace

Result<void> rehearse_change(Os& os, const std::string& path, const std::string& layout) {
  const auto ended = run_apart(
      [&] {
        rehearse(os, path, layout);
        return std::string();
      },
      Deadline::after_ms(kTimeoutMs));
  if (ended || ended.error().code() != Code::corrupt) return {};
  return fail(Code::corrupt, path + ": libpmemobj cannot work with its heap (" +
                                 ended.error().message() + "); see `strata pool repair`");
}

Result<void> rehearse_first_change(Os& os, const std::string& path, const std::string& layout) {
  const auto file = os.file_identity(path);
  if (!file || trusted().has(*file)) return {};  // of a path that cannot be read, opening says why
  STRATA_TRY(rehearse_change(os, path, layout));
  trusted().add(*file);
  return {};
}

void trust_new_pool(Os& os, const std::string& path) {
  if (const auto file = os.file_identity(path)) trusted().add(*file);
}

}  // namespace strata
