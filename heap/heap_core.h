// HeapCore is a heap as one process sees it: the algorithms behind Heap. Internal to heap/.
//   Threads:  any; each has a ThreadCache of its own.
//   Lifetime: shared by Heap and, weakly, by the threads that used it.
//   Cost:     allocate, and free of a block of one's own span, are plain loads and one plain store
//             to the bitmap; free of another's block is one compare-and-swap there. Locks are taken
//             once per span, not per block.
// Which part is where: thread_cache.cc (slots), blocks.cc (allocate, free), spans.cc (who owns
// which span), units.cc (runs of units, growth), allocate_to.cc (and free_from),
// recover.cc (dead owners), names.cc and find_names.cc, heap_check.cc, heap_usage.cc,
// open_heaps.cc.
//
// Lock order: recovery_lock, names.lock, units_lock. Nothing else is held while one is taken.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "heap/layout.h"
#include "strata/base/bytes.h"
#include "strata/base/result.h"
#include "strata/base/step.h"
#include "strata/heap/heap_report.h"
#include "strata/heap/memory.h"
#include "strata/heap/type_tag.h"
#include "strata/segment/offset.h"
#include "strata/sync/sync_context.h"
#include "transaction/block_actions.h"
#include "transaction/transaction_log.h"

namespace strata::inline v0_1 {

struct HeapOptions;
struct ObjectInHand;

// A span: a run of units that holds blocks of one size.
struct Span {
  std::uint64_t unit = 0;         // its head
  std::uint64_t state = 0;        // the head's word, as read
  heap_layout::BlockWord* words;  // the bitmap
  std::uint32_t word_count = 0;
  std::uint32_t blocks = 0;
  std::uint64_t block_bytes = 0;
  std::uint64_t first_block = 0;  // offset in the payload
  unsigned size_class = 0;

  std::uint64_t block_offset(std::uint64_t index) const {
    return first_block + index * block_bytes;
  }
  bool holds(std::uint64_t offset) const {
    return offset >= first_block && offset < first_block + blocks * block_bytes;
  }
};

// A block within its span.
struct BlockPlace {
  Span span;
  heap_layout::BlockWord* word;
  unsigned shift;  // of its two bits
  std::uint32_t word_index;
};

// A free block of a span that the thread owns.
struct FreeBlock {
  heap_layout::BlockWord* word = nullptr;
  std::uint64_t packed = 0;  // offset | shift << 48

  static FreeBlock of(heap_layout::BlockWord* word, std::uint64_t offset, unsigned shift) {
    return {word, offset | std::uint64_t{shift} << 48};
  }
  std::uint64_t offset() const { return packed & ((std::uint64_t{1} << 48) - 1); }
  unsigned shift() const { return static_cast<unsigned>(packed >> 48); }
};

// What a thread has of one class. Private; all of it can be lost.
struct ClassCache {
  static constexpr std::uint32_t kMaxBlocks = 64;

  // Blocks to allocate next, the last first. They are free, as their bits say: that they stand here
  // keeps nobody from finding them after a kill.
  std::uint32_t count = 0;
  std::uint32_t capacity = 0;  // of blocks that are freed; 0 before the first span
  std::array<FreeBlock, kMaxBlocks> blocks;
  // The span that more of them come from.
  heap_layout::BlockWord* words = nullptr;  // null: none
  std::uint32_t word = 0;                   // where to look next
  std::uint32_t word_count = 0;
  std::uint64_t first_block = 0;
  std::uint64_t block_bytes = 0;
  std::uint64_t unit = 0;
  // The others: it frees into these without a locked instruction, and comes back to them.
  std::vector<std::uint64_t> kept;  // their heads, oldest first
  std::vector<std::uint64_t> room;  // those of `kept` that have room, as is_listed says
};
static_assert(sizeof(FreeBlock) == 16);

// What one thread has in hand.
struct ThreadCache {
  std::uint32_t slot_number = 0;  // index + 1
  heap_layout::Slot* slot = nullptr;
  bool holds_names_lock = false;
  bool holds_recovery_lock = false;
  std::uint64_t object_serial = 0;  // of the object in slot->record
  std::array<ClassCache, heap_layout::kClassCount> classes{};
  std::vector<std::uint64_t> reserved;  // offsets handed out by reserve(), still free
};

class HeapCore final : public BlockActions, public std::enable_shared_from_this<HeapCore> {
 public:
  using Word = heap_layout::Word;

  static Result<std::shared_ptr<HeapCore>> create(std::unique_ptr<HeapMemory> memory,
                                                  const HeapOptions& options);
  static Result<std::shared_ptr<HeapCore>> open(std::unique_ptr<HeapMemory> memory);
  ~HeapCore() override;

  // The heap of this process whose mapping begins at `base`, or null. A container in shared memory
  // can hold no process's pointer to its heap: this is how its allocator finds it.
  // Of at most kMaxOpenHeaps.
  static constexpr std::size_t kMaxOpenHeaps = 256;
  static HeapCore* find_open(const std::byte* base);

  std::byte* base() const { return base_; }
  heap_layout::HeapHeader& header() const {
    return *reinterpret_cast<heap_layout::HeapHeader*>(base_);
  }
  HeapMemory& memory() const { return *memory_; }
  const SyncContext* sync() const { return sync_ ? &*sync_ : nullptr; }
  bool is_volatile() const { return is_volatile_; }

  // The bytes [offset, offset + bytes), or null where they are not all there.
  std::byte* at(std::uint64_t offset_bytes, std::uint64_t bytes) const {
    const std::uint64_t limit = mapped_bytes_.load(std::memory_order_relaxed);
    if (offset_bytes > limit || bytes > limit - offset_bytes) [[unlikely]]
      return at_after_growth(offset_bytes, bytes);
    return base_ + offset_bytes;
  }

  Result<Offset<std::byte>> allocate(std::uint64_t bytes, std::uint64_t align);
  Result<void> free(std::uint64_t offset_bytes);
  Result<void> allocate_to(Word& destination, std::uint64_t bytes, std::uint64_t align);
  Result<void> free_from(Word& source);

  // BlockActions, for transactions.
  std::span<std::byte> payload() override;
  Result<std::uint64_t> reserve(std::uint64_t bytes, std::uint64_t alignment) override;
  void cancel(std::uint64_t offset) override;
  Result<BlockState> state(std::uint64_t offset) override;
  Result<std::uint64_t> usable_bytes(std::uint64_t offset) override;
  Result<bool> change(std::uint64_t offset, BlockState from, BlockState to) override;
  std::span<const std::byte> state_bytes(std::uint64_t offset) override;
  Result<void> release_leftovers() override;
  // Called with the token of a dead process that had reserved blocks for a transaction, before
  // its spans are given away. Without it such a slot stays as it is.
  void on_recovery(std::function<Result<void>(std::uint32_t token)> recover_transactions);

  // The log of transactions, made when it is first asked for (transaction_heap.cc).
  Result<TransactionLog*> transactions();
  Result<void> make_transaction_log(const TransactionLogOptions& options);

  // Names.
  Result<ObjectInHand> begin_object(std::string_view name, const TypeTag& type);
  Result<void> publish_object(const ObjectInHand& object);
  Result<ObjectInHand> withdraw_object(std::string_view name, const TypeTag* type);
  Result<void> discard_object(const ObjectInHand& object);
  // What this thread has in hand, as it ends.
  void discard_any_object();
  Result<ObjectInfo> stat_object(std::string_view name) const;
  Result<void*> find_object(std::string_view name, const TypeTag& type) const;

  Result<RecoveryReport> recover();
  Result<HeapReport> check() const;
  Result<HeapUsage> inspect() const;
  Result<std::vector<ObjectInfo>> objects() const;
  Result<std::vector<BlockInfo>> blocks() const;
  void release_thread_cache();

  // Units that exist for this process, tables included.
  std::uint64_t unit_limit() const;

 private:
  friend class ThreadCaches;
  friend class HeapChecker;

  explicit HeapCore(std::unique_ptr<HeapMemory> memory);
  static Result<void> read_identity(HeapMemory& memory, heap_layout::HeapIdentity& identity);
  void adopt_identity(const heap_layout::HeapIdentity& identity);

  // thread_cache.cc
  ThreadCache* quick_cache() const;
  Result<ThreadCache*> cache();
  Result<ThreadCache*> cache_slowly();
  Result<void> take_slot(ThreadCache& cache);
  void drop_cache(ThreadCache& cache);
  void release(ThreadCache& cache);
  Status not_writable() const;
  bool is_child() const { return owner_->token() == 0; }

  // blocks.cc
  Result<Offset<std::byte>> allocate_slowly(std::uint64_t bytes, std::uint64_t align);
  static Result<unsigned> pick_class(std::uint64_t bytes, std::uint64_t align);
  // A free block of a span of this thread, which nobody else will take.
  Result<FreeBlock> pick(ThreadCache& cache, unsigned size_class);
  bool pick_from_current(ThreadCache& cache, unsigned size_class);
  bool take(const FreeBlock& block);
  Result<Offset<std::byte>> flushed(const FreeBlock& block) const;
  Result<void> freed_own(ThreadCache& cache, std::uint64_t offset);
  enum class Where : std::uint8_t { found, outside, no_span, misaligned };
  Where locate(std::uint64_t offset_bytes, BlockPlace& place) const;
  Status bad_offset(const char* what, std::uint64_t offset_bytes, Where where) const;
  Status bad_state(const char* what, std::uint64_t offset_bytes, unsigned bits) const;
  void unreserve(ThreadCache& cache, std::uint64_t offset);
  static bool change_bits(const BlockPlace& place, unsigned from, unsigned to, std::uint64_t& now);
  Result<void> free_slowly(std::uint64_t offset);
  void after_own_free(ThreadCache& cache, const BlockPlace& place, std::uint64_t now);
  void after_free(ThreadCache* cache, const BlockPlace& place, std::uint64_t now);

  heap_layout::Slot& slot(std::uint32_t number) const {
    return reinterpret_cast<heap_layout::Slot*>(base_ +
                                                heap_layout::RegionLayout::kSlotsAt)[number - 1];
  }

  // spans.cc
  heap_layout::Descriptor& descriptor(std::uint64_t unit) const {
    return *reinterpret_cast<heap_layout::Descriptor*>(
        region_base(unit) + heap_layout::RegionLayout::kDescriptorsAt +
        (unit & region_mask_) * sizeof(heap_layout::Descriptor));
  }
  std::byte* region_base(std::uint64_t unit) const {
    return base_ + ((unit & ~region_mask_) << heap_layout::kUnitShift);
  }
  Word& region_word(std::uint64_t unit, std::uint64_t at, std::uint64_t index) const {
    return *reinterpret_cast<Word*>(region_base(unit) + at + index * 8);
  }
  // The span whose head is `unit`; false where there is none.
  bool span_at(std::uint64_t unit, Span& span) const;
  Result<void> refill(ThreadCache& cache, unsigned size_class);
  bool claim(ThreadCache& cache, std::uint64_t unit, unsigned size_class, std::uint32_t min_free);
  bool claim_hinted(ThreadCache& cache, unsigned size_class);
  bool claim_hinted_on(ThreadCache& cache, unsigned size_class, int node);
  bool claim_any(ThreadCache& cache, unsigned size_class, std::uint32_t min_free);
  void use_span(ThreadCache& cache, const Span& span);
  bool use_kept(ThreadCache& cache, std::uint64_t unit, unsigned size_class,
                std::uint32_t min_free);
  bool use_kept_with_room(ThreadCache& cache, unsigned size_class);
  bool use_any_kept(ThreadCache& cache, unsigned size_class);
  void keep_current(ThreadCache& cache, unsigned size_class);
  void list_room(ThreadCache& cache, const Span& span);
  bool give_back_empty(ThreadCache& cache, const Span& span);
  std::uint64_t give_back_all_empty(ThreadCache& cache);
  static std::uint32_t count_free(const ThreadCache& cache, const Span& span);
  void disown(ThreadCache& cache, std::uint64_t unit);
  void disown_for(std::uint32_t owner, std::uint64_t unit, std::uint32_t slot_number);
  void hint(std::uint64_t unit, unsigned size_class);
  void unhint(std::uint64_t unit, unsigned size_class);
  bool has_other_hint(std::uint64_t unit, unsigned size_class) const;
  void take_back_unowned(const Span& span, std::uint32_t slot_number);
  bool retire_if_empty(std::uint64_t unit, std::uint32_t slot_number);
  std::uint64_t retire_all_empty(std::uint32_t slot_number);
  static bool is_empty(const Span& span);
  static bool has_room(const Span& span, std::uint64_t now);
  static std::uint32_t count_free(const Span& span);

  // units.cc
  enum class Taking : std::uint8_t { span, large, large_reserved };
  Result<std::uint64_t> try_take_units(ThreadCache& cache, unsigned size_class, std::uint64_t units,
                                       Taking taking, Word* destination);
  Result<std::uint64_t> take_units(ThreadCache& cache, unsigned size_class, std::uint64_t units,
                                   Taking taking, Word* destination);
  Result<void> release_units(std::uint64_t unit);
  // Once in each generation, and after a dead owner, repairs the units.
  Result<void> lock_units();
  void unlock_units();
  void repair_units();
  std::uint64_t find_run(std::uint64_t units, int node) const;
  std::uint64_t find_free_run(std::uint64_t units) const;
  std::uint64_t find_run_in(std::uint64_t from, std::uint64_t to, std::uint64_t units) const;
  void mark_units(std::uint64_t unit, std::uint64_t count, bool used);
  Result<void> grow_for(std::uint64_t units);
  void add_units(std::uint64_t payload_bytes);
  int node_of_unit(std::uint64_t unit) const;
  int preferred_node() const;
  std::uint64_t refresh_mapped() const;
  std::byte* at_after_growth(std::uint64_t offset_bytes, std::uint64_t bytes) const;

  Result<std::uint64_t> take_large(ThreadCache& cache, std::uint64_t bytes, Taking taking,
                                   Word* destination);

  // allocate_to.cc
  Result<void> check_destination(const char* what, const Word& place) const;
  Result<void> finish_dead_intent(ThreadCache& cache, std::uint32_t number, std::uint64_t intent);
  void store_offset_of(ThreadCache& cache, const BlockPlace& place, Word& destination);
  void begin_intent(heap_layout::Slot& slot, std::uint64_t offset_bytes,
                    heap_layout::SlotIntent intent, const Word& place);
  void end_intent(heap_layout::Slot& slot);
  Result<void> await_foreign_release(ThreadCache& cache, std::uint64_t offset_bytes);

  // recover.cc
  // `mine` is null where the thread has no slot yet: then what takes one is left for later.
  Result<RecoveryReport> recover_now(ThreadCache* mine, bool may_lock_names);
  Result<bool> is_slot_dead(std::uint64_t owner_word) const;
  bool resolve_intent(heap_layout::Slot& slot);
  void recover_slot(std::uint32_t number, ThreadCache* mine, bool may_lock_names,
                    RecoveryReport& report);

  // transaction_heap.cc
  bool has_transaction_log() const { return header().transactions[0].load() != 0; }
  Result<void> open_transaction_log();
  TransactionLogOptions default_log_options() const;

  // What stands in the header once something derived was made anew in this generation. A power
  // failure leaves no dead owner by which to know that it lags. Never 0, which a new heap has.
  std::uint64_t repaired_generation() const { return memory_->generation() << 1 | 1; }

  // names.cc
  Result<void> lock_names(ThreadCache& cache);
  void unlock_names(ThreadCache& cache);
  Result<void> repair_names(ThreadCache& cache);
  Result<void> finish_intents_on(ThreadCache& cache, const Word& place);
  Result<void> ensure_room();
  bool is_published(std::uint64_t record_offset) const;
  void let_go_elsewhere(const ThreadCache& mine, std::uint64_t record);
  Result<void> resolve_object(ThreadCache& mine, heap_layout::Slot& dead);
  Result<ThreadCache*> cache_with(const ObjectInHand& object);
  struct NameTable {
    heap_layout::NameCell* cells;
    std::uint64_t mask;
  };
  // A private copy of a record.
  struct NameCopy {
    heap_layout::NameRecord head;
    std::uint64_t offset;
    heap_layout::NameCell* cell;
    std::array<char, heap_layout::kMaxObjectNameBytes + 9> name_text;
    std::array<char, heap_layout::kMaxTypeNameBytes + 9> type_text;

    std::string_view name() const { return {name_text.data(), head.name_bytes}; }
    std::string_view type() const { return {type_text.data(), head.type_bytes}; }
  };
  // What a search finds, read while it was there.
  struct NameFound {
    heap_layout::NameRecord head;
    std::uint64_t offset;
    heap_layout::NameCell* cell;
  };
  enum class Search : std::uint8_t { found, not_found, bad_table, bad_record };
  static std::uint64_t hash_of(std::string_view name);
  static bool is_record_sound(const NameCopy& copy);
  bool table_of(std::uint64_t root, NameTable& table) const;
  bool copy_head(std::uint64_t offset, heap_layout::NameRecord& head) const;
  bool copy_record(std::uint64_t offset, NameCopy& copy) const;
  bool has_name(std::uint64_t offset, std::string_view name) const;
  Search search(std::string_view name, std::uint64_t hash, NameFound& found) const;
  Status search_error(Search how, std::string_view name) const;
  Result<void> look_up(std::string_view name, NameCopy& copy) const;
  std::byte* object_of(const NameFound& found, std::uint32_t align_bytes) const;
  Result<void*> find_slowly(std::string_view name, const TypeTag& type) const;
  Result<void*> checked_object(const NameFound& found, std::string_view name,
                               const TypeTag* type) const;
  static ObjectInfo info_of(const NameCopy& copy);

  void flush(const void* address, std::size_t bytes) const {
    if (!is_volatile_) memory_->durability().flush(address, bytes);
  }
  // Returns once what was flushed is durable. A medium that refuses is reported by the
  // operation's caller where it persists its own data.
  void drain() const {
    if (!is_volatile_) (void)memory_->durability().drain();
  }

  std::unique_ptr<HeapMemory> memory_;
  std::byte* base_;
  const Owner* owner_;
  std::optional<SyncContext> sync_;
  std::uint64_t me_ = 0;  // generation << 32 | token
  std::uint64_t id_;      // of this instance, never used again in this process
  bool is_volatile_;
  heap_layout::RegionLayout region_{};
  std::uint64_t region_mask_ = 0;
  std::uint64_t max_units_ = 0;
  std::vector<heap_layout::NodeRange> ranges_;
  mutable std::atomic<std::uint64_t> mapped_bytes_{0};
  mutable std::atomic<std::uint64_t> known_units_{0};  // unit_limit() as it was: it only grows
  mutable std::mutex memory_mutex_;                    // refresh and grow
  std::atomic<std::uint64_t> search_from_{0};
  std::atomic<std::uint64_t> object_serials_{0};
  std::mutex caches_mutex_;
  std::vector<std::unique_ptr<ThreadCache>> caches_;
  std::function<Result<void>(std::uint32_t)> recover_transactions_;
  std::mutex log_mutex_;
  std::unique_ptr<TransactionLog> log_;
  std::atomic<TransactionLog*> open_log_{nullptr};  // log_, once it is open
};

}  // namespace strata::inline v0_1
