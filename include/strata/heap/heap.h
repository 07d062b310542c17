// A Heap allocates, names and frees objects inside a segment that many processes share, any of
// which may be killed at any instruction.
//
//     STRATA_ASSIGN(Heap heap, Heap::create(segment));            // once
//     STRATA_ASSIGN(Heap heap, Heap::open(segment));              // everybody else
//     STRATA_ASSIGN(Mesh* mesh, heap.make<Mesh>("mesh", 640, 480));
//     STRATA_ASSIGN(Mesh* same, heap.find<Mesh>("mesh"));         // in another process
//
//   Threads:  any, but for the moves and the destructor. Each thread that allocates takes one of
//             the heap's slots (kSlotCount over all processes) until it or the process ends.
//   Lifetime: a Heap holds the attachment of its Segment, which may be moved or destroyed. The
//             Heap must outlive what it gave to containers. A forked child opens anew, in the same
//             Segment; until then what it calls gives failed_precondition.
//   Errors:   exhausted, with nothing half-made; invalid_argument for an offset that no block
//             starts at; failed_precondition for a block that is free already, or a read-only
//             segment. Nothing is changed on failure.
//   Cost:     allocate and free of a small block: one uncontended atomic step each.
//   Persists: as the segment does. After a kill, allocate_to and free_from have happened or not;
//             a block from allocate() whose offset its dead owner told nobody is a leak, which is
//             why shared structures use allocate_to, or transactions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "strata/base/result.h"
#include "strata/heap/heap_report.h"
#include "strata/heap/memory.h"
#include "strata/heap/type_tag.h"
#include "strata/segment/offset.h"
#include "strata/segment/segment.h"
#include "strata/transaction/open_transaction.h"
#include "strata/transaction/transaction.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class BlockActions;
class HeapCore;

// An object that its thread is making, or destroying.
struct ObjectInHand {
  void* memory;
  std::uint64_t serial;  // among all that this process has had in hand
};

struct HeapOptions {
  // Bytes managed by one set of tables, which is also the most that one object can take (less
  // 1/100 or so): a power of two times 64 KiB. 0: the whole segment, or 64 MiB where it can grow
  // beyond its size.
  std::uint64_t region_bytes = 0;
  // Which NUMA node the payload from `first_bytes` on lies on, sorted; threads take memory of
  // their own node first. Empty: one node.
  struct NodeRange {
    std::uint64_t first_bytes = 0;
    int node = 0;
  };
  std::vector<NodeRange> nodes;
};

class Heap {
 public:
  // Makes a heap in a segment whose payload is still zero. Errors: already_exists where there is
  // one; invalid_argument where the payload is too small (under 128 KiB).
  static Result<Heap> create(Segment& segment, const HeapOptions& options = {});
  // Opens it, and cleans up after dead processes. Read-only segments can look and find.
  // Errors: not_found, not_ready, corrupt, unsupported (a newer format).
  static Result<Heap> open(Segment& segment);
  static Result<Heap> create(std::unique_ptr<HeapMemory> memory, const HeapOptions& options = {});
  static Result<Heap> open(std::unique_ptr<HeapMemory> memory);

  Heap(Heap&&) noexcept;
  Heap& operator=(Heap&&) noexcept;
  ~Heap();
  // Another value over the same heap, for whoever must not depend on this one.
  Heap share() const { return Heap(core_); }

  // A block of at least `bytes`, uninitialised. `align` is a power of two up to 4096.
  Result<Offset<std::byte>> allocate(std::uint64_t bytes, std::uint64_t align = 16);
  Result<void> free(Offset<std::byte> block);
  // Bytes that may be used of a block: what was asked for, rounded up.
  Result<std::uint64_t> usable_bytes(Offset<std::byte> block) const;

  // Allocates and stores the offset in `destination`, which lies in this segment: after a kill
  // either both have happened or neither. `destination` must be zero.
  Result<void> allocate_to(Offset<std::byte>& destination, std::uint64_t bytes,
                           std::uint64_t align = 16);
  // Frees what `source` holds and zeroes it: after a kill both have happened, or both will have
  // once the dead process was cleaned up after, or neither. Nobody else may change `source`.
  Result<void> free_from(Offset<std::byte>& source);

  // Objects without a name. A trivially destructible T needs no destroy: free it.
  template <typename T>
  Result<void> allocate_array_to(Offset<T>& destination, std::uint64_t count) {
    if (count > ~std::uint64_t{0} / sizeof(T)) {
      return fail(Code::exhausted, "allocate: more objects than there is memory");
    }
    return allocate_to(reinterpret_cast<Offset<std::byte>&>(destination), count * sizeof(T),
                       alignof(T));
  }
  template <typename T>
  requires(!std::is_same_v<T, std::byte>) Result<void> free(Offset<T> block) {
    return free(Offset<std::byte>{block.bytes});
  }
  template <typename T>
  requires(!std::is_same_v<T, std::byte>) Result<void> free_from(Offset<T>& source) {
    return free_from(reinterpret_cast<Offset<std::byte>&>(source));
  }

  // The `count` objects at `offset`; null where they are not wholly inside, or not aligned.
  template <typename T>
  T* get(Offset<T> offset, std::uint64_t count = 1) const {
    if (!offset || offset.bytes % alignof(T) != 0) return nullptr;
    if (count > ~std::uint64_t{0} / sizeof(T)) return nullptr;
    return reinterpret_cast<T*>(at(offset.bytes, count * sizeof(T)));
  }
  // The offset of something that lies in this heap.
  template <typename T>
  Offset<T> offset_of(const T* object) const {
    return {static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(object) - base())};
  }

  // An object that nobody sees yet, or no more: of begin_object() below.
  class Draft {
   public:
    Draft(std::shared_ptr<HeapCore> core, ObjectInHand object)
        : core_(std::move(core)), object_(object) {}
    Draft(Draft&& other) noexcept = default;
    Draft& operator=(Draft&&) = delete;
    ~Draft();
    // Uninitialised.
    void* memory() const { return object_.memory; }

   private:
    friend class Heap;
    std::shared_ptr<HeapCore> core_;  // null: done with
    ObjectInHand object_;
  };

  // Named objects. A name is 1 to 255 bytes.
  // make: constructs a T and publishes it under `name`, in this order: others see it whole or not
  // at all. Exceptions of T's constructor pass through, and leave nothing. What T's constructor
  // itself allocates is lost if the process is killed within it (transactions do not lose it).
  // Errors: already_exists; exhausted; invalid_argument for the name.
  template <typename T, typename... Arguments>
  Result<T*> make(std::string_view name, Arguments&&... arguments) {
    STRATA_ASSIGN(Draft draft, begin_object(name, type_tag<T>()));
    T* const object = ::new (draft.memory()) T(std::forward<Arguments>(arguments)...);
    if (auto published = publish(draft); !published) {
      object->~T();
      return unexpected(published.error());
    }
    return object;
  }
  // Errors: not_found; invalid_argument where the object has another type or layout, with both
  // named. It takes no lock and writes nothing, so that readers do not disturb each other.
  template <typename T>
  Result<T*> find(std::string_view name) const {
    STRATA_ASSIGN(void* const object, find(name, type_tag<T>()));
    return static_cast<T*>(object);
  }
  template <typename T, typename... Arguments>
  Result<T*> find_or_make(std::string_view name, Arguments&&... arguments) {
    while (true) {
      auto found = find<T>(name);
      if (found || found.error().code() != Code::not_found) return found;
      auto made = make<T>(name, arguments...);
      if (made || made.error().code() != Code::already_exists) return made;
    }
  }
  // Takes the name away, destroys the object and frees it. Whoever still uses it, does so at its
  // own risk. Errors: as find.
  template <typename T>
  Result<void> destroy(std::string_view name) {
    STRATA_ASSIGN(Draft draft, withdraw(name, type_tag<T>()));
    static_cast<T*>(draft.memory())->~T();
    return discard(draft);
  }
  // What a name stands for. Errors: not_found, corrupt.
  Result<ObjectInfo> stat(std::string_view name) const;
  // Removes an object without running a destructor: of any type, or of this one alone (errors: as
  // find).
  Result<void> remove(std::string_view name);
  Result<void> remove(std::string_view name, const TypeTag& type);
  std::uint64_t name_count() const;

  // The same by tags that are made at run time, for other languages. A Draft is an object that
  // nobody sees yet, and of the thread that began it, which begins no other meanwhile. Dropped
  // unpublished, or when its thread or its process ends, it is freed. It holds the heap.
  // Errors: as make; failed_precondition while this thread has another draft.
  Result<Draft> begin_object(std::string_view name, const TypeTag& type);
  // Gives it its name. Errors: as make, and then the draft stands; failed_precondition where it is
  // published already, or another thread's.
  Result<void> publish(Draft& draft);
  Result<void*> find(std::string_view name, const TypeTag& type) const;

  // Runs `function(tx)`, a function of Transaction& that returns Result<void>, while it holds
  // `lock`, which lies in this segment: all of it happens or nothing; see transaction.h.
  // Errors: what the function returns; timed_out for the lock; exhausted.
  template <typename Function>
  Result<void> transact(RobustMutex& lock, Function&& function,
                        const TransactOptions& options = {}) {
    STRATA_ASSIGN(TransactionLog* const log, transactions());
    return strata::transact(*log, lock, std::forward<Function>(function), options);
  }
  // The same with several locks, taken in the order of their addresses.
  template <typename Function>
  Result<void> transact(std::span<RobustMutex* const> locks, Function&& function,
                        const TransactOptions& options = {}) {
    STRATA_ASSIGN(TransactionLog* const log, transactions());
    return strata::transact(*log, locks, std::forward<Function>(function), options);
  }
  // The same without a function around it, for other languages: see open_transaction.h. No lock
  // at all is fine where nobody else changes what it changes. Errors: timed_out; exhausted;
  // invalid_argument for a lock outside of this segment.
  Result<OpenTransaction> begin_transaction(std::span<RobustMutex* const> locks,
                                            const TransactOptions& options = {});
  // The log behind transact. The first call makes one of a sixteenth of the heap, at most 1 MiB
  // (4 MiB on durable memory): for 16 transactions at a time, of up to 64 KiB (128 KiB) each.
  // make_transaction_log makes another size.
  // Errors: exhausted; already_exists; failed_precondition over a read-only segment.
  Result<TransactionLog*> transactions();
  Result<void> make_transaction_log(const TransactionLogOptions& options);

  // Cleans up after every dead process. Others do so when memory is short, and at open.
  Result<RecoveryReport> recover();
  // Walks everything, follows nothing that it has not bounded, changes nothing. Findings are in
  // the report; an error means that it could not look. Exact when nobody allocates meanwhile.
  Result<HeapReport> check() const;
  // What is used, by class and node, and the objects with names: for people.
  Result<HeapUsage> inspect() const;
  Result<std::vector<ObjectInfo>> objects() const;
  // Every allocated block, in order of offset, as check() sees it.
  Result<std::vector<BlockInfo>> blocks() const;

  // Gives the spans that the calling thread has in hand to whoever needs them.
  void release_thread_cache();

  std::byte* base() const { return base_; }
  // The words that the application may use to find its structures without names: 16 of them.
  // Null over a read-only segment.
  Offset<std::byte>* root(unsigned index);
  BlockActions& block_actions();
  HeapCore& core() { return *core_; }

 private:
  explicit Heap(std::shared_ptr<HeapCore> core);
  std::byte* at(std::uint64_t offset_bytes, std::uint64_t bytes) const;
  Result<Draft> withdraw(std::string_view name, const TypeTag& type);
  Result<void> discard(Draft& draft);

  std::shared_ptr<HeapCore> core_;
  std::byte* base_ = nullptr;
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
