#include "strata/sync/ring_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "strata/sync/mpmc_ring.h"
#include "strata/sync/spsc_ring.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kLineBytes = 64;

std::uint64_t round_up(std::uint64_t bytes, std::uint64_t to) { return (bytes + to - 1) / to * to; }

bool is_aligned(const void* address) {
  return reinterpret_cast<std::uintptr_t>(address) % kLineBytes == 0;
}

}  // namespace

Result<RingGeometry> ring_geometry(const RingOptions& options, RingKind kind) {
  if (!std::has_single_bit(options.slots) || options.slots < 2 || options.slots > kMaxRingSlots) {
    return fail(Code::invalid_argument,
                fmt::format("ring: {} slots; a power of two from 2 to {} is needed", options.slots,
                            kMaxRingSlots));
  }
  if (options.message_bytes < 1 || options.message_bytes > kMaxRingMessageBytes) {
    return fail(Code::invalid_argument,
                fmt::format("ring: messages of {} bytes; 1 to {} are possible",
                            options.message_bytes, kMaxRingMessageBytes));
  }
  RingGeometry plan{};
  plan.slots = options.slots;
  plan.message_bytes = options.message_bytes;
  if (kind == RingKind::spsc) {
    // Small messages share cache lines, as the one producer writes them in order anyway, but none
    // lies across two.
    const std::uint64_t bytes = options.message_bytes;
    plan.stride_bytes = bytes < kLineBytes ? std::max<std::uint64_t>(std::bit_ceil(bytes), 8)
                                           : round_up(bytes, kLineBytes);
    plan.slots_offset_bytes =
        round_up(sizeof(SpscBlock) + options.slots * sizeof(std::uint32_t), kLineBytes);
  } else {
    plan.stride_bytes = round_up(sizeof(MpmcSlot) + options.message_bytes, kLineBytes);
    plan.slots_offset_bytes =
        round_up(sizeof(MpmcBlock) + options.slots * sizeof(std::uint64_t), kLineBytes);
  }
  return plan;
}

Result<void> format_ring(std::span<std::byte> bytes, const RingOptions& options, RingKind kind) {
  STRATA_ASSIGN(const RingGeometry plan, ring_geometry(options, kind));
  if (bytes.size() < plan.total_bytes() || !is_aligned(bytes.data())) {
    return fail(Code::invalid_argument,
                fmt::format("ring: {} bytes aligned to {} are needed, {} were given",
                            plan.total_bytes(), kLineBytes, bytes.size()));
  }
  // Only what operations read before they write it: messages' bytes may be anything.
  std::memset(bytes.data(), 0, plan.slots_offset_bytes);
  auto* header = reinterpret_cast<RingHeader*>(bytes.data());
  header->version = kRingVersion;
  header->slots = plan.slots;
  header->message_bytes = plan.message_bytes;
  header->stride_bytes = plan.stride_bytes;
  header->slots_offset_bytes = plan.slots_offset_bytes;
  if (kind == RingKind::mpmc) {
    for (std::uint32_t slot = 0; slot < plan.slots; ++slot) {
      std::memset(bytes.data() + plan.slots_offset_bytes + slot * plan.stride_bytes, 0,
                  sizeof(MpmcSlot));
    }
    auto* entries = reinterpret_cast<SharedWord<std::uint64_t>*>(bytes.data() + sizeof(MpmcBlock));
    for (std::uint32_t i = 0; i < plan.slots; ++i)
      entries[i].store(mpmc_entry::awaiting(i), std::memory_order_relaxed);
  }
  // Last: whoever sees the kind may trust the rest.
  header->kind.store(static_cast<std::uint32_t>(kind), std::memory_order_release);
  return {};
}

Result<RingGeometry> read_ring(std::span<std::byte> bytes, RingKind kind) {
  if (bytes.size() < sizeof(RingHeader) || !is_aligned(bytes.data())) {
    return fail(Code::invalid_argument, "ring: too few bytes, or not aligned to 64");
  }
  const auto* header = reinterpret_cast<const RingHeader*>(bytes.data());
  const std::uint32_t found = header->kind.load(std::memory_order_acquire);
  if (found == 0) return fail(Code::not_ready, "ring: not formatted yet");
  if (found != static_cast<std::uint32_t>(kind)) {
    return fail(Code::corrupt, fmt::format("ring: kind {:#010x}, expected {:#010x}", found,
                                           static_cast<std::uint32_t>(kind)));
  }
  if (header->version != kRingVersion) {
    return fail(Code::unsupported, fmt::format("ring: version {}", header->version));
  }
  // One copy, then checks of the copy: what stands in shared memory may change in between.
  const RingGeometry read = {header->slots, header->message_bytes, header->stride_bytes,
                             header->slots_offset_bytes};
  const auto plan = ring_geometry({read.slots, read.message_bytes}, kind);
  if (!plan || plan->stride_bytes != read.stride_bytes ||
      plan->slots_offset_bytes != read.slots_offset_bytes || plan->total_bytes() > bytes.size()) {
    return fail(Code::corrupt,
                fmt::format("ring: {} slots of {} bytes do not fit the {} bytes it stands in",
                            read.slots, read.message_bytes, bytes.size()));
  }
  return *plan;
}

}  // namespace strata::inline v0_1
