#include "strata/heap/shared_dictionary.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "heap/heap_core.h"
#include "os/os.h"
#include "strata/sync/wait.h"

namespace strata::inline v0_1 {
namespace {

using Peek = Dictionary::Peek;

constexpr std::string_view kName = "dictionary";
// One thread changes it at a time. The other slots are for what the dead have left.
constexpr std::uint32_t kLogSlots = 4;
// How often a reader looks before it takes the lock.
constexpr int kLooks = 100;
constexpr int kLooksAtAll = 2;
constexpr std::uint64_t kBetweenLooksNs = 100'000;
// Freed in one transaction of a clear().
constexpr std::uint64_t kSweepNodes = 64;

std::uint64_t random_seed() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

std::string context_of(const char* what, const Segment& segment) {
  return fmt::format("{} dictionary in {}", what, segment.uri().to_string());
}

Unexpected damaged() {
  return fail(Code::corrupt, "dictionary: an offset, a length or a chain in it leads nowhere");
}

}  // namespace

SharedDictionary::SharedDictionary(Heap heap, SharedDictionaryRoot* root)
    : heap_(std::move(heap)),
      root_(root),
      payload_bytes_(std::make_unique<std::atomic<std::uint64_t>>(heap_.core().payload().size())) {}

Result<SharedDictionary> SharedDictionary::create(Segment& segment,
                                                  const SharedDictionaryOptions& options) {
  const auto make = [&]() -> Result<SharedDictionary> {
    STRATA_ASSIGN(Heap heap, Heap::create(segment, options.heap));
    std::uint64_t bytes = options.transaction_bytes;
    if (bytes == 0) {
      bytes =
          std::clamp(segment.payload_bytes() / 64 / kPageBytes * kPageBytes, kPageBytes, MiB(1));
    }
    STRATA_TRY(heap.make_transaction_log({.slot_count = kLogSlots, .slot_bytes = bytes}));
    STRATA_ASSIGN(auto* const root, heap.make<SharedDictionaryRoot>(kName, random_seed()));
    return SharedDictionary(std::move(heap), root);
  };
  auto made = make();
  if (!made) return unexpected(made.error().in(context_of("create", segment)));
  return made;
}

Result<SharedDictionary> SharedDictionary::open(Segment& segment) {
  const auto find = [&]() -> Result<SharedDictionary> {
    STRATA_ASSIGN(Heap heap, Heap::open(segment));
    STRATA_ASSIGN(auto* const root, heap.find<SharedDictionaryRoot>(kName));
    return SharedDictionary(std::move(heap), root);
  };
  auto found = find();
  if (!found) return unexpected(found.error().in(context_of("open", segment)));
  return found;
}

bool SharedDictionary::is_of_this_process() const {
  const SyncContext* const sync = heap_.core().sync();
  return sync == nullptr || sync->token() != 0;
}

std::span<const std::byte> SharedDictionary::payload() const {
  return {heap_.base(), payload_bytes_->load(std::memory_order_relaxed)};
}

// Whether it has grown.
bool SharedDictionary::refresh() const {
  const std::uint64_t now = heap_.core().payload().size();
  return payload_bytes_->exchange(now, std::memory_order_relaxed) < now;
}

// Whether it is there.
template <typename Function>
inline Result<bool> SharedDictionary::look(Function&& peek, const TransactOptions& options) const {
  const Peek seen = peek(payload());
  if (seen <= Peek::absent) return seen == Peek::found;
  STRATA_ASSIGN(const Peek later, look_with_patience(peek, options));
  return later == Peek::found;
}

// Where commits come between again and again, or one was left half-way by a process that died,
// there is nobody who holds the lock while we do, and what was half-way is whole.
Result<Peek> SharedDictionary::look_with_patience(const Look& look,
                                                  const TransactOptions& options) const {
  const auto once = [&]() -> Peek {
    const Peek seen = look(payload());
    return seen == Peek::lost && refresh() ? look(payload()) : seen;
  };
  Peek seen = Peek::changed;
  for (int i = 0; i < kLooks && seen == Peek::changed; ++i) {
    seen = once();
    if (seen == Peek::changed) relax_cpu();
  }
  if (seen == Peek::changed && heap_.core().sync() != nullptr) {
    const auto locked = heap_.transact(
        root_->lock, [&](Transaction&) { return seen = once(), Result<void>(); }, options);
    if (!locked) return unexpected(locked.error().in("read a dictionary"));
    if (seen == Peek::changed) return damaged();  // a sequence that nobody will make even again
  }
  const Deadline deadline = Deadline::after_ms(options.timeout_ms);
  while (seen == Peek::changed) {
    if (deadline.expired()) {
      return fail(
          Code::timed_out,
          "read a dictionary: it is being changed all the time, or whoever changed it died; "
          "who attaches for writing can wait for its lock, and repair it");
    }
    heap_.core().memory().os().sleep_ns(kBetweenLooksNs);
    seen = once();
  }
  if (seen == Peek::lost) return damaged();
  return seen;
}

Result<std::optional<DictionaryValue>> SharedDictionary::get(const DictionaryKey& key,
                                                             std::string& room,
                                                             const TransactOptions& options) const {
  DictionaryValue value;
  STRATA_ASSIGN(const bool is_there, look(
                                         [&](std::span<const std::byte> payload) {
                                           return root_->map.peek(payload, key, room, value);
                                         },
                                         options));
  return is_there ? std::optional(value) : std::nullopt;
}

Result<bool> SharedDictionary::contains(const DictionaryKey& key,
                                        const TransactOptions& options) const {
  return look([&](std::span<const std::byte> payload) { return root_->map.peek_key(payload, key); },
              options);
}

Result<std::uint64_t> SharedDictionary::size(const TransactOptions& options) const {
  std::uint64_t size = 0;
  STRATA_TRY(look([&](std::span<const std::byte>) { return root_->map.peek_size(size); }, options));
  return size;
}

Result<void> SharedDictionary::for_each(const std::function<void()>& begin,
                                        const Dictionary::Visit& visit,
                                        const TransactOptions& options) const {
  Result<void> ended;
  int looks = 0;
  const auto look_at_all = [&](std::span<const std::byte> payload) {
    begin();
    ended = {};
    const auto seen = root_->map.peek_each(payload, visit);
    if (seen) return *seen;
    ended = unexpected(seen.error());
    return Peek::found;
  };
  // A walk takes long: who was disturbed in it twice takes the lock at once.
  while (looks++ < kLooksAtAll) {
    const Peek seen = look_at_all(payload());
    if (seen == Peek::found) return ended;
    if (seen == Peek::lost && !refresh()) return damaged();
  }
  if (heap_.core().sync() == nullptr) {
    STRATA_TRY(look_with_patience(look_at_all, options));
    return ended;
  }
  return heap_.transact(
      root_->lock,
      [&](Transaction& tx) {
        begin();
        return root_->map.for_each(tx, visit);
      },
      options);
}

// Before it, a part of what a clear() has left whose process died; where memory is short, all.
template <typename Function>
Result<void> SharedDictionary::change(Function&& function, const TransactOptions& options) {
  const auto run = [&](Transaction& tx) -> Result<void> { return function(tx, root_->map); };
  if (root_->map.peek_discarded()) [[unlikely]] {
    STRATA_TRY(heap_.transact(
        root_->lock, [&](Transaction& tx) { return root_->map.sweep(tx, kSweepNodes); }, options));
  }
  Result<void> changed = heap_.transact(root_->lock, run, options);
  if (changed || changed.error().code() != Code::exhausted || !root_->map.peek_discarded()) {
    return changed;
  }
  STRATA_TRY(sweep_all(options));
  return heap_.transact(root_->lock, run, options);
}

Result<void> SharedDictionary::sweep_all(const TransactOptions& options) {
  while (root_->map.peek_discarded()) {
    STRATA_TRY(heap_.transact(
        root_->lock, [&](Transaction& tx) { return root_->map.sweep(tx, kSweepNodes); }, options));
  }
  return {};
}

Result<void> SharedDictionary::set(const DictionaryKey& key, const DictionaryValue& value,
                                   const TransactOptions& options) {
  return change([&](Transaction& tx, Dictionary& map) { return map.set(tx, key, value); }, options);
}

Result<bool> SharedDictionary::insert(const DictionaryKey& key, const DictionaryValue& value,
                                      const TransactOptions& options) {
  bool is_new = false;
  STRATA_TRY(change(
      [&](Transaction& tx, Dictionary& map) -> Result<void> {
        STRATA_ASSIGN(is_new, map.insert(tx, key, value));
        return {};
      },
      options));
  return is_new;
}

Result<bool> SharedDictionary::erase(const DictionaryKey& key, const TransactOptions& options) {
  bool was_there = false;
  STRATA_TRY(change(
      [&](Transaction& tx, Dictionary& map) -> Result<void> {
        STRATA_ASSIGN(was_there, map.erase(tx, key));
        return {};
      },
      options));
  return was_there;
}

Result<std::optional<DictionaryValue>> SharedDictionary::pop(const DictionaryKey& key,
                                                             std::string& room,
                                                             const TransactOptions& options) {
  std::optional<DictionaryValue> value;
  STRATA_TRY(change(
      [&](Transaction& tx, Dictionary& map) -> Result<void> {
        STRATA_ASSIGN(value, map.get(tx, key));
        if (!value) return {};
        if (value->has_bytes()) value->bytes = room.assign(value->bytes);
        STRATA_TRY(map.erase(tx, key));
        return {};
      },
      options));
  return value;
}

Result<std::int64_t> SharedDictionary::add(const DictionaryKey& key, std::int64_t difference,
                                           const TransactOptions& options) {
  std::int64_t sum = 0;
  STRATA_TRY(change(
      [&](Transaction& tx, Dictionary& map) -> Result<void> {
        STRATA_ASSIGN(sum, map.add(tx, key, difference));
        return {};
      },
      options));
  return sum;
}

Result<bool> SharedDictionary::compare_and_set(const DictionaryKey& key,
                                               const std::optional<DictionaryValue>& expected,
                                               const std::optional<DictionaryValue>& desired,
                                               const TransactOptions& options) {
  bool is_set = false;
  STRATA_TRY(change(
      [&](Transaction& tx, Dictionary& map) -> Result<void> {
        STRATA_ASSIGN(is_set, map.compare_and_set(tx, key, expected, desired));
        return {};
      },
      options));
  return is_set;
}

Result<void> SharedDictionary::clear(const TransactOptions& options) {
  STRATA_TRY(sweep_all(options));
  STRATA_TRY(change([](Transaction& tx, Dictionary& map) { return map.clear(tx); }, options));
  return sweep_all(options);
}

Result<void> SharedDictionary::transact(const Change& function, const TransactOptions& options) {
  return change(function, options);
}

Result<OpenTransaction> SharedDictionary::begin(const TransactOptions& options) {
  RobustMutex* const locks[] = {&root_->lock};
  return heap_.begin_transaction(locks, options);
}

Result<DictionaryReport> SharedDictionary::check(const TransactOptions& options) const {
  DictionaryReport report;
  STRATA_TRY(look(
      [&](std::span<const std::byte> payload) {
        report = {};
        return root_->map.check(payload, report);
      },
      options));
  return report;
}

}  // namespace strata::inline v0_1
