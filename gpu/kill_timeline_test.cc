// Kills a process at every step of what it does to a slot: the next one can always claim it, no
// wait is ended by a signal that nobody gave, and none is left to wait for ever.
#include "gpu/timeline_slot.h"
#include "sync/kill_testing.h"

using namespace strata;
using namespace strata::cuda;
using strata::test::kill_at_every_step;
using strata::test::Party;
using strata::test::Play;

namespace {

struct State {
  TimelineSlot slot;
  std::uint64_t epoch = 0;  // that of `prepare`
};

void signal(State& state, std::uint32_t epoch, std::uint64_t number) {
  state.slot.value.store(first_value(epoch) + number, std::memory_order_seq_cst);
}

AwaitedSignal awaited(State& state, std::uint64_t epoch, std::uint64_t number) {
  return {&state.slot, static_cast<std::uint32_t>(epoch), number};
}

bool ends(State& state, std::uint64_t epoch, std::uint64_t number) {
  return has_passed(state.slot.value.load(std::memory_order_seq_cst),
                    first_value(static_cast<std::uint32_t>(epoch)) + number);
}

// Whatever happened: the slot is claimed, signalled, and waited for again.
void go_on(State& state, const Party& us) {
  if (const auto epoch = claim_slot(state.slot, us.owner)) {
    REQUIRE(look(awaited(state, *epoch, 1)) == Reading::pending);
    signal(state, *epoch, 1);
    REQUIRE(look(awaited(state, *epoch, 1)) == Reading::reached);
    return;
  }
  // It is ours still.
  REQUIRE(check_claim(state.slot, us.owner, static_cast<std::uint32_t>(state.epoch)));
}

}  // namespace

TEST_CASE("a_killed_claim_leaves_a_slot_that_the_next_claims") {
  Play<State> play;
  play.operate = [](State& state, const Party& me, const auto& arm) {
    arm();
    test::need(claim_slot(state.slot, me.owner).has_value(), 1);
  };
  play.check = [](State& state, const Party& us) { go_on(state, us); };
  kill_at_every_step("claim", play);
}

TEST_CASE("a_killed_take_over_ends_the_waits_of_the_old_epoch_and_keeps_its_signals") {
  Play<State> play;
  play.prepare = [](State& state, const Party& us) {
    state.epoch = claim_slot(state.slot, us.owner).value();
    signal(state, static_cast<std::uint32_t>(state.epoch), 4);
    end_claim(state.slot, us.owner, static_cast<std::uint32_t>(state.epoch));
  };
  play.operate = [](State& state, const Party& me, const auto& arm) {
    arm();
    test::need(claim_slot(state.slot, me.owner).has_value(), 1);
  };
  play.check = [](State& state, const Party& us) {
    CHECK(look(awaited(state, state.epoch, 4)) == Reading::reached);
    const Reading next = look(awaited(state, state.epoch, 5));
    CHECK((next == Reading::owner_died || next == Reading::taken_over));
    // By whoever still waits for it.
    let_go(awaited(state, state.epoch, 5), SlotState::owner_died);
    CHECK(ends(state, state.epoch, kMaxSignal));
    go_on(state, us);
  };
  kill_at_every_step("take over", play);
}

TEST_CASE("a_killed_poisoner_is_made_up_for_by_the_next_waiter") {
  Play<State> play;
  play.prepare = [](State& state, const Party& us) {
    state.epoch = claim_slot(state.slot, us.owner).value();
    signal(state, static_cast<std::uint32_t>(state.epoch), 4);
  };
  play.operate = [](State& state, const Party&, const auto& arm) {
    arm();
    let_go(awaited(state, state.epoch, 5), SlotState::given_up);
  };
  play.check = [](State& state, const Party& us) {
    CHECK(look(awaited(state, state.epoch, 4)) == Reading::reached);
    const Reading next = look(awaited(state, state.epoch, 5));
    CHECK((next == Reading::pending || next == Reading::given_up));
    let_go(awaited(state, state.epoch, 5), SlotState::given_up);
    CHECK(ends(state, state.epoch, 5));
    CHECK(look(awaited(state, state.epoch, 4)) == Reading::reached);
    CHECK(look(awaited(state, state.epoch, 5)) == Reading::given_up);
    go_on(state, us);
  };
  kill_at_every_step("poison", play);
}

TEST_CASE("poison_and_take_over_at_once_never_end_a_wait_of_the_new_epoch") {
  // The doomed process poisons the old epoch while another one claims the slot.
  Play<State> play;
  play.prepare = [](State& state, const Party& us) {
    state.epoch = claim_slot(state.slot, us.owner).value();
    let_go(awaited(state, state.epoch, 1), SlotState::given_up);
  };
  play.operate = [](State& state, const Party&, const auto& arm) {
    arm();
    let_go(awaited(state, state.epoch, 2), SlotState::given_up);
    signal(state, static_cast<std::uint32_t>(state.epoch), 1);  // its stream, late
    let_go(awaited(state, state.epoch, 2), SlotState::given_up);
  };
  play.meanwhile = [](State& state, const Party& other) {
    const auto epoch = claim_slot(state.slot, other.owner);
    test::need(epoch.has_value(), 1);
    for (int i = 0; i < 100; ++i)
      test::need(!ends(state, *epoch, 1), 2);
  };
  play.check = [](State& state, const Party& us) { go_on(state, us); };
  kill_at_every_step("poison and take over", play);
}
