// Kills a process at every step of every operation of transactions, and those that repair after
// it at every step of the repair; then another one goes on and finds all or nothing.
#include <algorithm>
#include <array>
#include <csignal>

#include "tests/catch.h"
#include "tests/verified.h"
#include "transaction/transaction_testing.h"

using namespace strata;
using namespace strata::test;

namespace {

constexpr TransactionLogOptions kLog = {.slot_count = 3, .slot_bytes = KiB(8)};
constexpr std::size_t kHeirCell = 255;
constexpr int kManyCommits = 6;

// What counts: the cells and the chain of blocks.
struct State {
  std::vector<std::uint64_t> cells;
  std::vector<std::uint64_t> list;
  bool operator==(const State&) const = default;
};

State state_of(TestProcess& process) {
  State state;
  state.cells.assign(process.data().cells.begin(), process.data().cells.begin() + kHeirCell);
  for (std::uint64_t at = process.data().list; at != 0 && state.list.size() <= kBlockCount;) {
    state.list.push_back(at);
    TestNode* const node = process.node(at);
    at = node == nullptr ? 0 : node->next;
  }
  return state;
}

std::string difference(const State& a, const State& b) {
  std::string text = "differs in";
  for (std::size_t i = 0; i < a.cells.size(); ++i)
    if (a.cells[i] != b.cells[i]) text += " cell " + std::to_string(i);
  if (a.list != b.list) {
    text +=
        " the list of " + std::to_string(a.list.size()) + ", now " + std::to_string(b.list.size());
  }
  return text;
}

using Operation = Result<void> (*)(TestProcess&);

Result<void> change_much(Transaction& tx, TestProcess& process) {
  TestPayload& data = process.data();
  STRATA_TRY(tx.write(data.cells[0], tx.read(data.cells[0]) + 1));
  STRATA_TRY(tx.write(data.cells[100], tx.read(data.cells[100]) + 1));
  STRATA_TRY(push_node(tx, data));
  STRATA_TRY(push_node(tx, data));
  STRATA_TRY(tx.snapshot(data.cells[10], data.cells[11], data.cells[40]));
  STRATA_STEP("change in place");
  data.cells[10] += 1;
  STRATA_STEP("change in place");
  data.cells[11] += 1;
  STRATA_STEP("change in place");
  data.cells[40] += 1;
  STRATA_TRY(pop_node(tx, data));
  // A block that was there before.
  const std::uint64_t second = tx.read(tx.get(Offset<TestNode>{tx.read(data.list)})->next);
  STRATA_TRY(tx.write(tx.get(Offset<TestNode>{tx.read(data.list)})->next,
                      tx.read(tx.get(Offset<TestNode>{second})->next)));
  STRATA_TRY(tx.write(data.listed, tx.read(data.listed) - 1));
  return tx.free(Offset<TestNode>{second});
}

Result<void> commit(TestProcess& process) {
  RobustMutex* const locks[] = {&process.lock(1), &process.lock(0)};
  return transact(process.log(), locks, [&](Transaction& tx) { return change_much(tx, process); });
}

Result<void> return_an_error(TestProcess& process) {
  (void)transact(process.log(), process.lock(0), [&](Transaction& tx) -> Result<void> {
    STRATA_TRY(change_much(tx, process));
    return fail(Code::failed_precondition, "no");
  });
  return {};
}

Result<void> nest(TestProcess& process) {
  return transact(process.log(), process.lock(0), [&](Transaction& tx) -> Result<void> {
    STRATA_TRY(tx.write(process.data().cells[5], 5));
    STRATA_TRY(transact(process.log(), process.lock(1), [&](Transaction& inner) -> Result<void> {
      STRATA_TRY(inner.snapshot(process.data().cells[6]));
      STRATA_STEP("change in place");
      process.data().cells[6] = 6;
      return push_node(inner, process.data());
    }));
    return tx.write(process.data().cells[7], 7);
  });
}

Result<void> allocate_large(TestProcess& process) {
  return transact(process.log(), process.lock(0), [&](Transaction& tx) -> Result<void> {
    for (int i = 0; i < 5; ++i) {
      STRATA_ASSIGN(const auto block, tx.allocate(kBlockBytes));
      STRATA_STEP("fill a block");
      std::memset(tx.get(block, kBlockBytes), 0x77, kBlockBytes);
      *tx.get(Offset<TestNode>{block.bytes}) = {tx.read(process.data().list), block.bytes ^ 0x5eed};
      STRATA_TRY(tx.write(process.data().list, block.bytes));
      STRATA_TRY(tx.write(process.data().listed, tx.read(process.data().listed) + 1));
    }
    return {};
  });
}

Result<void> checkpoint(TestProcess& process) { return process.log().checkpoint(); }

// A slot that is so full that the next transaction begins with a checkpoint.
Result<void> write_large(TestProcess& process) {
  return transact(process.log(), process.lock(0), [&](Transaction& tx) -> Result<void> {
    std::array<std::uint64_t, 220> values;
    values.fill(tx.read(process.data().cells[20]) + 1);
    return tx.write_bytes(&process.data().cells[20], values.data(), sizeof(values));
  });
}
Result<void> commit_with_checkpoints(TestProcess& process) {
  for (int i = 0; i < kManyCommits; ++i)
    STRATA_TRY(write_large(process));
  return {};
}

class Killer {
 public:
  Killer(Durability& durability, std::uint64_t second_level_every)
      : durability_(durability), every_(second_level_every), bytes_(test_payload_bytes(kLog)) {
    REQUIRE(TransactionLog::format(bytes_.span(), kTestLogAt, kLog, durability_));
    TestProcess first(file_, bytes_.span(), 1, durability_);
    REQUIRE(first.open());
    for (int i = 0; i < 3; ++i) {
      REQUIRE(transact(first.log(), first.lock(0),
                       [&](Transaction& tx) { return push_node(tx, first.data()); }));
    }
    REQUIRE(transact(first.log(), first.lock(0),
                     [&](Transaction& tx) { return pop_node(tx, first.data()); }));
    start_ = save();
  }

  // `each`: where the operation is several transactions, what it repeats.
  void run(const char* name, Operation operation, Operation each = nullptr) {
    INFO("operation " << name);
    restore(start_);
    std::vector<State> allowed;
    {
      TestProcess reference(file_, bytes_.span(), 2, durability_);
      REQUIRE(reference.open());
      allowed.push_back(state_of(reference));
      for (int i = 0; each != nullptr && i < kManyCommits - 1; ++i) {
        REQUIRE(each(reference));
        allowed.push_back(state_of(reference));
      }
      REQUIRE((each != nullptr ? each : operation)(reference));
      allowed.push_back(state_of(reference));
    }
    for (std::uint64_t n = 1;; ++n) {
      INFO("killed at step " << n);
      restore(start_);
      if (!kill_at(2, start_, n, operation)) break;
      ++points_;
      const std::vector<std::byte> killed = save();
      go_on(killed, 1, allowed);
      go_on(killed, 2, allowed);
      if (n % every_ == 0) kill_the_heirs(killed, allowed);
    }
  }
  std::uint64_t points() const { return points_; }
  std::uint64_t second_points() const { return second_points_; }

 private:
  std::vector<std::byte> save() const { return {bytes_.span().begin(), bytes_.span().end()}; }
  void restore(const std::vector<std::byte>& saved) {
    std::memcpy(bytes_.span().data(), saved.data(), saved.size());
  }
  // A child that opens the log as it is in `before`, and runs the operation until step n. Whether
  // it was killed there. It may be an heir, who finds the bytes as they are now.
  bool kill_at(std::uint32_t token, const std::vector<std::byte>& before, std::uint64_t n,
               Operation operation) {
    const std::vector<std::byte> now = save();
    const int status = in_child([&] {
      restore(before);
      TestProcess process(file_, bytes_.span(), token, durability_);
      if (!process.open()) _exit(3);
      restore(now);
      kill_at_step(n);
      const bool done = operation(process).has_value();
      kill_at_step(0);
      _exit(done ? 0 : 4);
    });
    if (was_killed(status)) return true;
    INFO("status " << status);
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) == 0);
    return false;
  }
  bool kill_in_open(std::uint32_t token, std::uint64_t n, std::uint64_t generation) {
    const int status = in_child([&] {
      TestProcess process(file_, bytes_.span(), token, durability_, generation);
      kill_at_step(n);
      const bool opened = process.open().has_value();
      kill_at_step(0);
      _exit(opened ? 0 : 4);
    });
    if (was_killed(status)) return true;
    INFO("status " << status);
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) == 0);
    return false;
  }

  static Result<void> take_over(TestProcess& process) {
    RobustMutex* const locks[] = {&process.lock(0), &process.lock(1)};
    return transact(process.log(), locks, [&](Transaction& tx) -> Result<void> {
      return tx.write(process.data().cells[kHeirCell], 9);
    });
  }

  // Another process opens the bytes as they are, or was there already, and works on.
  void go_on(const std::vector<std::byte>& killed, std::uint64_t generation,
             const std::vector<State>& allowed) {
    std::optional<TestProcess> heir;
    if (generation == 1) {
      // It was attached before, and finds out by the lock.
      restore(start_);
      heir.emplace(file_, bytes_.span(), 5, durability_);
      REQUIRE(heir->open());
      restore(killed);
    } else {
      restore(killed);
      heir.emplace(file_, bytes_.span(), 5, durability_, generation);
      REQUIRE(heir->open());
    }
    check_state(*heir, allowed);
  }
  void check_state(TestProcess& heir, const std::vector<State>& allowed) {
    INFO("last step " << last_step());
    const auto taken = take_over(heir);
    INFO((taken ? std::string() : taken.error().to_string()));
    REQUIRE(taken);
    REQUIRE(heir.log().recover_dead());
    REQUIRE(heir.log().checkpoint());
    CHECK(heir.data().cells[kHeirCell] == 9);
    const State state = state_of(heir);
    INFO(difference(allowed.front(), state)
         << " from before, " << difference(allowed.back(), state) << " from after");
    REQUIRE(std::find(allowed.begin(), allowed.end(), state) != allowed.end());
    std::string why;
    const bool whole = list_is_whole(heir, why);
    INFO(why);
    REQUIRE(whole);
    CHECK(heir.log().report().findings.empty());
    CHECK(heir.log().report().slots_unfinished == 0);
  }

  // Whoever repairs is killed at every step of it, too.
  void kill_the_heirs(const std::vector<std::byte>& killed, const std::vector<State>& allowed) {
    for (std::uint64_t m = 1;; ++m) {
      INFO("the heir was killed at step " << m);
      restore(killed);
      if (!kill_at(3, start_, m, take_over)) break;
      ++second_points_;
      go_on(save(), 1, allowed);
    }
    for (std::uint64_t generation : {1, 2}) {
      for (std::uint64_t m = 1;; ++m) {
        INFO("the opener of generation " << generation << " was killed at step " << m);
        restore(killed);
        if (!kill_in_open(3, m, generation)) break;
        ++second_points_;
        go_on(save(), generation == 1 ? 1 : 3, allowed);
      }
    }
  }

  Durability& durability_;
  const std::uint64_t every_;
  LockFile file_;
  SharedBytes bytes_;
  std::vector<std::byte> start_;
  std::uint64_t points_ = 0;
  std::uint64_t second_points_ = 0;
};

// Heirs are killed at each of their steps after every `every`-th kill of the first process: all
// pairs would take hours.
void kill_everywhere(Durability& durability, std::uint64_t every) {
  Killer killer(durability, every);
  killer.run("commit", commit);
  killer.run("return an error", return_an_error);
  killer.run("nest", nest);
  killer.run("allocate much", allocate_large);
  killer.run("checkpoint", checkpoint);
  killer.run("commit with checkpoints", commit_with_checkpoints, write_large);
  std::printf("kill points: %llu, and %llu of heirs\n",
              static_cast<unsigned long long>(killer.points()),
              static_cast<unsigned long long>(killer.second_points()));
  CHECK(killer.points() > 50);
  report_verified(killer.points() + killer.second_points(), "kill points");
}

}  // namespace

TEST_CASE("a_kill_at_any_step_leaves_all_or_nothing_on_volatile_memory") {
  kill_everywhere(volatile_durability(), 17);
}

TEST_CASE("a_kill_at_any_step_leaves_all_or_nothing_on_durable_memory") {
  PretendDurability cache_lines(64);
  kill_everywhere(cache_lines, 61);
}

TEST_CASE("a_kill_at_any_step_leaves_all_or_nothing_with_group_commit") {
  PretendDurability pages(4096);
  kill_everywhere(pages, 127);
}
