#include "tests/vm/shared_bank.h"

#include <fmt/format.h>

#include <algorithm>

#include "transaction/transaction_log.h"

namespace strata::inline v0_1::test {
namespace {

// Receipts of many sizes, of which each may be the only one in its span of 64 KiB.
constexpr std::uint64_t kBankBytes = MiB(24);

SegmentUri uri_in(const std::string& path) { return {"pmem", path, "bank"}; }

// Transfers write receipts of many sizes, some of them large, and every seventh none at all.
bool has_receipt(std::uint64_t number) { return number % 7 != 6; }
std::uint64_t words_of(std::uint64_t number) {
  return number % 61 == 60 ? KiB(40) / 8 : 1 + number * 37 % 250;
}

}  // namespace

Result<void> SharedBank::create(const std::string& path, std::uint64_t seed) {
  RealOs os;
  PmemBackend backend(os, {.pools = {path}});
  STRATA_ASSIGN(Segment segment, backend.create(uri_in(path), {.payload_bytes = kBankBytes}));
  STRATA_ASSIGN(Heap heap, Heap::create(segment));
  STRATA_ASSIGN(SharedBankData* const data, heap.make<SharedBankData>("bank"));
  STRATA_TRY(heap.transactions());
  data->seed = seed;
  data->balances.fill(kOpeningBalance);
  STRATA_ASSIGN(const HeapReport report, heap.check());
  data->other_blocks = report.allocated_blocks;
  return segment.durability().persist(data, sizeof *data);
}

Result<std::unique_ptr<SharedBank>> SharedBank::open(const std::string& path) {
  auto bank = std::unique_ptr<SharedBank>(new SharedBank(path));
  STRATA_ASSIGN(Segment segment, bank->backend_.attach(uri_in(path), {.timeout_ms = kTimeoutMs}));
  bank->segment_ = std::make_unique<Segment>(std::move(segment));
  STRATA_ASSIGN(Heap heap, Heap::open(*bank->segment_));
  bank->heap_ = std::make_unique<Heap>(std::move(heap));
  STRATA_TRY(bank->heap_->transactions());
  STRATA_ASSIGN(bank->data_, bank->heap_->find<SharedBankData>("bank"));
  return bank;
}

Result<void> SharedBank::write_receipt(Transaction& tx, int process, std::uint64_t number) {
  Offset<std::byte>& place = data_->receipts[process][number % kReceipts];
  if (const Offset<std::byte> old = tx.read(place)) STRATA_TRY(tx.free(old));
  if (!has_receipt(number)) return tx.write(place, Offset<std::byte>{});
  const std::uint64_t word_count = words_of(number);
  STRATA_ASSIGN(const Offset<std::byte> block,
                tx.allocate(sizeof(Receipt) + word_count * sizeof(std::uint64_t)));
  auto* const receipt = tx.get(Offset<Receipt>{block.bytes});
  *receipt = {static_cast<std::uint64_t>(process), number, word_count};
  std::fill_n(reinterpret_cast<std::uint64_t*>(receipt + 1), word_count, number);
  return tx.write(place, block);
}

Result<void> SharedBank::transfer(int process, Tells when,
                                  const std::function<void(std::uint64_t)>& tell) {
  const std::uint64_t number = data_->done[process];
  const Transfer transfer = transfer_number(data_->seed, process, number);
  const auto group_of = [&](int side) { return &data_->locks[transfer.account[side] % kGroups]; };
  std::vector<RobustMutex*> locks = {&data_->locks[kGroups + process], group_of(0)};
  if (group_of(1) != group_of(0)) locks.push_back(group_of(1));
  STRATA_TRY(heap_->transact(locks,
                             [&](Transaction& tx) -> Result<void> {
                               auto& from = data_->balances[transfer.account[0]];
                               auto& to = data_->balances[transfer.account[1]];
                               STRATA_TRY(tx.write(from, tx.read(from) - transfer.amount));
                               STRATA_TRY(tx.write(to, tx.read(to) + transfer.amount));
                               STRATA_TRY(write_receipt(tx, process, number));
                               if (when == Tells::too_early) tell(number + 1);
                               return tx.write(data_->done[process], number + 1);
                             },
                             {.timeout_ms = kTimeoutMs}));
  if (when == Tells::when_safe) tell(number + 1);
  return {};
}

std::string SharedBank::describe_heap() const {
  const auto usage = heap_->inspect();
  if (!usage) return usage.error().to_string();
  std::string text = fmt::format(
      "{} KiB free, {} KiB in spans, {} KiB allocated, {} threads:", usage->free_unit_bytes / 1024,
      usage->span_bytes / 1024, usage->allocated_bytes / 1024, usage->threads);
  for (const HeapUsage::Class& each : usage->classes) {
    text += fmt::format(" {}x{}/{}", each.block_bytes, each.allocated_blocks, each.spans);
  }
  return text;
}

Result<void> SharedBank::checkpoint_log() {
  STRATA_ASSIGN(TransactionLog* const log, heap_->transactions());
  return log->checkpoint();
}

Result<void> SharedBank::check_receipt(int process, std::uint64_t number) const {
  const auto wrong = [&](const char* what) {
    return fail(Code::corrupt, fmt::format("receipt {} of process {}: {}", number, process, what));
  };
  const Offset<std::byte> place = data_->receipts[process][number % kReceipts];
  if (!has_receipt(number)) {
    if (place) return wrong("it should not be there");
    return {};
  }
  const auto* const receipt = heap_->get(Offset<Receipt>{place.bytes});
  if (receipt == nullptr) return wrong("it is not there");
  STRATA_ASSIGN(const std::uint64_t usable_bytes, heap_->usable_bytes(place));
  const std::uint64_t word_count = words_of(number);
  if (receipt->process != static_cast<std::uint64_t>(process) || receipt->number != number ||
      receipt->word_count != word_count ||
      usable_bytes < sizeof(Receipt) + word_count * sizeof(std::uint64_t)) {
    return wrong("it is another one");
  }
  const auto* const words = reinterpret_cast<const std::uint64_t*>(receipt + 1);
  if (std::count(words, words + word_count, number) != static_cast<std::ptrdiff_t>(word_count)) {
    return wrong("it is torn");
  }
  return {};
}

// Returns how many there are.
Result<std::uint64_t> SharedBank::check_receipts() const {
  std::uint64_t count = 0;
  for (int process = 0; process < kBankProcesses; ++process) {
    const std::uint64_t done = data_->done[process];
    for (std::uint64_t number = done - std::min(done, kReceipts); number < done; ++number) {
      STRATA_TRY(check_receipt(process, number));
      if (has_receipt(number)) ++count;
    }
  }
  return count;
}

// Room that no block takes can be had again: there is no empty span.
Result<void> SharedBank::check_spans() {
  heap_->release_thread_cache();
  STRATA_TRY(heap_->recover());
  STRATA_ASSIGN(const HeapUsage usage, heap_->inspect());
  for (const HeapUsage::Class& each : usage.classes) {
    if (each.spans <= each.allocated_blocks) continue;
    return fail(Code::corrupt, fmt::format("heap: {} spans of {} bytes hold {} blocks", each.spans,
                                           each.block_bytes, each.allocated_blocks));
  }
  return {};
}

Result<void> SharedBank::check() {
  const std::string wrong =
      compare_balances(data_->balances, balances_after(data_->seed, data_->done));
  if (!wrong.empty()) return fail(Code::corrupt, wrong);
  STRATA_ASSIGN(const std::uint64_t receipts, check_receipts());
  STRATA_TRY(heap_->recover());
  STRATA_TRY(checkpoint_log());
  STRATA_ASSIGN(const HeapReport report, heap_->check());
  if (!report.is_consistent()) {
    return fail(Code::corrupt, "heap: " + report.to_string() + ": " + report.findings[0].text);
  }
  STRATA_TRY(check_spans());
  const std::uint64_t wanted = data_->other_blocks + receipts;
  if (report.unfinished_blocks != 0 || report.allocated_blocks != wanted) {
    return fail(Code::corrupt,
                fmt::format("heap: {} blocks and {} unfinished ones, {} and none are accounted for",
                            report.allocated_blocks, report.unfinished_blocks, wanted));
  }
  return {};
}

}  // namespace strata::inline v0_1::test
