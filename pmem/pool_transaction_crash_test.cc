// Power failures of shared transactions in a pool, by cache lines and by pages: the persistence
// domain of the segment is a shadow that receives only what was flushed and drained (and, by
// chance, lines that the cache wrote back of its own accord). At every drain that image becomes
// the segment of another pool, which is opened as the next start would, and asked for every
// transaction that was acknowledged. Programs with planted bugs must be found out.
#include <cstring>
#include <map>
#include <random>
#include <set>

#include "pmem/shadow_testing.h"
#include "strata/heap/heap.h"
#include "strata/transaction/dictionary.h"
#include "strata/transaction/transaction_map.h"
#include "tests/catch.h"
#include "tests/verified.h"
#include "transaction/transaction_log.h"

using namespace strata;
using strata::test::ShadowedPool;

namespace {

constexpr std::uint64_t kAccounts = 32;
constexpr std::uint64_t kNotes = 6;
constexpr std::uint64_t kTransfers = 40;
constexpr std::int64_t kFirstBalance = 1000;

struct alignas(256) Account {
  std::int64_t balance;
};

// Its text follows it: a line, or as many as take a span of several units, or a run of units alone.
struct Note {
  Offset<Note> next;
  std::uint64_t number;

  static std::uint64_t text_bytes(std::uint64_t number) {
    if (number % 9 == 8) return KiB(520);
    return number % 4 == 3 ? KiB(40) : 100;
  }
  std::span<std::uint8_t> text() {
    return {reinterpret_cast<std::uint8_t*>(this + 1), text_bytes(number)};
  }
  std::uint8_t letter() const { return static_cast<std::uint8_t>(number); }
};

struct Bank {
  RobustMutex lock;
  std::uint64_t done = 0;
  Offset<Note> newest;
  TransactionMap visits;
  Dictionary book;
  std::array<Account, kAccounts> accounts{};
};

// What a program can get wrong.
enum class Bug : std::uint8_t {
  none,
  missing_range,     // an account changed beside the transaction, and never flushed
  missing_snapshot,  // flushed and drained, but not to be undone
  wrong_order,       // changed in place before its snapshot
};

struct Transfer {
  std::uint64_t from, to;
  std::int64_t amount;
  std::string visitor() const { return "visitor " + std::to_string((from * 7 + to) % 11); }
};

Transfer transfer_of(std::uint64_t number) {
  return {number * 7 % kAccounts, (number * 7 + 1 + number % 5) % kAccounts,
          static_cast<std::int64_t>(number % 9 + 1)};
}

// Each transfer by its number, but for those of long ago; and the last one of each visitor.
constexpr std::uint64_t kEntries = 25;
std::string entry_of(std::uint64_t number) {
  return std::string(number % 7 == 3 ? 1500 : number % 30, static_cast<char>('a' + number % 26));
}
Result<void> enter(Transaction& tx, Dictionary& book, std::uint64_t number) {
  STRATA_TRY(book.set(tx, number, entry_of(number)));
  if (number > kEntries) STRATA_TRY(book.erase(tx, number - kEntries));
  return book.set(tx, transfer_of(number).visitor(), number);
}

Result<void> add_note(Transaction& tx, Bank& bank, std::uint64_t number) {
  const std::uint64_t bytes = sizeof(Note) + Note::text_bytes(number);
  STRATA_ASSIGN(const Offset<std::byte> block, tx.allocate(bytes));
  const Offset<Note> fresh{block.bytes};
  Note* const note = tx.get(fresh);
  *note = {tx.read(bank.newest), number};
  std::memset(note->text().data(), note->letter(), note->text().size());
  STRATA_TRY(tx.write(bank.newest, fresh));
  Note* last = note;
  for (std::uint64_t i = 1; i < kNotes && tx.read(last->next); ++i)
    last = tx.get(tx.read(last->next));
  const Offset<Note> oldest = tx.read(last->next);
  if (!oldest) return {};
  STRATA_TRY(tx.free(oldest));
  return tx.write(last->next, Offset<Note>{});
}

Result<void> transfer(Transaction& tx, Durability& durability, Bank& bank, std::uint64_t number,
                      Bug bug) {
  const Transfer what = transfer_of(number);
  std::int64_t& from = bank.accounts[what.from].balance;
  std::int64_t& to = bank.accounts[what.to].balance;
  if (bug == Bug::wrong_order) to += what.amount;
  if (bug != Bug::missing_range && bug != Bug::missing_snapshot) STRATA_TRY(tx.snapshot(to));
  if (bug != Bug::wrong_order) to += what.amount;
  if (bug == Bug::missing_snapshot) STRATA_TRY(durability.persist(&to, sizeof to));
  STRATA_TRY(tx.write(from, tx.read(from) - what.amount));
  STRATA_TRY(add_note(tx, bank, number));
  STRATA_TRY(bank.visits.add(tx, what.visitor(), 1));
  STRATA_TRY(enter(tx, bank.book, number));
  return tx.write(bank.done, number);
}

std::string wrong_accounts(const Bank& bank) {
  std::array<std::int64_t, kAccounts> balances;
  balances.fill(kFirstBalance);
  for (std::uint64_t number = 1; number <= bank.done; ++number) {
    const Transfer what = transfer_of(number);
    balances[what.from] -= what.amount;
    balances[what.to] += what.amount;
  }
  for (std::uint64_t i = 0; i < kAccounts; ++i) {
    if (bank.accounts[i].balance != balances[i]) return "an account is wrong";
  }
  return {};
}

std::string wrong_notes(Heap& heap, const Bank& bank) {
  std::uint64_t number = bank.done;
  std::uint64_t count = 0;
  for (Offset<Note> at = bank.newest; at; --number, ++count) {
    Note* const note = heap.get(at);
    if (note == nullptr || count == kNotes || note->number != number) return "a note is wrong";
    // All bytes are alike if each is like the next.
    const std::span<const std::uint8_t> text = note->text();
    if (text.front() != note->letter() ||
        std::memcmp(text.data(), text.data() + 1, text.size() - 1) != 0) {
      return "a note's text is wrong";
    }
    at = note->next;
  }
  return count == std::min(bank.done, kNotes) ? "" : "a note is missing";
}

std::string wrong_visits(Heap& heap, Bank& bank) {
  std::map<std::string, std::uint64_t> expected, found;
  for (std::uint64_t number = 1; number <= bank.done; ++number)
    ++expected[transfer_of(number).visitor()];
  const auto read = heap.transact(bank.lock, [&](Transaction& tx) {
    return bank.visits.for_each(
        tx, [&](std::string_view key, std::uint64_t value) { found.emplace(key, value); });
  });
  if (!read) return read.error().to_string();
  return found == expected ? "" : "the map is wrong";
}

// As a reader without the lock sees it, once the transactions were recovered.
std::string wrong_book(Heap& heap, const Bank& bank, std::span<const std::byte> payload) {
  if (const auto log = heap.transactions(); !log) return log.error().to_string();
  std::map<std::string, std::string> expected, found;
  for (std::uint64_t number = 1; number <= bank.done; ++number) {
    expected[transfer_of(number).visitor()] = std::to_string(number);
    if (number + kEntries > bank.done) expected[std::to_string(number)] = entry_of(number);
  }
  const auto read = bank.book.peek_each(
      payload, [&](const DictionaryKey& key, const DictionaryValue& value) -> Result<void> {
        found.emplace(key.bytes.empty() ? std::to_string(key.integer) : std::string(key.bytes),
                      value.has_bytes() ? std::string(value.bytes) : std::to_string(value.word));
        return {};
      });
  if (!read) return read.error().to_string();
  if (*read != Dictionary::Peek::found) return "the dictionary cannot be read";
  DictionaryReport report;
  if (bank.book.check(payload, report) != Dictionary::Peek::found) return "it cannot be checked";
  if (!report.findings.empty()) return report.findings.front();
  return found == expected ? "" : "the dictionary is wrong";
}

// Opens the segment as the next start would. What is wrong, or nothing.
std::string verdict(Os& os, const SegmentUri& uri, std::uint64_t acknowledged) {
  PmemBackend backend(os);
  auto segment = backend.attach(uri, {});
  if (!segment) return segment.error().to_string();
  auto heap = Heap::open(*segment);
  if (!heap) return heap.error().to_string();
  if (const auto log = heap->transactions(); !log) return log.error().to_string();
  const auto bank = heap->find<Bank>("bank");
  if (!bank) return bank.error().to_string();
  if ((*bank)->done < acknowledged) return "an acknowledged transfer is lost";
  if ((*bank)->done > acknowledged + 1) return "a transfer is done that never was begun";
  for (std::string wrong :
       {wrong_accounts(**bank), wrong_notes(*heap, **bank), wrong_visits(*heap, **bank),
        wrong_book(*heap, **bank, segment->host_bytes().value())}) {
    if (!wrong.empty()) return wrong;
  }
  // The next start can go on working.
  if (const auto made = heap->make<std::uint64_t>("after"); !made) return made.error().to_string();
  if (heap->name_count() != 2) return "the names are counted wrong";
  const auto report = heap->check();
  if (!report) return report.error().to_string();
  return report->is_consistent() ? "" : report->to_string();
}

Result<Bank*> make_bank(Heap& heap) {
  STRATA_ASSIGN(Bank* const bank, heap.make<Bank>("bank"));
  // So small that checkpoints are frequent.
  STRATA_TRY(heap.make_transaction_log({.slot_count = 2, .slot_bytes = KiB(16)}));
  STRATA_TRY(heap.transact(bank->lock, [&](Transaction& tx) -> Result<void> {
    for (Account& account : bank->accounts)
      STRATA_TRY(tx.write(account.balance, kFirstBalance));
    return {};
  }));
  return bank;
}

ShadowedPool::Outcome run(const ShadowOptions& options, Bug bug) {
  ShadowedPool pool(MiB(3), options);
  Segment segment = pool.attach();
  Heap heap = Heap::create(segment).value();
  Bank* const bank = make_bank(heap).value();
  std::uint64_t acknowledged = 0;
  pool.watch([&](Os& os, const SegmentUri& image) { return verdict(os, image, acknowledged); });
  while (acknowledged < kTransfers) {
    const std::uint64_t number = acknowledged + 1;
    const auto attempt = [&](Transaction& tx) {
      return transfer(tx, segment.durability(), *bank, number, bug);
    };
    if (number % 8 == 0 && bug == Bug::none) {  // one that is undone
      REQUIRE_FALSE(heap.transact(bank->lock, [&](Transaction& tx) -> Result<void> {
        STRATA_TRY(attempt(tx));
        return fail(Code::failed_precondition, "changed its mind");
      }));
    }
    const auto done = heap.transact(bank->lock, attempt);
    INFO((done ? "" : done.error().to_string()));
    REQUIRE(done);
    acknowledged = number;
    if (number % 16 == 0) REQUIRE(heap.transactions().value()->checkpoint());
  }
  return pool.finish();
}

void every_seed_finds(ShadowOptions options, Bug bug) {
  for (options.seed = 1; options.seed <= 3; ++options.seed)
    CHECK(!run(options, bug).verdicts.empty());
}

}  // namespace

TEST_CASE("every_crash_image_of_transactions_in_a_pool_has_all_that_was_acknowledged") {
  std::uint64_t images = 0;
  for (const std::size_t granularity : {std::size_t{kCacheLineBytes}, std::size_t{kPageBytes}}) {
    for (const unsigned evict : {0u, 300u}) {
      for (std::uint64_t seed = 1; seed <= 2; ++seed) {
        const ShadowedPool::Outcome outcome = run(
            {.granularity_bytes = granularity, .evict_per_mille = evict, .seed = seed}, Bug::none);
        INFO("granularity " << granularity << ", evict " << evict << ", seed " << seed);
        CHECK(outcome.verdicts == std::set<std::string>());
        images += outcome.images;
      }
    }
  }
  CHECK(images > 400);
  report_verified(images, "crash images");
}

TEST_CASE("a_missing_flush_is_found") { every_seed_finds({.lose_flushes_one_in = 4}, Bug::none); }

TEST_CASE("a_missing_drain_is_found") {
  every_seed_finds({.evict_per_mille = 300, .lose_drains_one_in = 2}, Bug::none);
}

TEST_CASE("a_range_beside_the_transaction_is_found") { every_seed_finds({}, Bug::missing_range); }

TEST_CASE("a_missing_snapshot_is_found") { every_seed_finds({}, Bug::missing_snapshot); }

TEST_CASE("a_change_before_its_snapshot_is_found") {
  every_seed_finds({.evict_per_mille = 300}, Bug::wrong_order);
}
