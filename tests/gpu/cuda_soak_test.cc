// Processes that share device memory are killed at random moments, for some seconds. The others
// keep every byte, newcomers attach, and in the end nothing is left.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>
#include <random>
#include <vector>

#include "tests/catch.h"
#include "tests/child.h"
#include "tests/gpu/cuda_world.h"
#include "tests/gpu/told_by_child.h"
#include "tests/skip.h"
#include "tests/verified.h"

using namespace strata;
using namespace strata::test;

namespace {

const SegmentUri kUri{"cuda", {}, "soak"};
// For one who waits for others on a machine that does much else.
constexpr std::uint64_t kPatienceMs = 120'000;

// Attaches, looks, writes what is there already, for ever.
void consume(const CudaOptions& options, unsigned seed) {
  std::mt19937 random(seed);
  RealOs os;
  CudaBackend backend(os, options);
  while (true) {
    const bool writes = random() % 2 == 0;
    auto segment = backend.attach(kUri, {.access = writes ? Access::read_write : Access::read_only,
                                         .timeout_ms = kPatienceMs});
    if (!segment) {
      std::fprintf(stderr, "consumer: %s\n", segment.error().to_string().c_str());
      _exit(1);
    }
    if (const std::string wrong = difference_from_pattern(*segment); !wrong.empty()) {
      std::fprintf(stderr, "consumer: %s\n", wrong.c_str());
      _exit(2);
    }
    if (writes && !segment->write(0, pattern(segment->payload_bytes()))) _exit(3);
  }
}

struct Soak {
  CudaWorld world;
  std::mt19937 random{random_seed()};
  std::uint64_t kills = 0;

  void check_gone() {
    REQUIRE(world.tools.reclaim({}, {}));
    REQUIRE(world.tools.list({}).value().empty());
    CHECK(world.listing().empty());
    CHECK(world.device_bytes() == 0);
  }
  void pause_up_to_us(unsigned us) { usleep(random() % us); }
};

}  // namespace

TEST_CASE_METHOD(Soak, "consumers_that_are_killed_at_random_cost_the_others_nothing") {
  auto producer = world.keep_new(kUri, device_segment());
  REQUIRE(producer->failure() == "");
  const std::uint64_t bytes = world.device_bytes();
  const double seconds = soak_seconds(30);
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::milliseconds(static_cast<long>(1000 * seconds));
  std::vector<pid_t> consumers(4, 0);
  while (std::chrono::steady_clock::now() < end) {
    pid_t& victim = consumers[random() % consumers.size()];
    if (victim != 0) {
      // One that has ended by itself has found something wrong.
      REQUIRE(waitpid(victim, nullptr, WNOHANG) == 0);
      kill_child(victim);
      ++kills;
    }
    const auto seed = static_cast<unsigned>(random());
    victim = start_child([&] { consume(world.options(), seed); });
    pause_up_to_us(is_driver_fake() ? 20'000 : 1'000'000);
  }
  for (const pid_t each : consumers)
    if (each != 0) kill_child(each);
  CHECK(producer->check() == "");
  REQUIRE(world.tools.reclaim({}, {}));
  CHECK(world.device_bytes() == bytes);
  CHECK(producer->end() == "");
  check_gone();
  report_verified(kills, "consumers of device memory killed at random");
}

TEST_CASE_METHOD(Soak, "whoever_is_attached_hands_on_when_all_before_it_have_been_killed") {
  // Each newcomer gets the memory from those before it, of whom one dies meanwhile.
  constexpr std::size_t kGenerations = 30;
  std::vector<std::unique_ptr<Keeper>> line, silent;
  line.push_back(world.keep_new(kUri, device_segment()));
  REQUIRE(line.back()->failure() == "");
  const TimeBudget budget;
  for (std::size_t i = 0; i < kGenerations && !budget.is_spent(); ++i) {
    line.push_back(world.keep_attached(kUri, {.timeout_ms = kPatienceMs}));
    REQUIRE(line.back()->failure() == "");
    REQUIRE(line.back()->check() == "");
    if (random() % 4 == 0) {
      // It takes every connection, and says nothing.
      line.front()->stop();
      silent.push_back(std::move(line.front()));
    } else {
      line.front()->kill();
      ++kills;
    }
    line.erase(line.begin());
  }
  for (auto* each : {&line, &silent}) {
    for (auto& keeper : *each)
      keeper->kill();
  }
  check_gone();
  report_verified(kills, "producers of device memory killed while others were attached");
}

TEST_CASE_METHOD(Soak, "a_producer_that_is_killed_before_the_import_is_told_and_its_name_is_free") {
  world.keep_new(kUri, device_segment())->kill();
  const std::string told = world.keep_attached(kUri, {.timeout_ms = 100})->failure();
  INFO(told);
  CHECK(told.find("not_found") == 0);
  check_gone();
  const auto next = world.keep_new(kUri, device_segment());
  CHECK(next->failure() == "");
  CHECK(next->end() == "");
  check_gone();
}

TEST_CASE_METHOD(Soak, "a_producer_that_is_killed_during_the_import_leaves_a_whole_one_or_none") {
  std::uint64_t whole = 0;
  const TimeBudget budget;
  for (int round = 0; round < 100 && !budget.is_spent(); ++round) {
    auto producer = world.keep_new(kUri, device_segment());
    REQUIRE(producer->failure() == "");
    const pid_t killer = start_child([&, delay = random() % 10'000] {
      usleep(is_driver_fake() ? delay : 100 * delay);
      ::kill(producer->pid(), SIGKILL);
    });
    {
      const auto consumer = world.keep_attached(kUri, {.timeout_ms = 1000});
      wait_for(killer);
      producer->kill();
      INFO(consumer->failure());
      if (consumer->failure().empty()) {
        CHECK(consumer->check() == "");
        CHECK(world.keep_attached(kUri, {.timeout_ms = kPatienceMs})->failure() == "");
        ++whole;
      } else {
        CHECK((consumer->failure().find("not_found") == 0 ||
               consumer->failure().find("timed_out") == 0));
      }
    }
    ++kills;
    check_gone();
  }
  std::printf("%llu consumers had the memory in time\n", static_cast<unsigned long long>(whole));
  report_verified(kills, "producers of device memory killed during an import");
}
