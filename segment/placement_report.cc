// store() and load_report(): a seqlock over the PlacementBlock of the header page.
#include "strata/segment/placement_report.h"

#include <atomic>
#include <bit>
#include <cstring>

#include "base/crc32c.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::size_t kWords = sizeof(PlacementBlock) / sizeof(std::uint64_t);
constexpr int kTries = 10'000;  // a writer needs less than a microsecond

using Words = std::array<std::uint64_t, kWords>;

// The block is copied by atomic words: a racing writer is expected here and told by `sequence`.
std::atomic_ref<std::uint64_t> word(PlacementBlock& block, std::size_t i) {
  return std::atomic_ref(reinterpret_cast<std::uint64_t*>(&block)[i]);
}

std::uint32_t checksum(const PlacementBlock& block) {
  return crc32c(std::as_bytes(std::span(&block, 1)).first(offsetof(PlacementBlock, crc32c)));
}

}  // namespace

std::uint64_t PlacementReport::pages_on(int node) const {
  for (const NodePages& share : pages_on_node) {
    if (share.node == node) return share.pages;
  }
  return 0;
}

void store(const PlacementReport& report, PlacementBlock& block) {
  PlacementBlock next{};
  next.pages_total = report.pages_total;
  next.pages_absent = report.pages_absent;
  next.huge_bytes = report.huge_bytes;
  for (const NodePages& share : report.pages_on_node) {
    if (share.node >= 0 && static_cast<std::size_t>(share.node) < kMaxReportedNodes) {
      next.pages_on_node[static_cast<std::size_t>(share.node)] = share.pages;
    }
  }
  // A writer that died left an odd number; counting on from it keeps readers out meanwhile.
  const std::uint64_t odd = word(block, 0).load(std::memory_order_relaxed) | 1;
  next.sequence = odd + 1;
  next.crc32c = checksum(next);
  const Words words = std::bit_cast<Words>(next);
  word(block, 0).store(odd, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  for (std::size_t i = 1; i < kWords; ++i)
    word(block, i).store(words[i], std::memory_order_relaxed);
  word(block, 0).store(next.sequence, std::memory_order_release);
}

Result<PlacementReport> load_report(const PlacementBlock& shared) {
  auto& block = const_cast<PlacementBlock&>(shared);  // atomic_ref wants it; only loads follow
  Words words{};
  bool is_stable = false;
  for (int tries = 0; tries < kTries && !is_stable; ++tries) {
    words[0] = word(block, 0).load(std::memory_order_acquire);
    if (words[0] % 2 != 0) continue;
    for (std::size_t i = 1; i < kWords; ++i)
      words[i] = word(block, i).load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    is_stable = word(block, 0).load(std::memory_order_relaxed) == words[0];
  }
  if (!is_stable) {
    return fail(Code::timed_out, "the placement block is being written, or its writer died");
  }
  const auto copy = std::bit_cast<PlacementBlock>(words);
  if (copy.sequence == 0) return fail(Code::not_found, "no placement was recorded");
  if (copy.crc32c != checksum(copy)) {
    return fail(Code::corrupt, "the placement block fails its checksum");
  }
  PlacementReport report;
  report.pages_total = copy.pages_total;
  report.pages_absent = copy.pages_absent;
  report.huge_bytes = copy.huge_bytes;
  for (std::size_t node = 0; node < kMaxReportedNodes; ++node) {
    if (copy.pages_on_node[node] > 0) {
      report.pages_on_node.push_back({static_cast<int>(node), copy.pages_on_node[node]});
    }
  }
  return report;
}

}  // namespace strata::inline v0_1
