#include "strata/heap/heap_nodes.h"

#include <algorithm>

#include "heap/layout.h"
#include "numa/page_walk.h"
#include "os/os.h"

namespace strata::inline v0_1 {
namespace {

using heap_layout::kMaxNodeRanges;
using heap_layout::kUnitBytes;

constexpr int kUnknown = -1;  // absent
constexpr int kMixed = -2;

// The node of each unit of a heap.
class UnitNodes {
 public:
  explicit UnitNodes(std::span<std::byte> payload)
      : start_(payload.data()), nodes_(payload.size() / kUnitBytes, kUnknown) {}

  void see(const std::byte* page, std::uint64_t bytes, int node) {
    const auto first = static_cast<std::uint64_t>(page - start_);
    for (std::uint64_t at = first; at < first + bytes; at += kUnitBytes) {
      const std::uint64_t unit = at / kUnitBytes;
      if (unit >= nodes_.size()) return;
      nodes_[unit] = nodes_[unit] == kUnknown || nodes_[unit] == node ? node : kMixed;
    }
  }

  // Empty where a heap could not make use of them.
  std::vector<HeapOptions::NodeRange> ranges() const {
    std::vector<HeapOptions::NodeRange> found;
    for (std::size_t unit = 0; unit < nodes_.size(); ++unit) {
      const int node = nodes_[unit];
      if (node == kMixed) return {};
      // What is not there yet is taken to be where its neighbour is.
      if (node == kUnknown || (!found.empty() && found.back().node == node)) continue;
      if (found.size() == kMaxNodeRanges) return {};
      found.push_back({found.empty() ? 0 : unit * kUnitBytes, node});
    }
    if (found.size() < 2) return {};
    return found;
  }

 private:
  const std::byte* start_;
  std::vector<int> nodes_;
};

}  // namespace

Result<HeapOptions> heap_options_for(Os& os, Segment& segment) {
  STRATA_ASSIGN(const std::span<std::byte> payload, segment.writable_bytes());
  STRATA_ASSIGN(const MappedStretches mapped, map_and_look(os, payload));
  UnitNodes units(payload);
  for (const Stretch& stretch : mapped.stretches) {
    auto asked = ask_nodes(os, stretch, [&](std::byte* page, std::uint64_t bytes, int node) {
      units.see(page, bytes, node);
    });
    if (!asked) return unexpected(asked.error().in("ask where pages are"));
  }
  HeapOptions options;
  options.nodes = units.ranges();
  return options;
}

}  // namespace strata::inline v0_1
