// Making a heap in zeroed memory, and opening one that is there.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/crc32c.h"
#include "heap/heap_core_inline.h"
#include "strata/heap/heap.h"

namespace strata::inline v0_1 {

using namespace heap_layout;

namespace {

constexpr std::uint64_t kDefaultRegionBytes = MiB(64);

std::uint32_t crc_of(const HeapIdentity& identity) {
  return crc32c(std::as_bytes(std::span(&identity, 1)).first(offsetof(HeapIdentity, crc32c)));
}

// Tells instances apart for as long as the process lives; shared state has no part in it.
std::uint64_t next_instance_id() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

// The heaps that this process has open, by where their mapping begins. Looking takes no lock.
struct OpenHeaps {
  struct Entry {
    std::atomic<const std::byte*> base{nullptr};
    std::atomic<HeapCore*> core{nullptr};
  };
  std::array<Entry, HeapCore::kMaxOpenHeaps> entries;
  std::atomic<std::size_t> high{0};  // entries ever used at once
};

OpenHeaps& open_heaps() {
  static OpenHeaps heaps;
  return heaps;
}

void enlist(HeapCore* core) {
  OpenHeaps& heaps = open_heaps();
  for (std::size_t i = 0; i < heaps.entries.size(); ++i) {
    HeapCore* none = nullptr;
    if (!heaps.entries[i].core.compare_exchange_strong(none, core)) continue;
    heaps.entries[i].base.store(core->base(), std::memory_order_release);
    std::size_t seen = heaps.high.load();
    while (seen < i + 1 && !heaps.high.compare_exchange_weak(seen, i + 1)) {
    }
    return;
  }
}

void strike(HeapCore* core) {
  for (OpenHeaps::Entry& entry : open_heaps().entries) {
    if (entry.core.load() != core) continue;
    entry.base.store(nullptr);
    entry.core.store(nullptr);
  }
}

Result<HeapIdentity> plan(const HeapMemory& memory, const HeapOptions& options) {
  const std::uint64_t now = memory.bytes(), most = memory.max_bytes();
  std::uint64_t region_bytes = options.region_bytes;
  if (region_bytes == 0) {
    region_bytes = std::bit_ceil(std::max(now, kMinRegionUnits * kUnitBytes));
    if (most > now)
      region_bytes = std::max(region_bytes, std::min(kDefaultRegionBytes, std::bit_ceil(most)));
    region_bytes = std::min(region_bytes, kMaxRegionUnits * kUnitBytes);
  }
  if (!std::has_single_bit(region_bytes) || region_bytes < kMinRegionUnits * kUnitBytes ||
      region_bytes > kMaxRegionUnits * kUnitBytes) {
    return fail(
        Code::invalid_argument,
        fmt::format("heap: regions of {} bytes: a power of two from {} to {} is allowed",
                    region_bytes, kMinRegionUnits * kUnitBytes, kMaxRegionUnits * kUnitBytes));
  }
  HeapIdentity identity{};
  identity.magic = kHeapMagic;
  identity.version_major = kHeapVersionMajor;
  identity.version_minor = kHeapVersionMinor;
  identity.unit_bytes = kUnitBytes;
  identity.max_bytes = most;
  identity.region_units = region_bytes / kUnitBytes;
  identity.class_count = kClassCount;
  identity.slot_count = kSlotCount;
  const RegionLayout region{identity.region_units};
  if (now < (region.meta_units() + 1) * kUnitBytes) {
    return fail(
        Code::invalid_argument,
        fmt::format("heap: {} are too few: its tables and one span take {}", format_bytes(now),
                    format_bytes((region.meta_units() + 1) * kUnitBytes)));
  }
  if (options.nodes.size() > kMaxNodeRanges) {
    return fail(Code::invalid_argument, fmt::format("heap: {} node ranges, at most {} are allowed",
                                                    options.nodes.size(), kMaxNodeRanges));
  }
  for (const HeapOptions::NodeRange& range : options.nodes) {
    const std::uint64_t first_unit = range.first_bytes / kUnitBytes;
    if (identity.range_count == 0
            ? first_unit != 0
            : first_unit <= identity.ranges[identity.range_count - 1].first_unit) {
      return fail(Code::invalid_argument,
                  "heap: node ranges begin at 0 and ascend, each by 64 KiB or more");
    }
    identity.ranges[identity.range_count++] = {first_unit, range.node, 0};
  }
  identity.crc32c = crc_of(identity);
  return identity;
}

}  // namespace

HeapCore::HeapCore(std::unique_ptr<HeapMemory> memory)
    : memory_(std::move(memory)),
      base_(memory_->base()),
      owner_(memory_->owner()),
      id_(next_instance_id()),
      is_volatile_(memory_->durability().is_volatile()) {
  if (owner_ != nullptr) {
    sync_.emplace(memory_->os(), *owner_, memory_->generation());
    me_ = sync_->generation_bits() | owner_->token();
  }
  enlist(this);
}

HeapCore* HeapCore::find_open(const std::byte* base) {
  OpenHeaps& heaps = open_heaps();
  const std::size_t high = heaps.high.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < high; ++i) {
    if (heaps.entries[i].base.load(std::memory_order_acquire) != base) continue;
    HeapCore* const core = heaps.entries[i].core.load(std::memory_order_relaxed);
    // That of the parent is of no use in a forked child, which has opened the heap anew.
    if (core != nullptr && core->owner_ != nullptr && core->is_child()) continue;
    return core;
  }
  return nullptr;
}

HeapCore::~HeapCore() {
  strike(this);
  while (!caches_.empty())
    drop_cache(*caches_.back());
}

void HeapCore::adopt_identity(const HeapIdentity& identity) {
  region_ = {identity.region_units};
  region_mask_ = identity.region_units - 1;
  max_units_ = identity.max_bytes / kUnitBytes;
  ranges_.assign(identity.ranges.begin(), identity.ranges.begin() + identity.range_count);
  mapped_bytes_.store(std::min(memory_->bytes(), max_units_ * kUnitBytes));
}

Result<std::shared_ptr<HeapCore>> HeapCore::create(std::unique_ptr<HeapMemory> memory,
                                                   const HeapOptions& options) {
  std::shared_ptr<HeapCore> core(new HeapCore(std::move(memory)));
  if (core->owner_ == nullptr || core->is_child()) return unexpected(core->not_writable());
  STRATA_ASSIGN(const HeapIdentity identity, plan(*core->memory_, options));
  HeapHeader& header = core->header();
  if (header.state.load(std::memory_order_acquire) != kHeapBlank) {
    return fail(Code::already_exists, "heap: there is one in this segment");
  }
  core->adopt_identity(identity);
  // A creator that died half-way left tables of perhaps another shape.
  if (header.identity.magic == kHeapMagic) {
    std::memset(core->base_, 0, core->region_.meta_units() * kUnitBytes);
  }
  header.identity = identity;
  STRATA_STEP("create: identity written");
  core->add_units(core->memory_->bytes());
  core->flush(core->base_, core->region_.meta_units() * kUnitBytes);
  core->drain();
  STRATA_STEP("create: tables written");
  // Last: whoever sees it may use all that stands before it.
  header.state.store(kHeapReady, std::memory_order_release);
  core->flush(&header.state, sizeof(Word));
  core->drain();
  return core;
}

Result<void> HeapCore::read_identity(HeapMemory& memory, HeapIdentity& identity) {
  if (memory.bytes() < sizeof(HeapHeader)) {
    return fail(Code::not_found, "heap: the segment is too small to hold one");
  }
  const auto& header = *reinterpret_cast<const HeapHeader*>(memory.base());
  const std::uint64_t state = header.state.load(std::memory_order_acquire);
  std::memcpy(&identity, &header.identity, sizeof(identity));
  if (identity.magic != kHeapMagic) {
    return state == kHeapBlank ? fail(Code::not_found, "heap: there is none in this segment")
                               : fail(Code::corrupt, "heap: wrong magic");
  }
  if (state == kHeapBlank) return fail(Code::not_ready, "heap: its creator has not finished it");
  const auto unknown = [&] {
    return fail(Code::unsupported,
                fmt::format("heap: format {}.{} with features {:#x}; this program reads {}.{}",
                            identity.version_major, identity.version_minor,
                            identity.features_required, kHeapVersionMajor, kHeapVersionMinor));
  };
  if (identity.version_major != kHeapVersionMajor) return unknown();
  if (identity.crc32c != crc_of(identity)) {
    return fail(Code::corrupt, fmt::format("heap: header checksum is {:08x}, its bytes give {:08x}",
                                           identity.crc32c, crc_of(identity)));
  }
  // After the checksum: a flipped bit is no feature.
  if (identity.features_required != 0) return unknown();
  const bool is_bounded =
      state == kHeapReady && identity.unit_bytes == kUnitBytes &&
      identity.class_count == kClassCount && identity.slot_count == kSlotCount &&
      std::has_single_bit(identity.region_units) && identity.region_units >= kMinRegionUnits &&
      identity.region_units <= kMaxRegionUnits && identity.range_count <= kMaxNodeRanges &&
      identity.max_bytes <= memory.max_bytes() &&
      memory.bytes() >= RegionLayout{identity.region_units}.meta_units() * kUnitBytes;
  if (!is_bounded) {
    return fail(Code::corrupt, "heap: a limit in its header is impossible for this segment");
  }
  return {};
}

Result<std::shared_ptr<HeapCore>> HeapCore::open(std::unique_ptr<HeapMemory> memory) {
  HeapIdentity identity;
  STRATA_TRY(read_identity(*memory, identity));
  std::shared_ptr<HeapCore> core(new HeapCore(std::move(memory)));
  core->adopt_identity(identity);
  if (core->owner_ != nullptr && !core->is_child()) {
    // The log first: blocks that only it knows of must not be taken for free.
    if (core->has_transaction_log()) STRATA_TRY(core->open_transaction_log());
    // What the dead left is taken when it is needed as well, so that it is no reason to fail.
    (void)core->recover_now(nullptr, false);
  }
  return core;
}

}  // namespace strata::inline v0_1
