// Programs in C and in C++ on one segment: the same locks, objects and rings.
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "strata/c.h"
#include "strata/heap/heap.h"
#include "strata/strata.h"
#include "strata/sync/mpmc_ring.h"
#include "tests/catch.h"

using namespace strata;

namespace {

struct Account {
  RobustMutex lock;
  std::int64_t balance = 100;
};

// The same in the words of C.
struct account {
  strata_mutex lock;
  std::int64_t balance;
};

const strata_type kAccountOfC = STRATA_TYPE(account, "mixed.account", 3);

template <auto kClose>
struct Closer {
  template <typename T>
  void operator()(T* handle) const {
    kClose(handle);
  }
};

// A heap that both have open, each through an attachment of its own.
struct Both {
  Catalog catalog = open_catalog();
  Segment segment = catalog
                        .create("shm:mixed-" + std::to_string(getpid()),
                                {.payload_bytes = MiB(1), .lifetime = Lifetime::process})
                        .value();
  Heap heap = Heap::create(segment).value();

  std::unique_ptr<strata_catalog, Closer<strata_catalog_close>> catalog_of_c;
  std::unique_ptr<strata_segment, Closer<strata_segment_close>> segment_of_c;
  std::unique_ptr<strata_heap, Closer<strata_heap_close>> heap_of_c;
  std::unique_ptr<strata_sync_context, Closer<strata_sync_context_close>> context_of_c;

  Both() {
    strata_catalog* opened = nullptr;
    REQUIRE(strata_catalog_open(nullptr, &opened) == STRATA_OK);
    catalog_of_c.reset(opened);
    strata_segment* attached = nullptr;
    REQUIRE(strata_catalog_attach(opened, segment.uri().to_string().c_str(), nullptr, &attached) ==
            STRATA_OK);
    segment_of_c.reset(attached);
    strata_heap* found = nullptr;
    REQUIRE(strata_heap_open(attached, &found) == STRATA_OK);
    heap_of_c.reset(found);
    strata_sync_context* joined = nullptr;
    REQUIRE(strata_sync_context_open(attached, &joined) == STRATA_OK);
    context_of_c.reset(joined);
  }

  account* find_in_c(const char* name) const {
    void* object = nullptr;
    if (strata_heap_find(heap_of_c.get(), name, &kAccountOfC, &object) != STRATA_OK) return nullptr;
    return static_cast<account*>(object);
  }
};

}  // namespace

template <>
struct strata::TypeTraits<Account> {
  static constexpr std::string_view name = "mixed.account";
  static constexpr std::uint64_t version = 3;
};

TEST_CASE("an_object_of_one_language_is_found_by_the_other") {
  const Both both;
  Heap heap = both.heap.share();
  REQUIRE(heap.make<Account>("of C++"));
  account* const seen_by_c = both.find_in_c("of C++");
  REQUIRE(seen_by_c != nullptr);
  CHECK(seen_by_c->balance == 100);

  const account initial = {{}, 7};
  REQUIRE(strata_heap_make(both.heap_of_c.get(), "of C", &kAccountOfC, &initial, nullptr) ==
          STRATA_OK);
  CHECK(heap.find<Account>("of C").value()->balance == 7);
  // A type of another name is another type, and so is another version of it.
  CHECK(heap.find<std::int64_t>("of C").error().code() == Code::invalid_argument);
  strata_type older = kAccountOfC;
  older.version = 2;
  void* object = nullptr;
  CHECK(strata_heap_find(both.heap_of_c.get(), "of C++", &older, &object) ==
        STRATA_INVALID_ARGUMENT);
}

TEST_CASE("a_lock_that_one_language_holds_keeps_the_other_out") {
  Both both;
  Account* const mine = both.heap.make<Account>("account").value();
  account* const theirs = both.find_in_c("account");
  REQUIRE(theirs != nullptr);
  const SyncContext context = both.segment.sync_context().value();
  int how = -1;
  REQUIRE(strata_mutex_lock(both.context_of_c.get(), &theirs->lock, 0, &how) == STRATA_OK);
  CHECK(mine->lock.try_lock(context).error().code() == Code::timed_out);
  REQUIRE(strata_mutex_unlock(both.context_of_c.get(), &theirs->lock) == STRATA_OK);
  REQUIRE(mine->lock.try_lock(context));
  CHECK(strata_mutex_lock(both.context_of_c.get(), &theirs->lock, 0, &how) == STRATA_TIMED_OUT);
  REQUIRE(mine->lock.unlock(context));

  // A transaction holds it as well.
  strata_mutex* const locks[] = {&theirs->lock};
  strata_transaction* transaction = nullptr;
  REQUIRE(strata_transaction_begin(both.heap_of_c.get(), locks, 1, 0, &transaction) == STRATA_OK);
  const std::int64_t less = 90;
  CHECK(strata_transaction_write(transaction, &theirs->balance, &less, sizeof less) == STRATA_OK);
  CHECK(
      both.heap.transact(mine->lock, [](Transaction&) { return Result<void>(); }, {.timeout_ms = 0})
          .error()
          .code() == Code::timed_out);
  CHECK(mine->balance == 100);
  CHECK(strata_transaction_commit(transaction) == STRATA_OK);
  strata_transaction_close(transaction);
  CHECK(mine->balance == 90);
}

TEST_CASE("a_message_of_one_language_is_received_by_the_other") {
  Both both;
  const RingOptions options = {.slots = 4, .message_bytes = 64};
  const std::uint64_t bytes = mpmc_ring_bytes(options).value();
  const Offset<std::byte> block = both.heap.allocate(bytes, 64).value();
  const std::span<std::byte> place(both.heap.get(block, bytes), bytes);
  REQUIRE(format_mpmc_ring(place, options));
  const SyncContext context = both.segment.sync_context().value();
  MpmcRing mine = MpmcRing::open(place, context).value();

  void* there = nullptr;
  REQUIRE(strata_heap_address(both.heap_of_c.get(), block.bytes, bytes, &there) == STRATA_OK);
  strata_mpmc_ring* theirs = nullptr;
  REQUIRE(strata_mpmc_ring_open(both.context_of_c.get(), there, &theirs) == STRATA_OK);
  REQUIRE(strata_mpmc_ring_send(theirs, "from C", 7, 0) == STRATA_OK);
  auto received = mine.receive(Deadline::after_ms(0)).value();
  CHECK(std::memcmp(received.bytes.data(), "from C", 7) == 0);
  REQUIRE(mine.release(received));
  REQUIRE(mine.send(std::as_bytes(std::span("from C++")), Deadline::after_ms(0)));
  strata_message message{};
  REQUIRE(strata_mpmc_ring_receive(theirs, 0, &message) == STRATA_OK);
  CHECK(std::memcmp(message.data, "from C++", 9) == 0);
  CHECK(strata_mpmc_ring_release(theirs, &message) == STRATA_OK);
  strata_mpmc_ring_close(theirs);
}
