// What the tests of transactions share: a payload with locks, cells, blocks and a log, and an
// allocator simple enough to be its own specification.
#pragma once

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "strata/base/step.h"
#include "strata/transaction/transaction.h"
#include "sync/sync_testing.h"
#include "transaction/transaction_log.h"

namespace strata::inline v0_1::test {

inline constexpr std::uint32_t kBlockCount = 512;
inline constexpr std::uint64_t kBlockBytes = 256;
inline constexpr std::uint32_t kBlocksPerToken = 16;  // a process takes blocks from its own share

struct TestNode {
  std::uint64_t next;
  std::uint64_t value;
};

// The payload. Zeroed bytes are a valid start.
struct TestPayload {
  std::array<std::uint64_t, 8> reserved;
  std::array<RobustMutex, 8> locks;
  std::array<std::uint64_t, 256> cells;
  std::array<std::uint64_t, 160> large;  // more than a kilobyte
  std::uint64_t list;                    // offset of the first TestNode
  std::uint64_t listed;
  std::array<std::uint64_t, 6> padding;
  std::array<std::atomic<std::uint64_t>, kBlockCount / 32> block_states;
  alignas(64) std::array<std::array<std::byte, kBlockBytes>, kBlockCount> blocks;
};

// Two bits for each block, changed by one compare-and-swap.
class TestBlocks final : public BlockActions {
 public:
  TestBlocks(std::span<std::byte> payload, std::uint32_t token, Durability& durability)
      : bytes_(payload),
        first_(token % (kBlockCount / kBlocksPerToken) * kBlocksPerToken),
        durability_(durability) {}

  std::span<std::byte> payload() override { return bytes_; }
  Result<std::uint64_t> reserve(std::uint64_t bytes, std::uint64_t alignment) override {
    if (bytes > kBlockBytes || alignment > 64) return fail(Code::exhausted, "block too large");
    for (std::uint32_t i = first_; i < first_ + kBlocksPerToken; ++i)
      if (get(i) == BlockState::free) return offset_of(i);
    return fail(Code::exhausted, "no block is free");
  }
  void cancel(std::uint64_t) override {}
  Result<BlockState> state(std::uint64_t offset) override {
    STRATA_ASSIGN(const std::uint32_t index, index_of(offset));
    return get(index);
  }
  Result<std::uint64_t> usable_bytes(std::uint64_t offset) override {
    STRATA_TRY(index_of(offset));
    return kBlockBytes;
  }
  Result<bool> change(std::uint64_t offset, BlockState from, BlockState to) override {
    STRATA_ASSIGN(const std::uint32_t index, index_of(offset));
    std::atomic<std::uint64_t>& word = words()[index / 32];
    const unsigned shift = index % 32 * 2;
    STRATA_STEP("change a block");
    std::uint64_t seen = word.load();
    while (true) {
      if ((seen >> shift & 3) != static_cast<std::uint64_t>(from)) return false;
      const std::uint64_t next =
          (seen & ~(std::uint64_t{3} << shift)) | static_cast<std::uint64_t>(to) << shift;
      if (word.compare_exchange_weak(seen, next)) return true;
    }
  }
  std::span<const std::byte> state_bytes(std::uint64_t offset) override {
    const auto index = index_of(offset);
    if (!index) return {};
    return std::as_bytes(std::span(&words()[*index / 32], 1));
  }
  Result<void> release_leftovers() override {
    for (std::uint32_t i = 0; i < kBlockCount; ++i) {
      STRATA_TRY(change(offset_of(i), BlockState::tentative, BlockState::free));
      STRATA_TRY(change(offset_of(i), BlockState::freeing, BlockState::free));
    }
    durability_.flush(words(), sizeof(TestPayload::block_states));
    return {};
  }

  BlockState get(std::uint32_t index) {
    return static_cast<BlockState>(words()[index / 32].load() >> (index % 32 * 2) & 3);
  }
  static std::uint64_t offset_of(std::uint32_t index) {
    return offsetof(TestPayload, blocks) + index * kBlockBytes;
  }

 private:
  static Result<std::uint32_t> index_of(std::uint64_t offset) {
    const std::uint64_t from = offset - offsetof(TestPayload, blocks);
    if (offset < offsetof(TestPayload, blocks) || from % kBlockBytes != 0 ||
        from / kBlockBytes >= kBlockCount) {
      return fail(Code::invalid_argument, "no block starts there");
    }
    return static_cast<std::uint32_t>(from / kBlockBytes);
  }
  std::atomic<std::uint64_t>* words() {
    return reinterpret_cast<TestPayload*>(bytes_.data())->block_states.data();
  }

  std::span<std::byte> bytes_;
  std::uint32_t first_;
  Durability& durability_;
};

inline constexpr std::uint64_t kTestLogAt = (sizeof(TestPayload) + 4095) / 4096 * 4096;

inline std::uint64_t test_payload_bytes(const TransactionLogOptions& options) {
  return kTestLogAt + options.log_bytes();
}

// A process, or what stands for one, that has the payload open.
class TestProcess {
 public:
  TestProcess(const LockFile& file, std::span<std::byte> payload, std::uint32_t token,
              Durability& durability, std::uint64_t generation = 1)
      : payload_(payload),
        owner_(file, token),
        context_(owner_, generation, 0),
        blocks_(payload, token, durability),
        durability_(durability) {}

  Result<void> open() {
    STRATA_ASSIGN(log_, TransactionLog::open({.log_offset = kTestLogAt,
                                              .blocks = blocks_,
                                              .durability = durability_,
                                              .context = context_}));
    return {};
  }
  TransactionLog& log() { return *log_; }
  TestBlocks& blocks() { return blocks_; }
  const SyncContext& context() const { return context_; }
  TestPayload& data() { return *reinterpret_cast<TestPayload*>(payload_.data()); }
  RobustMutex& lock(int i) { return data().locks[static_cast<std::size_t>(i)]; }
  TestNode* node(std::uint64_t offset) { return resolve(payload_, Offset<TestNode>{offset}); }

 private:
  std::span<std::byte> payload_;
  FileOwner owner_;
  SyncContext context_;
  TestBlocks blocks_;
  Durability& durability_;
  std::unique_ptr<TransactionLog> log_;
};

// Durable as far as the log knows; keeps nothing.
class PretendDurability final : public Durability {
 public:
  explicit PretendDurability(std::size_t granularity_bytes = 64)
      : granularity_bytes_(granularity_bytes) {}
  bool is_volatile() const override { return false; }
  std::size_t granularity_bytes() const override { return granularity_bytes_; }

 private:
  std::size_t granularity_bytes_;
};

// Page-aligned zeroed memory that forked children share.
class SharedBytes {
 public:
  explicit SharedBytes(std::uint64_t bytes) : bytes_(bytes) {
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    STRATA_CHECK(at != MAP_FAILED);
    at_ = static_cast<std::byte*>(at);
  }
  ~SharedBytes() { munmap(at_, bytes_); }
  SharedBytes(const SharedBytes&) = delete;
  SharedBytes& operator=(const SharedBytes&) = delete;
  std::span<std::byte> span() const { return {at_, bytes_}; }

 private:
  std::byte* at_;
  std::uint64_t bytes_;
};

// The chain of nodes: every one allocated, and no other block.
inline bool list_is_whole(TestProcess& process, std::string& why) {
  std::uint64_t count = 0;
  std::vector<bool> linked(kBlockCount);
  for (std::uint64_t at = process.data().list; at != 0; ++count) {
    TestNode* const node = process.node(at);
    if (node == nullptr || count > kBlockCount) return why = "the list leaves the payload", false;
    const std::uint64_t index = (at - offsetof(TestPayload, blocks)) / kBlockBytes;
    if (index >= kBlockCount) return why = "the list leaves the blocks", false;
    linked[index] = true;
    if (node->value != (at ^ 0x5eed)) return why = "a node has a wrong value", false;
    at = node->next;
  }
  if (count != process.data().listed) return why = "the count of nodes is wrong", false;
  for (std::uint32_t i = 0; i < kBlockCount; ++i) {
    const BlockState state = process.blocks().get(i);
    if (linked[i] != (state == BlockState::allocated) ||
        (!linked[i] && state != BlockState::free)) {
      why = "block " + std::to_string(i) + " has state " + std::to_string(static_cast<int>(state)) +
            (linked[i] ? " and is" : " and is not") + " in the list";
      return false;
    }
  }
  return true;
}

inline Result<void> push_node(Transaction& tx, TestPayload& data) {
  STRATA_ASSIGN(const Offset<TestNode> block, tx.allocate<TestNode>());
  *tx.get(block) = {tx.read(data.list), block.bytes ^ 0x5eed};
  STRATA_TRY(tx.write(data.list, block.bytes));
  return tx.write(data.listed, tx.read(data.listed) + 1);
}

inline Result<void> pop_node(Transaction& tx, TestPayload& data) {
  const std::uint64_t first = tx.read(data.list);
  if (first == 0) return fail(Code::not_found, "the list is empty");
  STRATA_TRY(tx.write(data.list, tx.read(tx.get(Offset<TestNode>{first})->next)));
  STRATA_TRY(tx.write(data.listed, tx.read(data.listed) - 1));
  return tx.free(Offset<TestNode>{first});
}

}  // namespace strata::inline v0_1::test
