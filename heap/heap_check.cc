// check(): walks everything and follows nothing that it has not bounded. It changes nothing, so
// that a read-only attachment is enough.
#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <vector>

#include "base/crc32c.h"
#include "heap/heap_core_inline.h"
#include "transaction/transaction_check.h"

namespace strata::inline v0_1 {

using namespace heap_layout;

std::string finding_kind_name(HeapFinding::Kind kind) {
  switch (kind) {
    case HeapFinding::Kind::header: return "header";
    case HeapFinding::Kind::descriptor: return "descriptor";
    case HeapFinding::Kind::bitmap: return "bitmap";
    case HeapFinding::Kind::hint: return "hint";
    case HeapFinding::Kind::slot: return "slot";
    case HeapFinding::Kind::dead_owner: return "dead_owner";
    case HeapFinding::Kind::name: return "name";
    case HeapFinding::Kind::lock: return "lock";
    case HeapFinding::Kind::log: return "log";
  }
  return "?";
}

bool HeapReport::is_consistent() const {
  for (const HeapFinding& finding : findings) {
    if (finding.kind != HeapFinding::Kind::hint && finding.kind != HeapFinding::Kind::dead_owner) {
      return false;
    }
  }
  return finding_count == findings.size();
}

std::string HeapReport::to_string() const {
  std::string text = fmt::format(
      "verified {} units, {} spans, {} block places ({} allocated, {} bytes; {} unfinished), {} "
      "slots, {} names, {} records of {} log slots: {} findings",
      units, spans, blocks, allocated_blocks, allocated_bytes, unfinished_blocks, slots, names,
      log_records, log_slots, finding_count);
  for (const HeapFinding& finding : findings) {
    text += fmt::format("\n  {} at {:#x}: {}", finding_kind_name(finding.kind),
                        finding.offset_bytes, finding.text);
  }
  return text;
}

class HeapChecker {
 public:
  HeapChecker(const HeapCore& core, std::vector<BlockInfo>* blocks)
      : core_(core), blocks_(blocks) {}

  HeapReport run() {
    check_header();
    check_locks();
    check_units();
    check_slots();
    check_names();
    check_log();
    return std::move(report_);
  }

 private:
  using Kind = HeapFinding::Kind;

  template <typename... Arguments>
  void found(Kind kind, std::uint64_t offset, fmt::format_string<Arguments...> format,
             Arguments&&... arguments) {
    if (report_.findings.size() < HeapReport::kMaxFindings) {
      report_.findings.push_back(
          {kind, offset, fmt::format(format, std::forward<Arguments>(arguments)...)});
    }
    ++report_.finding_count;
  }

  std::uint64_t offset_of(const void* address) const {
    return static_cast<std::uint64_t>(static_cast<const std::byte*>(address) - core_.base());
  }

  void check_header() {
    const HeapHeader& header = core_.header();
    HeapIdentity identity;
    if (auto read = HeapCore::read_identity(core_.memory(), identity); !read) {
      found(Kind::header, 0, "{}", read.error().message());
    }
    if (header.slot_high.load() > kSlotCount) {
      found(Kind::header, offset_of(&header.slot_high), "slots ever used: {}, there are {}",
            header.slot_high.load(), kSlotCount);
    }
    const std::uint64_t claimed = header.unit_limit.load();
    if (claimed != core_.unit_limit() || claimed < core_.region_.meta_units()) {
      found(Kind::header, offset_of(&header.unit_limit), "{} units claimed, {} are mapped", claimed,
            core_.mapped_bytes_.load() / kUnitBytes);
    }
  }

  void check_locks() {
    const HeapHeader& header = core_.header();
    const std::pair<const char*, const RobustMutex*> locks[] = {{"units", &header.units_lock},
                                                                {"recovery", &header.recovery_lock},
                                                                {"names", &header.names.lock}};
    for (const auto& [name, lock] : locks) {
      if (auto checked = lock->check(); !checked) {
        found(Kind::lock, offset_of(lock), "lock of the {}: {}", name, checked.error().message());
        continue;
      }
      const LockReport report = lock->report();
      if (core_.sync() != nullptr && report.token != 0 &&
          report.generation == core_.sync()->generation_bits() >> 32 &&
          core_.sync()->is_dead(report.token)) {
        found(Kind::dead_owner, offset_of(lock), "lock of the {} is held by a dead process", name);
      }
    }
  }

  void check_units() {
    const std::uint64_t limit = core_.unit_limit();
    owners_seen_.assign(kSlotCount + 1, 0);
    std::uint64_t reach = 0;  // first unit after the last span
    std::uint64_t head = 0;   // of the last span
    bool is_span_sound = false;
    for (std::uint64_t unit = 0; unit < limit; ++unit) {
      ++report_.units;
      const Word& word = core_.descriptor(unit).state;
      const UnitState state = UnitState::of(word.load(std::memory_order_acquire));
      const std::uint64_t index = unit & core_.region_mask_;
      const bool is_meta = index < core_.region_.meta_units();
      check_used_hint(unit, state);
      if (is_meta != (state.kind == UnitKind::meta)) {
        found(Kind::descriptor, offset_of(&word), "unit {}: kind {}, but it {} tables", unit,
              static_cast<unsigned>(state.kind), is_meta ? "holds" : "does not hold");
        continue;
      }
      if (unit < reach) {
        // Within the last span: the head says so, and each of its units has to agree.
        if (state.kind != UnitKind::interior || state.units != unit - head) {
          found(Kind::descriptor, offset_of(&word),
                "unit {}: kind {} in the span of {} units at unit {}: spans overlap or a unit is "
                "lost",
                unit, static_cast<unsigned>(state.kind), reach - head, head);
        }
        continue;
      }
      switch (state.kind) {
        case UnitKind::free:
        case UnitKind::meta: break;
        case UnitKind::interior:
          found(kind_of_stray_unit(), offset_of(&word),
                "unit {}: belongs to a span {} units before it, which does not reach it", unit,
                state.units);
          break;
        case UnitKind::head:
          is_span_sound = check_span(unit, state);
          head = unit;
          reach = is_span_sound ? unit + state.units : unit + 1;
          break;
        default:
          found(Kind::descriptor, offset_of(&word), "unit {}: kind {} is none", unit,
                static_cast<unsigned>(state.kind));
      }
    }
  }

  // An interior unit without a head is expected where a dead or live holder of the lock is between
  // two steps, and where the power failed between them and nobody has had the lock since.
  Kind kind_of_stray_unit() const {
    const LockReport lock = core_.header().units_lock.report();
    if (lock.token != 0 || lock.is_unrepaired) return Kind::dead_owner;
    const bool is_repaired = core_.header().units_generation.load() == core_.repaired_generation();
    return is_repaired ? Kind::descriptor : Kind::hint;
  }

  void check_used_hint(std::uint64_t unit, const UnitState& state) {
    const std::uint64_t index = unit & core_.region_mask_;
    const Word& word = core_.region_word(unit, core_.region_.used_units_at(), index / 64);
    const bool is_used = (word.load(std::memory_order_relaxed) >> index % 64 & 1) != 0;
    if (is_used != (state.kind != UnitKind::free)) {
      found(Kind::hint, offset_of(&word), "unit {}: the map of units says {}, its descriptor {}",
            unit, is_used ? "used" : "free", is_used ? "free" : "used");
    }
  }

  bool check_span(std::uint64_t unit, const UnitState& state) {
    const Word& word = core_.descriptor(unit).state;
    Span span;
    if (!core_.span_at(unit, span)) {
      found(Kind::descriptor, offset_of(&word), "unit {}: a span of class {} and {} units", unit,
            state.size_class, state.units);
      return false;
    }
    if (unit + state.units > core_.unit_limit()) {
      found(Kind::descriptor, offset_of(&word), "unit {}: a span of {} units ends beyond the heap",
            unit, state.units);
      return false;
    }
    if (state.owner > kSlotCount) {
      found(Kind::descriptor, offset_of(&word), "unit {}: owned by slot {}, there are {}", unit,
            state.owner, kSlotCount);
    } else if (state.owner != 0) {
      ++owners_seen_[state.owner];
    }
    ++report_.spans;
    report_.blocks += span.blocks;
    for (std::uint32_t i = 0; i < span.word_count; ++i)
      check_word(span, i);
    return true;
  }

  void check_word(const Span& span, std::uint32_t index) {
    const std::uint64_t now = span.words[index].state();
    const std::uint64_t absent = no_such_blocks(span.blocks, index);
    // Every bit of a place that is no block: both bits, pending set and allocated clear.
    const std::uint64_t no_place = absent | absent >> 1;
    if ((now & no_place) != absent) {
      found(Kind::bitmap, offset_of(&span.words[index]),
            "span at unit {}: word {} is {:016x}, in which blocks beyond the last of {} have a "
            "state",
            span.unit, index, now, span.blocks);
    }
    const std::uint64_t allocated = now & kAllocatedBits & ~no_place;
    const std::uint64_t pending = now >> 1 & kAllocatedBits & ~no_place;
    const auto count = static_cast<std::uint64_t>(std::popcount(allocated));
    report_.allocated_blocks += count;
    report_.allocated_bytes += count * span.block_bytes;
    report_.unfinished_blocks += static_cast<std::uint64_t>(std::popcount(pending));
    if (blocks_ == nullptr) return;
    for (std::uint64_t bits = allocated; bits != 0; bits &= bits - 1) {
      const std::uint64_t block =
          index * kBlocksPerWord + static_cast<std::uint64_t>(std::countr_zero(bits)) / 2;
      blocks_->push_back({span.block_offset(block), span.block_bytes});
    }
  }

  void check_slots() {
    for (std::uint32_t number = 1; number <= kSlotCount; ++number) {
      const Slot& slot = core_.slot(number);
      const std::uint64_t at = offset_of(&slot);
      const std::uint64_t owner = slot.owner.load();
      if (owner == 0) {
        if (owners_seen_[number] != 0) {
          found(Kind::descriptor, at, "slot {} is free but owns {} spans", number,
                owners_seen_[number]);
        }
        continue;
      }
      ++report_.slots;
      check_intent(slot, number);
      if (const std::uint64_t record = slot.record.load(); record != 0 && !is_block(record)) {
        found(Kind::slot, offset_of(&slot.record), "slot {}: the object at {:#x} is no block",
              number, record);
      }
      if (core_.sync() == nullptr) continue;
      if (const auto dead = core_.is_slot_dead(owner); dead && *dead) {
        found(Kind::dead_owner, at, "slot {} with {} spans belongs to a dead process (pid {})",
              number, owners_seen_[number], slot.pid.load());
      }
    }
  }

  void check_intent(const Slot& slot, std::uint32_t number) {
    const std::uint64_t intent = slot.intent.load();
    if (intent == 0) return;
    const std::uint64_t kind = intent & kIntentMask;
    if (kind != 1 && kind != 2) {
      found(Kind::slot, offset_of(&slot.intent), "slot {}: intent {} is none", number, kind);
    }
    if (!is_block_place(intent & ~kIntentMask)) {
      // A large block that was about to be taken has no span yet.
      if (kind != 1) {
        found(Kind::slot, offset_of(&slot.intent), "slot {}: intends to free {:#x}, no block",
              number, intent & ~kIntentMask);
      }
    }
    const std::uint64_t place = slot.place.load();
    if (place % sizeof(Word) != 0 || core_.at(place, sizeof(Word)) == nullptr) {
      found(Kind::slot, offset_of(&slot.place), "slot {}: publishes at {:#x}, outside", number,
            place);
    }
  }

  bool is_block_place(std::uint64_t offset) const {
    BlockPlace place;
    return core_.locate(offset, place) == HeapCore::Where::found;
  }

  bool is_block(std::uint64_t offset) const {
    BlockPlace place;
    return core_.locate(offset, place) == HeapCore::Where::found &&
           (place.word->state() >> place.shift & 1) != 0;
  }

  void check_names() {
    constexpr std::uint64_t kOffsetMask = (std::uint64_t{1} << 48) - 1;
    const NamesBlock& names = core_.header().names;
    const std::uint64_t root = names.root.load(std::memory_order_acquire);
    if (root == 0) return;
    HeapCore::NameTable table;
    if (!core_.table_of(root, table) || !is_block(root & kOffsetMask & ~std::uint64_t{63})) {
      found(Kind::name, offset_of(&names.root), "the table of names is at {:#x}", root);
      return;
    }
    for (std::uint64_t i = 0; i <= table.mask; ++i) {
      const NameCell& cell = table.cells[i];
      const std::uint64_t record = cell.record.load(std::memory_order_acquire) & kOffsetMask;
      if (record == 0) continue;
      check_name(cell, record, table, i);
    }
    const LockReport lock = names.lock.report();
    if (lock.token == 0 && !lock.is_unrepaired && names.live.load() != report_.names) {
      const bool is_current = names.generation.load() == core_.repaired_generation();
      found(is_current ? Kind::name : Kind::hint, offset_of(&names.live),
            "{} names are counted, {} are there", names.live.load(), report_.names);
    }
  }

  void check_name(const NameCell& cell, std::uint64_t record, const HeapCore::NameTable& table,
                  std::uint64_t index) {
    const std::uint64_t at = offset_of(&cell);
    HeapCore::NameCopy copy;
    if (!is_block(record) || !core_.copy_record(record, copy)) {
      found(Kind::name, at, "the record of a name is at {:#x}", record);
      return;
    }
    ++report_.names;
    if (!core_.is_record_sound(copy)) {
      found(Kind::name, record, "the record of '{}' fails its checksum", copy.name());
      return;
    }
    const std::uint64_t end = record + usable(record);
    if (copy.head.object < record + sizeof(NameRecord) + copy.head.name_bytes ||
        copy.head.object > end || copy.head.bytes + copy.head.type_bytes > end - copy.head.object) {
      found(Kind::name, record, "'{}' stands for {} bytes at {:#x}, which are not in its block",
            copy.name(), copy.head.bytes, copy.head.object);
    }
    // Whoever searches for it has to get there: no empty cell on the way.
    const std::uint64_t hash = HeapCore::hash_of(copy.name());
    if (cell.hash.load() != hash) {
      found(Kind::name, at, "'{}' has hash {:016x}, its cell says {:016x}", copy.name(), hash,
            cell.hash.load());
      return;
    }
    for (std::uint64_t i = hash & table.mask; i != index; i = (i + 1) & table.mask) {
      if (table.cells[i].hash.load() == 0) {
        found(Kind::name, at, "'{}' is in cell {}, but cell {} on the way is empty", copy.name(),
              index, i);
        return;
      }
    }
  }

  void check_log() {
    const std::uint64_t offset = core_.header().transactions[0].load(std::memory_order_acquire);
    if (offset == 0) return;
    if (!is_block(offset)) {
      found(Kind::log, offset_of(&core_.header().transactions), "the transaction log is at {:#x}",
            offset);
      return;
    }
    const LogReport log = check_transaction_log({core_.base(), core_.mapped_bytes_.load()}, offset);
    report_.log_slots = log.slots;
    report_.log_records = log.records;
    for (const std::string& finding : log.findings)
      found(Kind::log, offset, "{}", finding);
  }

  std::uint64_t usable(std::uint64_t offset) const {
    BlockPlace place;
    return core_.locate(offset, place) == HeapCore::Where::found ? place.span.block_bytes : 0;
  }

  const HeapCore& core_;
  std::vector<BlockInfo>* blocks_;
  HeapReport report_;
  std::vector<std::uint64_t> owners_seen_;
};

Result<HeapReport> HeapCore::check() const { return HeapChecker(*this, nullptr).run(); }

Result<std::vector<BlockInfo>> HeapCore::blocks() const {
  std::vector<BlockInfo> blocks;
  (void)HeapChecker(*this, &blocks).run();
  return blocks;
}

}  // namespace strata::inline v0_1
