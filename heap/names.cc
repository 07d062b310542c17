// Names: an open-addressing table of cells that point to records. Readers take no lock and write
// nothing; they read a record and then make sure that its cell, and the table, are still the same.
// Writers hold names.lock. One store publishes or withdraws a name.
#include <fmt/format.h>
#include <xxhash.h>

#include <atomic>
#include <bit>
#include <cstring>

#include "base/crc32c.h"
#include "heap/heap_core_inline.h"

namespace strata {

using namespace heap_layout;

namespace {

constexpr std::uint64_t kLockTimeoutMs = 10'000;
constexpr std::uint64_t kOffsetMask = (std::uint64_t{1} << 48) - 1;
constexpr std::uint64_t kVersionStep = std::uint64_t{1} << 48;
constexpr unsigned kMinTableLog2 = 6, kMaxTableLog2 = 40;
constexpr int kMaxReadTries = 1000;

std::uint64_t load_word(const std::byte* address, std::memory_order order) {
  return std::atomic_ref<std::uint64_t>(
             *const_cast<std::uint64_t*>(reinterpret_cast<const std::uint64_t*>(address)))
      .load(order);
}

void store_word(std::byte* address, std::uint64_t value) {
  std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(address))
      .store(value, std::memory_order_relaxed);
}

std::uint32_t record_crc(NameRecord head, std::string_view text) {
  head.crc32c = 0;
  const std::uint32_t of_head = crc32c(std::as_bytes(std::span(&head, 1)));
  return crc32c(std::as_bytes(std::span(text.data(), text.size())), of_head);
}

Result<void> check_object_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxObjectNameBytes) {
    return fail(Code::invalid_argument, fmt::format("object name of {} bytes: 1 to {} are allowed",
                                                    name.size(), kMaxObjectNameBytes));
  }
  return {};
}

}  // namespace

std::uint64_t HeapCore::hash_of(std::string_view name) {
  const std::uint64_t hash = XXH3_64bits(name.data(), name.size());
  return hash == 0 ? 1 : hash;
}

bool HeapCore::is_record_sound(const NameCopy& copy) {
  const std::size_t text_bytes = std::size_t{copy.head.name_bytes} + copy.head.type_bytes;
  return record_crc(copy.head, {copy.text.data(), text_bytes}) == copy.head.crc32c;
}

bool HeapCore::table_of(std::uint64_t root, NameTable& table) const {
  const unsigned log2 = static_cast<unsigned>(root & 63);
  if (log2 < kMinTableLog2 || log2 > kMaxTableLog2) return false;
  std::byte* const cells = at(root & kOffsetMask & ~std::uint64_t{63}, sizeof(NameCell) << log2);
  if (cells == nullptr) return false;
  table = {reinterpret_cast<NameCell*>(cells), (std::uint64_t{1} << log2) - 1};
  return true;
}

// Copies the record at `offset` word by word, since it may be freed and filled with something else
// meanwhile. False where it cannot be one.
bool HeapCore::copy_record(std::uint64_t offset, NameCopy& copy) const {
  if (offset % sizeof(std::uint64_t) != 0) return false;
  const std::byte* const from = at(offset, sizeof(NameRecord));
  if (from == nullptr) return false;
  std::array<std::uint64_t, sizeof(NameRecord) / 8> head;
  for (std::size_t i = 0; i < head.size(); ++i)
    head[i] = load_word(from + i * 8, std::memory_order_relaxed);
  std::memcpy(&copy.head, head.data(), sizeof(NameRecord));
  const std::size_t text_bytes = std::size_t{copy.head.name_bytes} + copy.head.type_bytes;
  if (copy.head.name_bytes > kMaxObjectNameBytes || copy.head.type_bytes > kMaxTypeNameBytes ||
      at(offset, sizeof(NameRecord) + align_up(text_bytes, 8)) == nullptr) {
    return false;
  }
  for (std::size_t i = 0; i < text_bytes; i += 8) {
    const std::uint64_t word = load_word(from + sizeof(NameRecord) + i, std::memory_order_relaxed);
    std::memcpy(copy.text.data() + i, &word, 8);
  }
  copy.offset = offset;
  return true;
}

// not_found, or corrupt where a record cannot be read although nobody is changing it.
Result<void> HeapCore::look_up(std::string_view name, NameCopy& copy) const {
  STRATA_TRY(check_object_name(name));
  const std::uint64_t hash = hash_of(name);
  const NamesBlock& names = header().names;
  for (int attempt = 0; attempt < kMaxReadTries; ++attempt) {
    const std::uint64_t root = names.root.load(std::memory_order_acquire);
    if (root == 0) break;
    NameTable table;
    if (!table_of(root, table)) {
      return fail(Code::corrupt, fmt::format("heap: the table of names is at {:#x}", root));
    }
    bool is_stale = false;
    for (std::uint64_t i = 0; i <= table.mask; ++i) {
      NameCell& cell = table.cells[(hash + i) & table.mask];
      const std::uint64_t found = cell.hash.load(std::memory_order_acquire);
      if (found == 0) break;
      if (found != hash) continue;
      const std::uint64_t record = cell.record.load(std::memory_order_acquire);
      if ((record & kOffsetMask) == 0) continue;
      const bool is_read = copy_record(record & kOffsetMask, copy);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (cell.record.load(std::memory_order_relaxed) != record) {
        is_stale = true;
        break;
      }
      if (names.root.load(std::memory_order_relaxed) != root) break;
      if (!is_read) {
        return fail(Code::corrupt,
                    fmt::format("heap: the record of a name is at {:#x}", record & kOffsetMask));
      }
      if (copy.name() == name) {
        copy.cell = &cell;
        return {};
      }
    }
    // The table that was searched may have been freed, and filled with something else, meanwhile.
    std::atomic_thread_fence(std::memory_order_acquire);
    if (!is_stale && names.root.load(std::memory_order_relaxed) == root) break;
  }
  return fail(Code::not_found, fmt::format("find '{}': no object of that name", name));
}

Result<void*> HeapCore::checked_object(const NameCopy& copy, const TypeTag* type) const {
  if (type != nullptr && (copy.head.layout_hash != type->layout_hash ||
                          copy.type() != type->name.substr(0, kMaxTypeNameBytes))) {
    return fail(Code::invalid_argument,
                fmt::format("find '{}': it is a {} of {} bytes (layout {:016x}), and not a {} of "
                            "{} bytes (layout {:016x})",
                            copy.name(), copy.type(), copy.head.bytes, copy.head.layout_hash,
                            type->name, type->bytes, type->layout_hash));
  }
  std::byte* const object = at(copy.head.object, copy.head.bytes);
  if (object == nullptr || (type != nullptr && copy.head.object % type->align_bytes != 0) ||
      copy.head.object < kUnitBytes * region_.meta_units()) {
    return fail(Code::corrupt, fmt::format("find '{}': the object is at {:#x}, {} bytes",
                                           copy.name(), copy.head.object, copy.head.bytes));
  }
  return object;
}

Result<void*> HeapCore::find_object(std::string_view name, const TypeTag& type) const {
  NameCopy copy;
  STRATA_TRY(look_up(name, copy));
  return checked_object(copy, &type);
}

ObjectInfo HeapCore::info_of(const NameCopy& copy) {
  return {.name = std::string(copy.name()),
          .type = std::string(copy.type()),
          .offset_bytes = copy.head.object,
          .bytes = copy.head.bytes,
          .align_bytes = copy.head.align_bytes,
          .layout_hash = copy.head.layout_hash};
}

Result<ObjectInfo> HeapCore::stat_object(std::string_view name) const {
  NameCopy copy;
  STRATA_TRY(look_up(name, copy));
  return info_of(copy);
}

Result<void> HeapCore::lock_names(ThreadCache& cache) {
  RobustMutex& lock = header().names.lock;
  STRATA_ASSIGN(const Acquired how, lock.lock_for_ms(*sync_, kLockTimeoutMs));
  STRATA_STEP("names locked");
  cache.holds_names_lock = true;
  if (how == Acquired::owner_died) {
    const auto repaired = repair_names(cache);
    STRATA_STEP("names repaired");
    const auto marked = repaired ? lock.mark_repaired(*sync_) : repaired;
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
  const std::uint64_t root_at = names.root.load() & kOffsetMask & ~std::uint64_t{63};
  // The dead writer's slot may still be about to free one of these tables.
  STRATA_TRY(settle_intents_on(cache, names.next));
  STRATA_TRY(settle_intents_on(cache, names.old));
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
      live += (table.cells[i].record.load() & kOffsetMask) != 0 ? 1 : 0;
    }
  }
  names.used.store(used);
  names.live.store(live);
  return {};
}

// Finishes what the dead had begun with `place`: until then the block that it holds, or held, is in
// nobody's hands.
Result<void> HeapCore::settle_intents_on(ThreadCache& cache, const Word& place) {
  const auto place_bytes =
      static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&place) - base_);
  const auto high = std::min<std::uint64_t>(header().slot_high.load(), kSlotCount);
  for (std::uint32_t number = 1; number <= high; ++number) {
    const std::uint64_t intent = slot(number).intent.load();
    if (intent == 0 || slot(number).place.load() != place_bytes) continue;
    STRATA_ASSIGN(const bool dead, is_slot_dead(slot(number).owner.load()));
    if (dead) STRATA_TRY(settle_dead_intent(cache, number, intent));
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
    if ((record & kOffsetMask) == 0) continue;
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
  names.old.store(root & kOffsetMask & ~std::uint64_t{63});
  flush(&names.old, sizeof(Word));
  drain();
  STRATA_STEP("grow names: old table noted");
  names.root.store(((root & ~kOffsetMask) + kVersionStep) | offset | log2);
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

Result<void*> HeapCore::begin_object(std::string_view name, const TypeTag& type) {
  STRATA_ASSIGN(ThreadCache* const mine, cache());
  Slot& slot = *mine->slot;
  if (slot.object.load(std::memory_order_relaxed) != 0 ||
      slot.record.load(std::memory_order_relaxed) != 0) {
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
  const std::string_view type_name = type.name.substr(0, kMaxTypeNameBytes);
  STRATA_TRY(allocate_to(slot.object, type.bytes, std::max(type.align_bytes, 16u)));
  const std::uint64_t object = slot.object.load(std::memory_order_relaxed);
  const std::size_t text_bytes = name.size() + type_name.size();
  if (auto made = allocate_to(slot.record, sizeof(NameRecord) + align_up(text_bytes, 8), 16);
      !made) {
    STRATA_TRY(free_from(slot.object));
    return unexpected(made.error());
  }
  NameRecord head{.object = object,
                  .bytes = type.bytes,
                  .layout_hash = type.layout_hash,
                  .align_bytes = type.align_bytes,
                  .name_bytes = static_cast<std::uint16_t>(name.size()),
                  .type_bytes = static_cast<std::uint16_t>(type_name.size()),
                  .crc32c = 0,
                  .reserved = 0};
  std::array<char, kMaxObjectNameBytes + kMaxTypeNameBytes + 8> text{};
  std::memcpy(text.data(), name.data(), name.size());
  std::memcpy(text.data() + name.size(), type_name.data(), type_name.size());
  head.crc32c = record_crc(head, {text.data(), text_bytes});
  const std::uint64_t record = slot.record.load(std::memory_order_relaxed);
  std::array<std::uint64_t, sizeof(NameRecord) / 8> words;
  std::memcpy(words.data(), &head, sizeof(head));
  for (std::size_t i = 0; i < words.size(); ++i)
    store_word(base_ + record + i * 8, words[i]);
  for (std::size_t i = 0; i < text_bytes; i += 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + i, 8);
    store_word(base_ + record + sizeof(NameRecord) + i, word);
  }
  flush(base_ + record, sizeof(NameRecord) + align_up(text_bytes, 8));
  STRATA_STEP("make: record written");
  return base_ + object;
}

// What begin_object made gets its name.
Result<void> HeapCore::publish_object() {
  STRATA_ASSIGN(ThreadCache* const mine, cache());
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
    if (is_empty || (here.record.load() & kOffsetMask) == 0) {
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
  cell->record.store(((cell->record.load() & ~kOffsetMask) + kVersionStep) | record);
  flush(cell, sizeof(NameCell));
  drain();
  STRATA_STEP("publish: published");
  names.live.fetch_add(1);
  // The object first: a record alone is looked for among the names before it is freed.
  slot.object.store(0, std::memory_order_release);
  STRATA_STEP("publish: object let go");
  slot.record.store(0, std::memory_order_release);
  flush(&slot, sizeof(Slot));
  unlock_names(*mine);
  return {};
}

// Takes the name away; object and record belong to the slot then.
Result<void*> HeapCore::withdraw_object(std::string_view name, const TypeTag* type) {
  STRATA_ASSIGN(ThreadCache* const mine, cache());
  Slot& slot = *mine->slot;
  if (slot.object.load(std::memory_order_relaxed) != 0 ||
      slot.record.load(std::memory_order_relaxed) != 0) {
    return fail(
        Code::failed_precondition,
        fmt::format("destroy '{}': this thread is making or destroying another object", name));
  }
  STRATA_TRY(lock_names(*mine));
  NameCopy copy;
  auto found = look_up(name, copy);
  auto object = found ? checked_object(copy, type) : unexpected(found.error());
  if (!object) {
    unlock_names(*mine);
    return object;
  }
  slot.record.store(copy.offset);
  STRATA_STEP("withdraw: record noted");
  slot.object.store(copy.head.object);
  flush(&slot, sizeof(Slot));
  drain();
  STRATA_STEP("withdraw: object noted");
  copy.cell->record.store((copy.cell->record.load() & ~kOffsetMask) + kVersionStep);
  flush(copy.cell, sizeof(NameCell));
  drain();
  STRATA_STEP("withdraw: withdrawn");
  header().names.live.fetch_sub(1);
  unlock_names(*mine);
  return object;
}

// Frees what begin_object made, or withdraw_object took.
Result<void> HeapCore::discard_object() {
  STRATA_ASSIGN(ThreadCache* const mine, cache());
  Slot& slot = *mine->slot;
  if (slot.object.load() != 0) STRATA_TRY(free_from(slot.object));
  STRATA_STEP("discard: object freed");
  if (slot.record.load() != 0) STRATA_TRY(free_from(slot.record));
  return {};
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
    dead.object.store(0);
    STRATA_STEP("resolve object: object let go");
    dead.record.store(0);
  } else {
    if (dead.object.load() != 0) result = free_from(dead.object);
    STRATA_STEP("resolve object: object freed");
    if (result && record != 0) result = free_from(dead.record);
  }
  flush(&dead, sizeof(Slot));
  unlock_names(mine);
  return result;
}

Result<std::vector<ObjectInfo>> HeapCore::objects() const {
  std::vector<ObjectInfo> objects;
  for (int attempt = 0; attempt < kMaxReadTries; ++attempt) {
    const std::uint64_t root = header().names.root.load(std::memory_order_acquire);
    if (root == 0) return objects;
    NameTable table;
    if (!table_of(root, table)) {
      return fail(Code::corrupt, fmt::format("heap: the table of names is at {:#x}", root));
    }
    objects.clear();
    for (std::uint64_t i = 0; i <= table.mask; ++i) {
      const std::uint64_t record = table.cells[i].record.load(std::memory_order_acquire);
      NameCopy copy;
      if ((record & kOffsetMask) == 0 || !copy_record(record & kOffsetMask, copy)) continue;
      std::atomic_thread_fence(std::memory_order_acquire);
      // A name that comes or goes meanwhile may be left out.
      if (table.cells[i].record.load(std::memory_order_relaxed) == record) {
        objects.push_back(info_of(copy));
      }
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    if (header().names.root.load(std::memory_order_relaxed) == root) break;
  }
  return objects;
}

}  // namespace strata
