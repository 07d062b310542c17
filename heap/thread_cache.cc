// Which thread works with which cache, and the slots that make a thread known to others.
#include <fmt/format.h>

#include <algorithm>

#include "heap/heap_core_inline.h"

namespace strata::inline v0_1 {

using heap_layout::kSlotCount;
using heap_layout::Slot;

constinit thread_local HotCache hot_cache{0, nullptr};

// The caches that the calling thread has, one for each heap that it used. Their heaps may be gone:
// instances are told apart by a number that is never used again.
class ThreadCaches {
 public:
  struct Entry {
    std::uint64_t id;
    ThreadCache* cache;
    std::weak_ptr<HeapCore> core;
  };

  ~ThreadCaches();

  std::vector<Entry> entries;
};

namespace {

ThreadCaches& this_thread() {
  static thread_local ThreadCaches caches;
  return caches;
}

}  // namespace

ThreadCaches::~ThreadCaches() {
  hot_cache.id = 0;
  // A draft ends with its thread. While they are held here, no entry goes.
  std::vector<std::shared_ptr<HeapCore>> cores;
  for (const Entry& entry : entries)
    if (auto core = entry.core.lock()) cores.push_back(std::move(core));
  for (const auto& core : cores)
    core->discard_any_object();
  hot_cache.id = 0;
  for (Entry& entry : entries) {
    if (const auto core = entry.core.lock()) core->drop_cache(*entry.cache);
  }
}

Status HeapCore::not_writable() const {
  if (owner_ == nullptr) {
    return Status(Code::failed_precondition, "the heap's memory is attached read-only");
  }
  return Status(Code::failed_precondition,
                "this process was forked from the one that opened the heap: open it anew");
}

Result<ThreadCache*> HeapCore::cache() {
  if (ThreadCache* const hot = quick_cache()) return hot;
  return cache_slowly();
}

Result<ThreadCache*> HeapCore::cache_slowly() {
  if (owner_ == nullptr || is_child()) return unexpected(not_writable());
  std::vector<ThreadCaches::Entry>& entries = this_thread().entries;
  std::erase_if(entries, [](const auto& entry) { return entry.core.expired(); });
  for (const ThreadCaches::Entry& entry : entries) {
    if (entry.id != id_) continue;
    hot_cache = {id_, entry.cache};
    return entry.cache;
  }
  auto fresh = std::make_unique<ThreadCache>();
  STRATA_TRY(take_slot(*fresh));
  ThreadCache* const made = fresh.get();
  {
    const std::lock_guard lock(caches_mutex_);
    caches_.push_back(std::move(fresh));
  }
  entries.push_back({id_, made, weak_from_this()});
  hot_cache = {id_, made};
  return made;
}

Result<void> HeapCore::take_slot(ThreadCache& cache) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    for (std::uint32_t number = 1; number <= kSlotCount; ++number) {
      Slot& mine = slot(number);
      std::uint64_t free = 0;
      if (mine.owner.load(std::memory_order_relaxed) != 0 ||
          !mine.owner.compare_exchange_strong(free, me_)) {
        continue;
      }
      STRATA_STEP("slot taken");
      heap_layout::Word& high = header().slot_high;
      std::uint64_t seen = high.load();
      while (seen < number && !high.compare_exchange_weak(seen, number)) {
      }
      flush(&mine, sizeof(Slot));
      mine.pid.store(static_cast<std::uint32_t>(owner_->pid()), std::memory_order_relaxed);
      mine.start_time_ticks.store(owner_->start_time_ticks(), std::memory_order_relaxed);
      cache.slot = &mine;
      cache.slot_number = number;
      return {};
    }
    // All are taken; some perhaps by the dead.
    STRATA_TRY(recover_now(nullptr, false));
  }
  return fail(Code::exhausted,
              fmt::format("heap: all {} slots are taken by live threads", kSlotCount));
}

void HeapCore::release(ThreadCache& cache) {
  for (ClassCache& of_class : cache.classes) {
    if (of_class.words != nullptr) of_class.kept.push_back(of_class.unit);
    // Before others can allocate from these spans.
    of_class.count = of_class.capacity = 0;
    for (const std::uint64_t unit : of_class.kept)
      disown(cache, unit);
    of_class = {};
  }
  cache.reserved.clear();
  cache.slot->reserved_blocks.store(0, std::memory_order_release);
}

void HeapCore::drop_cache(ThreadCache& cache) {
  if (!is_child()) {
    release(cache);
    STRATA_STEP("spans released");
    cache.slot->owner.store(0, std::memory_order_release);
    flush(cache.slot, sizeof(Slot));
  }
  const std::lock_guard lock(caches_mutex_);
  std::erase_if(caches_, [&](const auto& owned) { return owned.get() == &cache; });
}

void HeapCore::release_thread_cache() {
  if (owner_ == nullptr || is_child()) return;
  for (const ThreadCaches::Entry& entry : this_thread().entries) {
    if (entry.id == id_ && !entry.core.expired()) release(*entry.cache);
  }
}

}  // namespace strata::inline v0_1
