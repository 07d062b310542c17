// inspect(): what is used, by class, node and unit. A snapshot; reading is all it does.
#include <algorithm>
#include <bit>
#include <map>

#include "heap/heap_core_inline.h"

namespace strata::inline v0_1 {

using namespace heap_layout;

Result<HeapUsage> HeapCore::inspect() const {
  HeapUsage usage;
  const std::uint64_t limit = unit_limit();
  usage.payload_bytes = mapped_bytes_.load();
  usage.max_bytes = memory_->max_bytes();
  usage.names = header().names.live.load();
  usage.unit_fill.assign(limit, 0);
  for (std::uint32_t number = 1; number <= kSlotCount; ++number)
    usage.threads += slot(number).owner.load() != 0 ? 1 : 0;
  std::map<std::uint64_t, HeapUsage::Class> classes;
  std::map<int, HeapUsage::Node> nodes;
  std::uint64_t run = 0;
  for (std::uint64_t unit = 0; unit < limit; ++unit) {
    const UnitState state = UnitState::of(descriptor(unit).state.load(std::memory_order_acquire));
    if ((unit & region_mask_) == 0) run = 0;
    HeapUsage::Node& node = nodes[std::max(node_of_unit(unit), 0)];
    node.node = std::max(node_of_unit(unit), 0);
    ++node.units;
    if (state.kind == UnitKind::free) {
      usage.free_unit_bytes += kUnitBytes;
      usage.largest_free_bytes = std::max(usage.largest_free_bytes, ++run * kUnitBytes);
      continue;
    }
    run = 0;
    ++node.used_units;
    if (state.kind == UnitKind::meta) {
      usage.table_bytes += kUnitBytes;
      usage.unit_fill[unit] = 255;
      continue;
    }
    Span span;
    if (state.kind != UnitKind::head || !span_at(unit, span)) continue;
    std::uint64_t allocated = 0;
    for (std::uint32_t i = 0; i < span.word_count; ++i) {
      allocated += static_cast<std::uint64_t>(
          std::popcount(span.words[i].state(std::memory_order_relaxed) & kAllocatedBits));
    }
    HeapUsage::Class& of_class = classes[span.size_class == kLargeClass ? 0 : span.block_bytes];
    of_class.block_bytes = span.size_class == kLargeClass ? 0 : span.block_bytes;
    ++of_class.spans;
    of_class.blocks += span.blocks;
    of_class.allocated_blocks += allocated;
    of_class.allocated_bytes += allocated * span.block_bytes;
    usage.allocated_bytes += allocated * span.block_bytes;
    usage.span_bytes += std::uint64_t{state.units} * kUnitBytes;
    const auto fill =
        static_cast<std::uint8_t>(std::max<std::uint64_t>(1, allocated * 100 / span.blocks));
    for (std::uint64_t i = unit; i < std::min(unit + state.units, limit); ++i)
      usage.unit_fill[i] = fill;
  }
  for (const auto& [bytes, of_class] : classes)
    usage.classes.push_back(of_class);
  for (const auto& [number, node] : nodes)
    usage.nodes.push_back(node);
  return usage;
}

}  // namespace strata::inline v0_1
