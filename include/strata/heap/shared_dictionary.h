// A SharedDictionary is a hash map that takes a whole segment: a heap, a lock and a Dictionary.
// Every call is atomic by itself, and transact() makes many changes one; a process that is killed
// anywhere leaves all of a change or nothing.
//
//     STRATA_ASSIGN(auto words, SharedDictionary::create(segment));     // once
//     STRATA_ASSIGN(auto words, SharedDictionary::open(segment));       // everybody else
//     STRATA_TRY(words.set("answer", 42));
//     STRATA_ASSIGN(const auto value, words.get("answer", room));       // value->integer() == 42
//
//   Threads:  any, but for the moves and the destructor.
//   Lifetime: it holds the attachment of its segment. A forked child opens anew before it changes
//             anything; reading needs nothing.
//   Errors:   exhausted where the heap is full; timed_out for the lock; failed_precondition where
//             the segment may only be read; corrupt. Each leaves everything as it was.
//   Cost:     get: no lock and no write, but where a commit comes between many times in a row; then
//             the lock. A change: the lock, and what transact() costs. Neither depends on the size.
//   Persists: as the segment does.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "strata/base/result.h"
#include "strata/heap/heap.h"
#include "strata/transaction/dictionary.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

struct SharedDictionaryOptions {
  // What one transaction has for its log: some 100 bytes for each key that it changes, and for
  // values up to a kilobyte their bytes where memory is durable. Whole pages. 0: 1/64 of the
  // segment, from 4 KiB to 1 MiB.
  std::uint64_t transaction_bytes = 0;
  HeapOptions heap;
};

// What stands in the heap under the name "dictionary".
struct SharedDictionaryRoot {
  explicit SharedDictionaryRoot(std::uint64_t seed) : map(seed) {}
  RobustMutex lock;
  Dictionary map;
};
static_assert(sizeof(SharedDictionaryRoot) == 768);

template <>
struct TypeTraits<SharedDictionaryRoot> {
  static constexpr std::string_view name = "strata.Dictionary";
  static constexpr std::uint64_t version = 1;
};

class SharedDictionary {
 public:
  using Change = std::function<Result<void>(Transaction&, Dictionary&)>;
  struct Item {
    DictionaryKey key;
    DictionaryValue value;
  };

  // In a segment whose payload is still zero, of at least 256 KiB.
  // Errors: as Heap::create; exhausted.
  static Result<SharedDictionary> create(Segment& segment,
                                         const SharedDictionaryOptions& options = {});
  // Errors: as Heap::open; not_found and invalid_argument where the heap holds no dictionary.
  static Result<SharedDictionary> open(Segment& segment);

  // Nothing where the key is absent. Bytes of the value are copied to `room`.
  // What this thread has changed in a transaction that still runs is seen by Dictionary::get alone.
  Result<std::optional<DictionaryValue>> get(const DictionaryKey& key, std::string& room,
                                             const TransactOptions& options = {}) const;
  Result<bool> contains(const DictionaryKey& key, const TransactOptions& options = {}) const;
  Result<std::uint64_t> size(const TransactOptions& options = {}) const;
  // Visits every key as all of them were at one moment: without a lock where nobody changes
  // anything meanwhile, else with it. `begin` is called before each try; `visit` must not change
  // the dictionary.
  Result<void> for_each(const std::function<void()>& begin, const Dictionary::Visit& visit,
                        const TransactOptions& options = {}) const;

  // Each as Dictionary's.
  Result<void> set(const DictionaryKey& key, const DictionaryValue& value,
                   const TransactOptions& options = {});
  Result<bool> insert(const DictionaryKey& key, const DictionaryValue& value,
                      const TransactOptions& options = {});
  Result<bool> erase(const DictionaryKey& key, const TransactOptions& options = {});
  // Erases it and returns what it was.
  Result<std::optional<DictionaryValue>> pop(const DictionaryKey& key, std::string& room,
                                             const TransactOptions& options = {});
  Result<std::int64_t> add(const DictionaryKey& key, std::int64_t difference,
                           const TransactOptions& options = {});
  Result<bool> compare_and_set(const DictionaryKey& key,
                               const std::optional<DictionaryValue>& expected,
                               const std::optional<DictionaryValue>& desired,
                               const TransactOptions& options = {});
  // All at once; what it held is freed before it returns, in parts, between which others go on.
  Result<void> clear(const TransactOptions& options = {});
  // All of it or nothing. Errors: exhausted also where it changes more than its log can hold.
  Result<void> transact(const Change& change, const TransactOptions& options = {});
  // The same without a function around it: change map() through its transaction.
  Result<OpenTransaction> begin(const TransactOptions& options = {});

  // Looks at every node. Errors: timed_out where others change it all the time.
  Result<DictionaryReport> check(const TransactOptions& options = {}) const;

  // False in a forked child, which opens anew before it changes anything.
  bool is_of_this_process() const;
  Dictionary& map() { return root_->map; }
  const Dictionary& map() const { return root_->map; }
  RobustMutex& lock() { return root_->lock; }
  Heap& heap() { return heap_; }

 private:
  using Look = std::function<Dictionary::Peek(std::span<const std::byte> payload)>;

  SharedDictionary(Heap heap, SharedDictionaryRoot* root);
  std::span<const std::byte> payload() const;
  bool refresh() const;
  template <typename Peek>
  Result<bool> look(Peek&& peek, const TransactOptions& options) const;
  Result<Dictionary::Peek> look_with_patience(const Look& look,
                                              const TransactOptions& options) const;
  template <typename Function>
  Result<void> change(Function&& function, const TransactOptions& options);
  Result<void> sweep_all(const TransactOptions& options);

  mutable Heap heap_;
  SharedDictionaryRoot* root_;
  // As far as this process knows.
  std::unique_ptr<std::atomic<std::uint64_t>> payload_bytes_;
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
