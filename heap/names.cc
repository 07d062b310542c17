// Names: an open-addressing table of cells that point to records. Readers are in find_names.cc;
// writers, here, hold names.lock. One store publishes or withdraws a name.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "base/printable.h"
#include "heap/heap_core_inline.h"
#include "heap/name_record.h"
#include "strata/heap/heap.h"

namespace strata::inline v0_1 {

using namespace heap_layout;

namespace {

constexpr std::uint64_t kLockTimeoutMs = 10'000;
constexpr std::uint64_t kVersionStep = std::uint64_t{1} << 48;
constexpr unsigned kMinTableLog2 = 6;

void store_word(std::byte* address, std::uint64_t value) {
  std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(address))
      .store(value, std::memory_order_relaxed);
}

// Word by word, since a reader may have come to these bytes by what they were before.
void store_text(std::byte* to, std::string_view text) {
  for (std::size_t i = 0; i < text.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + i, std::min<std::size_t>(text.size() - i, 8));
    store_word(to + i, word);
  }
}

// Tags of other languages are made at run time.
Result<void> check_tag(const TypeTag& type, std::uint64_t most_bytes) {
  if (!std::has_single_bit(type.align_bytes) || type.align_bytes > kPageBytes) {
    return fail(Code::invalid_argument,
                fmt::format("type {}: an alignment of {} bytes: a power of two up to {} is allowed",
                            printable(type.name), type.align_bytes, kPageBytes));
  }
  if (type.bytes > most_bytes) {
    return fail(Code::exhausted, fmt::format("type {}: {} bytes, and the heap has {}",
                                             printable(type.name), type.bytes, most_bytes));
  }
  return {};
}

}  // namespace

Result<void> HeapCore::lock_names(ThreadCache& cache) {
  RobustMutex& lock = header().names.lock;
  STRATA_ASSIGN(const Acquired how, lock.lock_for_ms(*sync_, kLockTimeoutMs));
  STRATA_STEP("names locked");
  cache.holds_names_lock = true;
  // A power failure leaves no dead owner, but counts that lag, and perhaps a table half-made.
  const bool is_first = header().names.generation.load() != repaired_generation();
  if (how == Acquired::owner_died || is_first) {
    auto repaired = repair_names(cache);
    if (repaired) header().names.generation.store(repaired_generation());
    STRATA_STEP("names repaired");
    const auto marked =
        repaired && how == Acquired::owner_died ? lock.mark_repaired(*sync_) : repaired;
    if (!marked) {
      unlock_names(cache);
      return marked;
    }
  }
  return {};
}

void HeapCore::unlock_names(ThreadCache& cache) {
  STRATA_STEP("names to be unlocked");
  cache.holds_names_lock = false;
  (void)header().names.lock.unlock(*sync_);
}

// With the lock held: a growth that was under way is finished or undone, and names are counted.
Result<void> HeapCore::repair_names(ThreadCache& cache) {
  NamesBlock& names = header().names;
  const std::uint64_t root_at = names.root.load() & kCellOffsetMask & ~std::uint64_t{63};
  // The dead writer's slot may still be about to free one of these tables.
  STRATA_TRY(finish_intents_on(cache, names.next));
  STRATA_TRY(finish_intents_on(cache, names.old));
  if (const std::uint64_t next = names.next.load(); next != 0 && next == root_at) {
    names.next.store(0);  // published
    flush(&names.next, sizeof(Word));
  } else if (next != 0) {
    STRATA_TRY(free_from(names.next));
  }
  STRATA_STEP("repair names: next table settled");
  if (const std::uint64_t old = names.old.load(); old != 0 && old == root_at) {
    names.old.store(0);  // not replaced
    flush(&names.old, sizeof(Word));
  } else if (old != 0) {
    STRATA_TRY(free_from(names.old));
  }
  NameTable table;
  std::uint64_t used = 0, live = 0;
  if (names.root.load() != 0 && table_of(names.root.load(), table)) {
    for (std::uint64_t i = 0; i <= table.mask; ++i) {
      used += table.cells[i].hash.load() != 0 ? 1 : 0;
      live += (table.cells[i].record.load() & kCellOffsetMask) != 0 ? 1 : 0;
    }
  }
  names.used.store(used);
  names.live.store(live);
  return {};
}

// Finishes what the dead had begun with `place`: until then the block that it holds, or held, is in
// nobody's hands.
Result<void> HeapCore::finish_intents_on(ThreadCache& cache, const Word& place) {
  const auto place_bytes =
      static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&place) - base_);
  const auto high = std::min<std::uint64_t>(header().slot_high.load(), kSlotCount);
  for (std::uint32_t number = 1; number <= high; ++number) {
    const std::uint64_t intent = slot(number).intent.load();
    if (intent == 0 || slot(number).place.load() != place_bytes) continue;
    STRATA_ASSIGN(const bool dead, is_slot_dead(slot(number).owner.load()));
    if (dead) STRATA_TRY(finish_dead_intent(cache, number, intent));
  }
  return {};
}

// With the lock held: a table with room for one more name.
Result<void> HeapCore::ensure_room() {
  NamesBlock& names = header().names;
  const std::uint64_t root = names.root.load();
  NameTable from{nullptr, 0};
  if (root != 0 && !table_of(root, from)) {
    return fail(Code::corrupt, fmt::format("heap: the table of names is at {:#x}", root));
  }
  const std::uint64_t cells = root == 0 ? 0 : from.mask + 1;
  // Tombstones lengthen searches as names do: a new table has none.
  if ((names.used.load() + 1) * 3 <= cells * 2) return {};
  const std::uint64_t wanted = (names.live.load() + 1) * 3;
  const unsigned log2 = std::max(kMinTableLog2, static_cast<unsigned>(std::bit_width(wanted - 1)));
  STRATA_TRY(allocate_to(names.next, sizeof(NameCell) << log2, kCacheLineBytes));
  const std::uint64_t offset = names.next.load();
  NameTable to;
  if (!table_of(offset | log2, to)) return fail(Code::internal, "heap: a new table is outside");
  for (std::uint64_t i = 0; i <= to.mask; ++i) {
    to.cells[i].hash.store(0, std::memory_order_relaxed);
    to.cells[i].record.store(0, std::memory_order_relaxed);
  }
  std::uint64_t live = 0;
  for (std::uint64_t i = 0; i < cells; ++i) {
    const std::uint64_t record = from.cells[i].record.load(std::memory_order_relaxed);
    if ((record & kCellOffsetMask) == 0) continue;
    const std::uint64_t hash = from.cells[i].hash.load(std::memory_order_relaxed);
    std::uint64_t at_cell = hash & to.mask;
    while (to.cells[at_cell].hash.load(std::memory_order_relaxed) != 0)
      at_cell = (at_cell + 1) & to.mask;
    to.cells[at_cell].record.store(record, std::memory_order_relaxed);
    to.cells[at_cell].hash.store(hash, std::memory_order_relaxed);
    ++live;
  }
  flush(to.cells, (to.mask + 1) * sizeof(NameCell));
  STRATA_STEP("grow names: filled");
  names.old.store(root & kCellOffsetMask & ~std::uint64_t{63});
  flush(&names.old, sizeof(Word));
  drain();
  STRATA_STEP("grow names: old table noted");
  names.root.store(((root & ~kCellOffsetMask) + kVersionStep) | offset | log2);
  flush(&names.root, sizeof(Word));
  drain();
  STRATA_STEP("grow names: published");
  names.next.store(0);
  flush(&names.next, sizeof(Word));
  names.used.store(live);
  STRATA_STEP("grow names: done");
  if (names.old.load() != 0) STRATA_TRY(free_from(names.old));
  return {};
}

Result<ObjectInHand> HeapCore::begin_object(std::string_view name, const TypeTag& type) {
  STRATA_TRY(check_tag(type, memory_->max_bytes()));
  STRATA_ASSIGN(ThreadCache* const mine, cache());
  Slot& slot = *mine->slot;
  if (slot.record.load(std::memory_order_relaxed) != 0) {
    return fail(Code::failed_precondition,
                fmt::format("make '{}': this thread is making or destroying another object", name));
  }
  NameCopy copy;
  if (auto found = look_up(name, copy)) {
    return fail(Code::already_exists,
                fmt::format("make '{}': there is one, a {}", name, copy.type()));
  } else if (found.error().code() != Code::not_found) {
    return unexpected(found.error());
  }
  // One block: the record with the name, the object, the type's name.
  const std::string_view type_name = type.name.substr(0, kMaxTypeNameBytes);
  const std::uint64_t align = std::max<std::uint64_t>(type.align_bytes, kCacheLineBytes);
  const std::uint64_t object_at =
      align_up(sizeof(NameRecord) + align_up(name.size(), 8), type.align_bytes);
  const std::uint64_t type_name_at = align_up(object_at + type.bytes, 8);
  STRATA_TRY(allocate_to(slot.record, type_name_at + align_up(type_name.size(), 8), align));
  const std::uint64_t record = slot.record.load(std::memory_order_relaxed);
  NameRecord head{.object = record + object_at,
                  .bytes = type.bytes,
                  .layout_hash = type.layout_hash,
                  .align_bytes = type.align_bytes,
                  .name_bytes = static_cast<std::uint16_t>(name.size()),
                  .type_bytes = static_cast<std::uint16_t>(type_name.size()),
                  .crc32c = 0,
                  .reserved = 0};
  head.crc32c = record_crc(head, name, type_name);
  store_text(base_ + record, {reinterpret_cast<const char*>(&head), sizeof(head)});
  store_text(base_ + record + sizeof(NameRecord), name);
  store_text(base_ + record + type_name_at, type_name);
  flush(base_ + record, sizeof(NameRecord) + align_up(name.size(), 8));
  flush(base_ + record + type_name_at, type_name.size());
  STRATA_STEP("make: record written");
  mine->object_serial = object_serials_.fetch_add(1, std::memory_order_relaxed) + 1;
  return ObjectInHand{base_ + record + object_at, mine->object_serial};
}

// That of the thread, which must be the one that has the object in hand.
Result<ThreadCache*> HeapCore::cache_with(const ObjectInHand& object) {
  STRATA_ASSIGN(ThreadCache* const mine, cache());
  if (mine->slot->record.load(std::memory_order_relaxed) != 0 &&
      mine->object_serial == object.serial) {
    return mine;
  }
  return fail(Code::failed_precondition,
              "this thread is not making that object: another thread began it, or it is done with");
}

// What begin_object made gets its name.
Result<void> HeapCore::publish_object(const ObjectInHand& object) {
  STRATA_ASSIGN(ThreadCache* const mine, cache_with(object));
  Slot& slot = *mine->slot;
  const std::uint64_t record = slot.record.load(std::memory_order_relaxed);
  NameCopy copy, other;
  if (record == 0 || !copy_record(record, copy)) {
    return fail(Code::internal, "heap: there is no object to publish");
  }
  flush(base_ + copy.head.object, copy.head.bytes);
  STRATA_TRY(lock_names(*mine));
  auto room = ensure_room();
  if (!room && room.error().code() == Code::exhausted) {
    // With the lock held the dead cannot be cleaned up after: do that, and try once more.
    unlock_names(*mine);
    STRATA_TRY(recover_now(mine, true));
    STRATA_TRY(lock_names(*mine));
    room = ensure_room();
  }
  if (room && look_up(copy.name(), other)) {
    room = fail(Code::already_exists,
                fmt::format("make '{}': there is one, a {}", copy.name(), other.type()));
  }
  if (!room) {
    unlock_names(*mine);
    return room;
  }
  NamesBlock& names = header().names;
  NameTable table;
  if (!table_of(names.root.load(), table)) {
    unlock_names(*mine);
    return fail(Code::corrupt, "heap: the table of names is out of bounds");
  }
  const std::uint64_t hash = hash_of(copy.name());
  NameCell* cell = nullptr;
  for (std::uint64_t i = 0; i <= table.mask && cell == nullptr; ++i) {
    NameCell& here = table.cells[(hash + i) & table.mask];
    const bool is_empty = here.hash.load() == 0;
    if (is_empty || (here.record.load() & kCellOffsetMask) == 0) {
      cell = &here;
      if (is_empty) names.used.fetch_add(1);
    }
  }
  if (cell == nullptr) {
    unlock_names(*mine);
    return fail(Code::corrupt, "heap: the table of names has no free cell, against its count");
  }
  // The hash first: until the record stands beside it, the cell reads as a tombstone.
  cell->hash.store(hash);
  STRATA_STEP("publish: hash written");
  flush(cell, sizeof(NameCell));
  drain();
  cell->record.store(((cell->record.load() & ~kCellOffsetMask) + kVersionStep) | record);
  flush(cell, sizeof(NameCell));
  drain();
  STRATA_STEP("publish: published");
  names.live.fetch_add(1);
  slot.record.store(0, std::memory_order_release);
  flush(&slot, sizeof(Slot));
  unlock_names(*mine);
  return {};
}

// With the lock held and the record published: whoever else names it was killed before it took the
// name away, or after it gave it. That is nothing to clean up after, and once the block was freed
// and used for something else, cleaning up would free that.
void HeapCore::let_go_elsewhere(const ThreadCache& mine, std::uint64_t record) {
  const auto high = std::min<std::uint64_t>(header().slot_high.load(), kSlotCount);
  for (std::uint32_t number = 1; number <= high; ++number) {
    Slot& other = slot(number);
    if (number == mine.slot_number || other.record.load() != record) continue;
    other.record.store(0);
    flush(&other, sizeof(Slot));
    STRATA_STEP("withdraw: let go in a dead slot");
  }
}

// Takes the name away; its block belongs to the slot then.
Result<ObjectInHand> HeapCore::withdraw_object(std::string_view name, const TypeTag* type) {
  STRATA_ASSIGN(ThreadCache* const mine, cache());
  Slot& slot = *mine->slot;
  if (slot.record.load(std::memory_order_relaxed) != 0) {
    return fail(
        Code::failed_precondition,
        fmt::format("destroy '{}': this thread is making or destroying another object", name));
  }
  STRATA_TRY(lock_names(*mine));
  NameFound found;
  const Search how = search(name, hash_of(name), found);
  auto object = how == Search::found ? checked_object(found, name, type)
                                     : Result<void*>(unexpected(search_error(how, name)));
  if (!object) {
    unlock_names(*mine);
    return unexpected(object.error());
  }
  let_go_elsewhere(*mine, found.offset);
  slot.record.store(found.offset);
  flush(&slot, sizeof(Slot));
  drain();
  STRATA_STEP("withdraw: record noted");
  found.cell->record.store((found.cell->record.load() & ~kCellOffsetMask) + kVersionStep);
  flush(found.cell, sizeof(NameCell));
  drain();
  STRATA_STEP("withdraw: withdrawn");
  header().names.live.fetch_sub(1);
  unlock_names(*mine);
  mine->object_serial = object_serials_.fetch_add(1, std::memory_order_relaxed) + 1;
  return ObjectInHand{*object, mine->object_serial};
}

// Frees what begin_object made, or withdraw_object took.
Result<void> HeapCore::discard_object(const ObjectInHand& object) {
  STRATA_ASSIGN(ThreadCache* const mine, cache_with(object));
  return free_from(mine->slot->record);
}

void HeapCore::discard_any_object() {
  const auto mine = cache();
  if (mine && (*mine)->slot->record.load() != 0) (void)free_from((*mine)->slot->record);
}

bool HeapCore::is_published(std::uint64_t record_offset) const {
  NameCopy copy, found;
  // A record that its maker did not finish has no name.
  if (!copy_record(record_offset, copy) || !is_record_sound(copy)) return false;
  return look_up(copy.name(), found) && found.offset == record_offset;
}

// What a dead slot was making or destroying: let go where it has a name, else freed.
Result<void> HeapCore::resolve_object(ThreadCache& mine, Slot& dead) {
  STRATA_TRY(lock_names(mine));
  Result<void> result;
  const std::uint64_t record = dead.record.load();
  if (record != 0 && is_published(record)) {
    dead.record.store(0);
  } else if (record != 0) {
    result = free_from(dead.record);
  }
  flush(&dead, sizeof(Slot));
  unlock_names(mine);
  return result;
}

}  // namespace strata::inline v0_1
