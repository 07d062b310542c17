#include "gpu/timeline_slot.h"

#include <random>
#include <thread>

#include "sync/sync_testing.h"
#include "tests/catch.h"
#include "tests/verified.h"

using namespace strata;
using namespace strata::cuda;
using strata::test::FileOwner;
using strata::test::in_child;
using strata::test::LockFile;
using strata::test::Shared;
using strata::test::start_child;
using strata::test::wait_for;
using strata::test::wait_until;

namespace {

Deadline soon() { return Deadline::after_ms(120'000); }
Deadline now() { return Deadline::after_ms(0); }

void signal(TimelineSlot& slot, std::uint32_t epoch, std::uint64_t number) {
  slot.value.store(first_value(epoch) + number, std::memory_order_seq_cst);
}

std::uint64_t value_of(const TimelineSlot& slot) {
  return slot.value.load(std::memory_order_seq_cst);
}

struct Scene {
  LockFile file;
  Shared<TimelineSlot> slot;
  RealOs os;
  FileOwner us{file, 1};

  AwaitedSignal awaited(std::uint32_t epoch, std::uint64_t number) {
    return {&*slot, epoch, number};
  }
};

}  // namespace

TEST_CASE("a_claim_begins_an_epoch_in_which_nothing_is_signalled") {
  Scene scene;
  const std::uint32_t epoch = claim_slot(*scene.slot, scene.us).value();
  CHECK(epoch == 1);
  CHECK(look(scene.awaited(epoch, 1)) == Reading::pending);
  signal(*scene.slot, epoch, 3);
  CHECK(look(scene.awaited(epoch, 1)) == Reading::reached);
  CHECK(look(scene.awaited(epoch, 3)) == Reading::reached);
  CHECK(look(scene.awaited(epoch, 4)) == Reading::pending);
  CHECK(check_claim(*scene.slot, scene.us, epoch));
}

TEST_CASE("a_slot_with_a_living_owner_is_not_claimed") {
  Scene scene;
  REQUIRE(claim_slot(*scene.slot, scene.us));
  const FileOwner other(scene.file, 2);
  CHECK(claim_slot(*scene.slot, other).error().code() == Code::already_exists);
  CHECK(claim_slot(*scene.slot, scene.us).error().code() == Code::already_exists);
}

TEST_CASE("the_slot_of_a_dead_owner_is_claimed_in_the_next_epoch") {
  Scene scene;
  CHECK(in_child([&] {
          const FileOwner owner(scene.file, 2);
          signal(*scene.slot, claim_slot(*scene.slot, owner).value(), 5);
        }) == 0);
  const std::uint32_t epoch = claim_slot(*scene.slot, scene.us).value();
  CHECK(epoch == 2);
  // What it had signalled stays signalled.
  CHECK(look(scene.awaited(1, 5)) == Reading::reached);
  CHECK(look(scene.awaited(1, 6)) == Reading::taken_over);
  CHECK(look(scene.awaited(2, 1)) == Reading::pending);
  CHECK(has_passed(value_of(*scene.slot), first_value(1) + kMaxSignal));
}

TEST_CASE("an_owner_that_ends_leaves_its_signals_and_nothing_more") {
  Scene scene;
  const std::uint32_t epoch = claim_slot(*scene.slot, scene.us).value();
  signal(*scene.slot, epoch, 2);
  end_claim(*scene.slot, scene.us, epoch);
  CHECK(look(scene.awaited(epoch, 2)) == Reading::reached);
  CHECK(look(scene.awaited(epoch, 3)) == Reading::owner_died);
  const auto failed = wait_on_host(scene.os, scene.awaited(epoch, 3), scene.us, soon());
  CHECK(failed.error().code() == Code::failed_precondition);
  CHECK(claim_slot(*scene.slot, scene.us).value() == epoch + 1);
}

TEST_CASE("poison_ends_every_wait_of_its_epoch_and_none_of_the_next") {
  const SlotState why = GENERATE(SlotState::owner_died, SlotState::given_up);
  Scene scene;
  const std::uint32_t epoch = claim_slot(*scene.slot, scene.us).value();
  signal(*scene.slot, epoch, 7);
  let_go(scene.awaited(epoch, 9), why);
  CHECK(has_passed(value_of(*scene.slot), first_value(epoch) + 9));
  CHECK(has_passed(value_of(*scene.slot), first_value(epoch) + kMaxSignal));
  CHECK(look(scene.awaited(epoch, 7)) == Reading::reached);
  const Reading expected = why == SlotState::owner_died ? Reading::owner_died : Reading::given_up;
  CHECK(look(scene.awaited(epoch, 8)) == expected);
  CHECK(check_claim(*scene.slot, scene.us, epoch).error().code() == Code::failed_precondition);
  // Given up, it may be claimed also while its owner lives.
  const FileOwner other(scene.file, 2);
  CHECK(claim_slot(*scene.slot, other).value() == epoch + 1);
  CHECK_FALSE(has_passed(value_of(*scene.slot), first_value(epoch + 1) + 1));
  CHECK(has_passed(value_of(*scene.slot), first_value(epoch) + kMaxSignal));
  CHECK(look(scene.awaited(epoch, 7)) == Reading::reached);
  CHECK(look(scene.awaited(epoch, 8)) == Reading::taken_over);
}

TEST_CASE("a_signal_that_is_there_is_never_poisoned") {
  Scene scene;
  const std::uint32_t epoch = claim_slot(*scene.slot, scene.us).value();
  signal(*scene.slot, epoch, 9);
  let_go(scene.awaited(epoch, 9), SlotState::given_up);
  CHECK(check_claim(*scene.slot, scene.us, epoch));
  CHECK(value_of(*scene.slot) == first_value(epoch) + 9);
}

TEST_CASE("what_an_old_owners_stream_writes_late_signals_nothing_and_holds_up_nobody_for_ever") {
  Scene scene;
  const std::uint32_t old_epoch = claim_slot(*scene.slot, scene.us).value();
  let_go(scene.awaited(old_epoch, 1), SlotState::given_up);
  const FileOwner other(scene.file, 2);
  const std::uint32_t epoch = claim_slot(*scene.slot, other).value();
  signal(*scene.slot, old_epoch, kMaxSignal);
  CHECK(look(scene.awaited(epoch, 1)) == Reading::pending);
  // A wait of the old epoch for more than was written: it ends, and with it none of the new one.
  signal(*scene.slot, old_epoch, 5);
  let_go(scene.awaited(old_epoch, 6), SlotState::owner_died);
  CHECK(has_passed(value_of(*scene.slot), first_value(old_epoch) + 6));
  CHECK(look(scene.awaited(epoch, 1)) == Reading::pending);
  CHECK(check_claim(*scene.slot, other, epoch));
}

TEST_CASE("a_host_wait_ends_with_the_signal_the_death_or_the_deadline") {
  Scene scene;
  Shared<std::atomic<int>> go;
  const pid_t child = start_child([&] {
    const FileOwner owner(scene.file, 2);
    const std::uint32_t epoch = claim_slot(*scene.slot, owner).value();
    *go = 1;
    wait_until([&] { return *go == 2; });
    signal(*scene.slot, epoch, 1);
    pause();
  });
  wait_until([&] { return *go == 1; });
  const auto early = wait_on_host(scene.os, scene.awaited(1, 1), scene.us, Deadline::after_ms(20));
  CHECK(early.error().code() == Code::timed_out);
  *go = 2;
  CHECK(wait_on_host(scene.os, scene.awaited(1, 1), scene.us, soon()));
  std::thread killer([&] {
    usleep(20'000);
    kill(child, SIGKILL);
  });
  const auto dead = wait_on_host(scene.os, scene.awaited(1, 2), scene.us, soon());
  killer.join();
  wait_for(child);
  CHECK(dead.error().code() == Code::failed_precondition);
  CHECK(dead.error().message().find(std::to_string(child)) != std::string::npos);
  // Everybody sees it now.
  CHECK(look(scene.awaited(1, 2)) == Reading::owner_died);
  CHECK(look(scene.awaited(1, 1)) == Reading::reached);
}

TEST_CASE("a_forked_child_is_nobody") {
  // As the kernel wipes a Participant's token in a forked child.
  class WipedOwner final : public Owner {
   public:
    WipedOwner() : Owner(&token_word, getpid(), 1) {}
    Result<bool> is_alive(std::uint32_t) const override { return false; }
    std::string describe(std::uint32_t) const override { return "nobody"; }
    std::uint32_t token_word = 0;
  };
  Scene scene;
  const std::uint32_t epoch = claim_slot(*scene.slot, scene.us).value();
  const WipedOwner child;
  CHECK(claim_slot(*scene.slot, child).error().code() == Code::failed_precondition);
  CHECK(check_claim(*scene.slot, child, epoch).error().code() == Code::failed_precondition);
  const auto waited = wait_on_host(scene.os, scene.awaited(epoch, 1), child, now());
  CHECK(waited.error().code() == Code::failed_precondition);
  end_claim(*scene.slot, child, epoch);
  CHECK(check_claim(*scene.slot, scene.us, epoch));
}

TEST_CASE("epochs_come_round_without_waking_anybody") {
  for (const std::uint32_t epoch : {0u, 1u, (1u << 20) - 2, (1u << 20) - 1, 1u << 20, ~0u}) {
    INFO(epoch);
    CHECK(has_passed(first_value(epoch + 1), first_value(epoch) + kMaxSignal));
    CHECK_FALSE(has_passed(first_value(epoch), first_value(epoch + 1)));
    CHECK_FALSE(has_passed(first_value(epoch) + kMaxSignal, first_value(epoch + 1) + 1));
    CHECK(has_passed(poison_value(epoch), first_value(epoch) + kMaxSignal));
    CHECK_FALSE(is_of_epoch(poison_value(epoch), epoch));
    CHECK(is_later(epoch + 1, epoch));
    CHECK_FALSE(is_later(epoch, epoch));
    CHECK_FALSE(is_later(epoch, epoch + 1));
  }
  const SlotClaim claim{kMaxToken, SlotState::given_up, ~0u};
  CHECK(SlotClaim::of(claim.word()).word() == claim.word());
  CHECK(SlotClaim::of(~std::uint64_t{0}).token == kMaxToken);
}

TEST_CASE("random_words_are_survived") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  Scene scene;
  const auto put = [&](auto& word, std::uint64_t value) {
    using Word = decltype(word.load(std::memory_order_relaxed));
    word.store(static_cast<Word>(value), std::memory_order_seq_cst);
  };
  constexpr int kRounds = 20'000;
  for (int i = 0; i < kRounds; ++i) {
    put(scene.slot->value, random());
    put(scene.slot->claim, random());
    put(scene.slot->reached, random());
    put(scene.slot->owner_pid, random());
    const AwaitedSignal awaited =
        scene.awaited(static_cast<std::uint32_t>(random()), 1 + random() % kMaxSignal);
    (void)look(awaited);
    (void)is_owner_gone(awaited, scene.us);
    let_go(awaited, SlotState::given_up);
    // Whatever stood there: a stream that waits for this comes past it.
    REQUIRE(has_passed(value_of(*scene.slot), awaited.value()));
    const auto epoch = claim_slot(*scene.slot, scene.us);
    if (epoch) {
      REQUIRE(look(scene.awaited(*epoch, 1)) == Reading::pending);
      end_claim(*scene.slot, scene.us, *epoch);
    }
  }
  report_verified(kRounds, "slots of random words");
}
