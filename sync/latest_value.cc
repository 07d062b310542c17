#include "strata/sync/latest_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "strata/sync/wait.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kCopies = 4;
constexpr std::uint64_t kLineBytes = 64;

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kRelease = std::memory_order_release;

// From copy to copy: a length, and the value in whole words.
std::uint64_t stride_bytes(std::uint64_t max_bytes) {
  return (sizeof(std::uint64_t) + max_bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
}

}  // namespace

Result<std::uint64_t> latest_value_bytes(std::uint64_t max_bytes) {
  if (max_bytes == 0 || max_bytes > kMaxLatestValueBytes) {
    return fail(Code::invalid_argument,
                fmt::format("latest value: of up to {} bytes, which are to be 1 to {}", max_bytes,
                            kMaxLatestValueBytes));
  }
  return sizeof(LatestValueBlock) + kCopies * stride_bytes(max_bytes);
}

Result<void> format_latest_value(std::span<std::byte> bytes, std::uint64_t max_bytes) {
  STRATA_ASSIGN(const std::uint64_t needed, latest_value_bytes(max_bytes));
  if (bytes.size() < needed) {
    return fail(Code::exhausted,
                fmt::format("latest value: needs {} bytes, there are {}", needed, bytes.size()));
  }
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % kLineBytes != 0) {
    return fail(Code::invalid_argument, "latest value: its bytes have to be aligned to 64");
  }
  std::memset(bytes.data(), 0, needed);
  auto* const block = reinterpret_cast<LatestValueBlock*>(bytes.data());
  block->version = kLatestValueVersion;
  block->max_bytes = max_bytes;
  block->kind.store(kLatestValueKind, kRelease);
  return {};
}

LatestValue::LatestValue(LatestValueBlock* block, std::uint64_t max_bytes)
    : block_(block),
      max_bytes_(max_bytes),
      stride_words_(stride_bytes(max_bytes) / sizeof(std::uint64_t)) {}

Result<LatestValue> LatestValue::open(std::span<std::byte> bytes) {
  if (bytes.size() < sizeof(LatestValueBlock) ||
      reinterpret_cast<std::uintptr_t>(bytes.data()) % kLineBytes != 0) {
    return fail(Code::corrupt, "latest value: too few bytes, or not aligned to 64");
  }
  auto* const block = reinterpret_cast<LatestValueBlock*>(bytes.data());
  const std::uint32_t kind = block->kind.load(kAcquire);
  if (kind == 0) return fail(Code::not_ready, "latest value: not formatted yet");
  const std::uint64_t max_bytes = block->max_bytes;
  const auto needed = latest_value_bytes(max_bytes);
  if (kind != kLatestValueKind || block->version != kLatestValueVersion || !needed ||
      *needed > bytes.size()) {
    return fail(Code::corrupt,
                fmt::format("latest value: kind {:#x}, version {}, of up to {} bytes in {}", kind,
                            block->version, max_bytes, bytes.size()));
  }
  return LatestValue(block, max_bytes);
}

LatestValue::Word* LatestValue::copy_of(std::uint64_t version) const {
  return reinterpret_cast<Word*>(block_ + 1) + version % kCopies * stride_words_;
}

Result<std::uint64_t> LatestValue::write(const SyncContext& context,
                                         std::span<const std::byte> value, Deadline deadline) {
  if (value.size() > max_bytes_) {
    return fail(Code::invalid_argument,
                fmt::format("latest value: {} bytes, at most {} fit", value.size(), max_bytes_));
  }
  STRATA_ASSIGN(const Acquired how, block_->writer.lock(context, deadline));
  // What a dead one had begun is in no version: it is written over.
  if (how == Acquired::owner_died) STRATA_TRY(block_->writer.mark_repaired(context));
  const std::uint64_t version = block_->newest.load(kRelaxed) + 1;
  Word* word = copy_of(version);
  // Release and acquire on each word: whoever reads one of these sees the version before, too.
  word->store(value.size(), kRelease);
  for (std::size_t at = 0; at < value.size(); at += sizeof(std::uint64_t)) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, value.data() + at, std::min(sizeof(eight), value.size() - at));
    (++word)->store(eight, kRelease);
  }
  block_->newest.store(version, std::memory_order_seq_cst);
  block_->sleepers.wake_all();
  STRATA_TRY(block_->writer.unlock(context));
  return version;
}

// False where it was overwritten meanwhile.
Result<bool> LatestValue::try_read(std::span<std::byte> into, Got& got) const {
  const std::uint64_t version = block_->newest.load(kAcquire);
  const Word* word = copy_of(version);
  const std::uint64_t bytes = version == 0 ? 0 : word->load(kAcquire);
  const bool fits = bytes <= max_bytes_ && bytes <= into.size();
  for (std::size_t at = 0; fits && at < bytes; at += sizeof(std::uint64_t)) {
    const std::uint64_t eight = (++word)->load(kAcquire);
    std::memcpy(into.data() + at, &eight, std::min<std::uint64_t>(sizeof(eight), bytes - at));
  }
  // The copy is that of version + kCopies next, which is begun once the one before it is there.
  if (block_->newest.load(kRelaxed) - version > kCopies - 2) return false;
  if (bytes > max_bytes_) {
    return fail(Code::corrupt,
                fmt::format("latest value: {} bytes where at most {} fit", bytes, max_bytes_));
  }
  if (!fits) {
    return fail(Code::exhausted,
                fmt::format("latest value: {} bytes, and room for {}", bytes, into.size()));
  }
  got = {version, bytes};
  return true;
}

Result<LatestValue::Got> LatestValue::read(std::span<std::byte> into, Deadline deadline) const {
  for (std::uint32_t tries = 1;; ++tries) {
    Got got{};
    STRATA_ASSIGN(const bool done, try_read(into, got));
    if (done) return got;
    // The clock is read seldom: a try costs less than it does.
    if (tries % 64 == 0 && deadline.expired()) {
      return fail(Code::timed_out,
                  LateMessage{"latest value: writers came too often to read a whole value"});
    }
  }
}

Result<std::uint64_t> LatestValue::wait(std::uint64_t than, Deadline deadline,
                                        std::uint32_t spins) const {
  const auto none = [] {
    return fail(Code::timed_out, LateMessage{"latest value: no newer one before the deadline"});
  };
  std::uint64_t newest = version();
  for (std::uint32_t spin = 0; newest <= than && spin < spins && !deadline.is_now(); ++spin) {
    relax_cpu();
    newest = version();
  }
  if (newest > than) return newest;
  if (deadline.is_now()) return none();
  SlicedWait slices(deadline);
  for (;;) {
    const std::uint32_t ticket = block_->sleepers.prepare();
    newest = version();
    if (newest > than) return newest;
    if (slices.expired()) return none();
    block_->sleepers.sleep(ticket, slices);
  }
}

}  // namespace strata::inline v0_1
