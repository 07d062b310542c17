// Descriptors that go from process to process: between real processes that live, stop, fork, die.

#include "gpu/descriptor_exchange.h"

#include <sys/stat.h>

#include <thread>

#include "gpu/exchange_testing.h"
#include "gpu/peer_directory.h"
#include "os/fault_os.h"
#include "tests/catch.h"
#include "tests/skip.h"

using namespace strata;
using namespace strata::cuda;
using Catch::Matchers::Contains;
using test::in_two_minutes;
using test::marked;
using test::Peer;
using test::server_of;

namespace {

struct Exchange {
  RealOs os;
  test::TempDir folder;
  const std::string directory = folder.path();
  const SegmentUuid uuid = test::uuid_like(0xab);
  const DescriptorRequest request{.uuid = uuid, .generation = 1};

  Result<Fd> ask(Deadline deadline = in_two_minutes()) {
    return ask_for_descriptor(os, {directory}, request, deadline);
  }
  std::string asked_mark() {
    auto fd = ask();
    return fd ? test::mark_of(fd->get()) : fd.error().to_string();
  }
  ServeRequest serving(const std::string& text) {
    return {.uuid = uuid, .generation = 1, .fd = marked(text)};
  }
  std::vector<std::string> entries() {
    const auto names = os.list_directory(peer_directory_path(directory, geteuid()));
    return names ? *names : std::vector<std::string>{};
  }
  bool is_directory_gone() { return !os.stat(peer_directory_path(directory, geteuid())); }
};

}  // namespace

TEST_CASE_METHOD(Exchange, "what_one_process_serves_another_gets") {
  const Peer producer(server_of(directory, uuid, "the memory"));
  CHECK(asked_mark() == "the memory");
}

TEST_CASE_METHOD(Exchange, "nobody_is_found_where_nobody_has_it") {
  const auto nothing = ask();
  REQUIRE(!nothing);
  CHECK(nothing.error().code() == Code::not_found);
  const Peer of_another(server_of(directory, test::uuid_like(0xcd), "another"));
  CHECK(ask().error().code() == Code::not_found);
}

TEST_CASE_METHOD(Exchange, "a_consumer_hands_on_what_it_got_from_a_dead_producer") {
  auto producer = std::make_unique<Peer>(server_of(directory, uuid, "the memory"));
  const Peer consumer([&](const std::function<void()>& stay) {
    DescriptorServer server(os, directory);
    const auto joined = server.join({.uuid = uuid, .generation = 1}, {}, in_two_minutes()).value();
    stay();
  });
  producer->kill();
  CHECK(asked_mark() == "the memory");
}

TEST_CASE_METHOD(Exchange, "the_last_one_to_leave_takes_the_directory_away") {
  DescriptorServer server(os, directory);
  auto first = server.serve(serving("1")).value();
  auto second = server.serve(serving("2")).value();
  CHECK(entries().size() == 4);
  first.reset();
  CHECK(entries().size() == 2);
  CHECK(asked_mark() == "2");
  second.reset();
  CHECK(is_directory_gone());
  const auto third = server.serve(serving("3")).value();
  CHECK(asked_mark() == "3");
}

TEST_CASE_METHOD(Exchange, "a_dead_producer_stops_nobody_and_is_swept") {
  std::vector<std::unique_ptr<Peer>> dead;
  for (int i = 0; i < 5; ++i) {
    dead.push_back(std::make_unique<Peer>(server_of(directory, uuid, "dead")));
    dead.back()->kill();
  }
  CHECK(entries().size() == 10);
  CHECK(sweep_peers(os, directory, Sweep::look).value() == 5);
  const Peer living(server_of(directory, uuid, "living"));
  CHECK(asked_mark() == "living");
  (void)sweep_peers(os, directory, Sweep::remove).value();
  CHECK(entries().size() == 2);
  CHECK(asked_mark() == "living");
  CHECK(sweep_peers(os, directory, Sweep::remove).value() == 0);
}

TEST_CASE_METHOD(Exchange, "all_being_dead_is_said_at_once_and_the_rest_is_taken_away") {
  Peer producer(server_of(directory, uuid, "dead"));
  producer.kill();
  const auto nothing = ask();
  REQUIRE(!nothing);
  CHECK(nothing.error().code() == Code::not_found);
  CHECK_THAT(nothing.error().message(), Contains("1 of the dead"));
  CHECK(is_directory_gone());
}

TEST_CASE_METHOD(Exchange, "a_stopped_producer_stops_nobody") {
  std::vector<std::unique_ptr<Peer>> stopped;
  for (int i = 0; i < 12; ++i) {
    stopped.push_back(std::make_unique<Peer>(server_of(directory, uuid, "stopped")));
    stopped.back()->stop();
  }
  const Peer living(server_of(directory, uuid, "living"));
  for (int i = 0; i < 20; ++i)
    CHECK(asked_mark() == "living");
}

TEST_CASE_METHOD(Exchange, "a_stopped_machine_is_slow_and_not_wrong") {
  Peer producer(server_of(directory, uuid, "the memory"));
  producer.stop();
  const auto late = ask(Deadline::after_ms(300));
  REQUIRE(!late);
  CHECK(late.error().code() == Code::timed_out);
  CHECK_THAT(late.error().message(), Contains("pid " + std::to_string(producer.pid())));
  std::thread wakes([&] {
    os.sleep_ns(300'000'000);
    producer.go_on();
  });
  CHECK(asked_mark() == "the memory");
  wakes.join();
}

TEST_CASE_METHOD(Exchange, "a_queue_that_is_full_makes_nobody_wait") {
  Peer stopped(server_of(directory, uuid, "stopped"));
  stopped.stop();
  const auto place = PeerDirectory::open(os, {directory}).value();
  const std::string entry = *entry_of(entries().front());
  std::vector<Fd> callers;
  while (auto socket = place->connect(entry))
    callers.push_back(std::move(*socket));
  CHECK(place->connect(entry).error().code() == Code::not_ready);
  CHECK(ask(Deadline::after_ms(200)).error().code() == Code::timed_out);
  const Peer living(server_of(directory, uuid, "living"));
  CHECK(asked_mark() == "living");
}

TEST_CASE_METHOD(Exchange, "a_forked_listener_stops_nobody_and_counts_as_pinning") {
  Peer producer([&](const std::function<void()>& stay) {
    DescriptorServer server(os, directory);
    const auto served = server.serve(serving("forked")).value();
    const pid_t child = test::start_child([] { pause(); });
    std::printf("%d\n", child);
    const Fd note = os.open(folder / "child", O_CREAT | O_WRONLY, 0600).value();
    const std::string text = std::to_string(child);
    (void)!::write(note.get(), text.data(), text.size());
    stay();
  });
  const pid_t child = std::stoi(os.read_file(folder / "child").value());
  producer.kill();
  const auto pinning = consumers(os, {directory}, uuid).value();
  REQUIRE(pinning.size() == 1);
  CHECK(pinning.front().state == PeerState::forked_away);
  CHECK(sweep_peers(os, directory, Sweep::look).value() == 0);
  CHECK(ask(Deadline::after_ms(200)).error().code() == Code::timed_out);
  {
    const Peer living(server_of(directory, uuid, "living"));
    for (int i = 0; i < 10; ++i)
      CHECK(asked_mark() == "living");
  }
  kill(child, SIGKILL);
  // It is another's child: its lock tells when it is gone.
  while (consumers(os, {directory}, uuid).value().front().is_alive())
    os.sleep_ns(1'000'000);
  CHECK(ask().error().code() == Code::not_found);
}

TEST_CASE_METHOD(Exchange, "a_forked_child_serves_nothing_and_takes_nothing_away") {
  auto server = std::make_unique<DescriptorServer>(os, directory);
  auto served = server->serve(serving("the parent's")).value();
  CHECK(test::child_says([&] {
    const auto refused = server->serve(serving("the child's"));
    const bool is_refused = !refused && refused.error().code() == Code::failed_precondition;
    served.reset();
    server.reset();
    return is_refused;
  }));
  CHECK(entries().size() == 2);
  CHECK(asked_mark() == "the parent's");
}

TEST_CASE_METHOD(Exchange, "another_generation_is_refused_by_its_name") {
  const Peer producer(server_of(directory, uuid, "new", 5));
  const auto stale = ask();
  REQUIRE(!stale);
  CHECK(stale.error().code() == Code::failed_precondition);
  CHECK_THAT(stale.error().message(), Contains("generation 5") && Contains("generation 1"));
  const Peer old(server_of(directory, uuid, "old", 1));
  CHECK(asked_mark() == "old");
}

TEST_CASE_METHOD(Exchange, "who_pins_the_memory_is_told_by_locks") {
  Peer producer(server_of(directory, uuid, "x"));
  const Peer holder([&](const std::function<void()>& stay) {
    DescriptorServer server(os, directory);
    ServeRequest request{.uuid = uuid, .role = PeerRole::holder, .access = Access::read_only};
    const auto served = server.serve(std::move(request)).value();
    stay();
  });
  auto pinning = consumers(os, {directory}, uuid).value();
  REQUIRE(pinning.size() == 2);
  CHECK(pinning[0].pid == producer.pid());
  CHECK(pinning[0].role == PeerRole::consumer);
  CHECK(pinning[0].state == PeerState::alive);
  CHECK(pinning[1].pid == holder.pid());
  CHECK(pinning[1].role == PeerRole::holder);
  CHECK(pinning[1].access == Access::read_only);
  CHECK_THAT(describe(pinning), Contains("holder pid " + std::to_string(holder.pid())));
  producer.kill();
  pinning = consumers(os, {directory}, uuid).value();
  CHECK(pinning[0].state == PeerState::dead);
  CHECK(pinning[1].state == PeerState::alive);
  CHECK(consumers(os, {directory}).value().size() == 2);
  CHECK(consumers(os, {directory}, test::uuid_like(1)).value().empty());
}

TEST_CASE_METHOD(Exchange, "two_who_only_wait_for_each_other_find_that_nobody_has_it") {
  const Peer asking([&](const std::function<void()>& stay) {
    // Announced, and never more than that.
    PeerRecord record{};
    record.uuid = uuid;
    const auto entry = PeerEntry::announce(os, directory, record).value();
    stay();
  });
  DescriptorServer server(os, directory);
  const auto joined = server.join({.uuid = uuid, .generation = 1}, {}, in_two_minutes());
  REQUIRE(!joined);
  CHECK(joined.error().code() == Code::not_found);
  CHECK(entries().size() == 1);  // the other's
}

TEST_CASE_METHOD(Exchange, "who_has_nothing_and_asks_nobody_is_no_hope_for_others") {
  const PeerPlace place{directory};
  PeerRecord record{};
  record.uuid = uuid;
  const auto entry = PeerEntry::announce(os, directory, record).value();
  const auto peers = PeerDirectory::open(os, place).value();
  const auto life = [&] { return peers->life_of(entry->name()).value(); };
  CHECK((life() == PeerLife::alive && may_be_had(os, place, uuid).value()));
  entry->show_idle();
  CHECK((life() == PeerLife::idle && !may_be_had(os, place, uuid).value()));
  CHECK(peers->is_alive(entry->name()).value());
  DescriptorServer server(os, directory);
  const auto joined = server.join({.uuid = uuid, .generation = 1}, {}, in_two_minutes());
  CHECK((!joined && joined.error().code() == Code::not_found));
  REQUIRE(entry->show_asking());
  CHECK((life() == PeerLife::alive && may_be_had(os, place, uuid).value()));
  entry->withdraw();
  CHECK((life() == PeerLife::dead && !may_be_had(os, place, uuid).value()));
}

TEST_CASE_METHOD(Exchange, "one_whose_question_is_under_way_may_have_it_in_a_moment") {
  Peer silent(server_of(directory, uuid, "mine"));
  silent.stop();
  const auto peers = PeerDirectory::open(os, {directory}).value();
  const std::string socket = peers->list().value().back();
  const pid_t asking = test::start_child([&] {
    DescriptorServer server(os, directory);
    const auto joined = server.join({.uuid = uuid, .generation = 1}, {}, in_two_minutes());
    return !joined && joined.error().code() == Code::not_found ? 0 : 1;
  });
  const auto is_asking = [&] {
    const auto names = peers->list().value();
    for (const std::string& name : names) {
      const auto entry = entry_of(name);
      const bool is_other = entry && !socket.starts_with(*entry);
      if (is_other && peers->life_of(*entry).value() == PeerLife::alive) return true;
    }
    return false;
  };
  // Idle at first, and then not for as long as the silent one could answer.
  while (!is_asking())
    os.sleep_ns(1'000'000);
  int looks = 0;
  for (; looks < 100 && is_asking(); ++looks)
    os.sleep_ns(1'000'000);
  CHECK(looks == 100);
  silent.kill();
  CHECK(test::wait_for(asking) == 0);
}

TEST_CASE_METHOD(Exchange, "holders_leave_and_caches_release_when_asked") {
  DescriptorServer server(os, directory);
  int left = 0, released = 0;
  ServeRequest holding = serving("held");
  holding.role = PeerRole::holder;
  holding.on_leave = [&] { ++left; };
  const auto holder = server.serve(std::move(holding)).value();
  std::unique_ptr<ServedDescriptor> kept;
  ServeRequest keeping = serving("kept");
  keeping.on_release = [&] {
    ++released;
    kept.reset();  // in its own callback
  };
  kept = server.serve(std::move(keeping)).value();
  CHECK(ask_to_leave(os, {directory}, uuid, in_two_minutes()).value() == 1);
  CHECK(left == 1);
  CHECK(ask_to_release(os, {directory}, uuid, in_two_minutes()).value() == 1);
  CHECK(released == 1);
  CHECK(!kept);
  CHECK(entries().size() == 2);
  CHECK(ask_to_release(os, {directory}, uuid, in_two_minutes()).value() == 0);
}

TEST_CASE_METHOD(Exchange, "the_serving_thread_takes_no_signals") {
  const Peer producer([&](const std::function<void()>& stay) {
    DescriptorServer server(os, directory);
    const auto served = server.serve(serving("x")).value();
    stay();
  });
  // A thread that has answered is past its start, in which the C library blocks even its own two.
  CHECK(asked_mark() == "x");
  const std::string tasks = "/proc/" + std::to_string(producer.pid()) + "/task";
  const auto threads = os.list_directory(tasks).value();
  CHECK(threads.size() == 2);
  for (const std::string& thread : threads) {
    if (thread == std::to_string(producer.pid())) continue;
    const std::string status = os.read_file(tasks + "/" + thread + "/status").value();
    const std::string blocked = status.substr(status.find("SigBlk:") + 8, 16);
    // All but SIGKILL and SIGSTOP, which cannot be, and two that the C library keeps.
    CHECK(std::stoull(blocked, nullptr, 16) == 0xfffffffe7ffbfeffULL);
  }
}

TEST_CASE_METHOD(Exchange, "ten_thousand_entries_come_and_go_with_constant_descriptors") {
  auto server = std::make_unique<DescriptorServer>(os, directory);
  const std::size_t before = test::open_files(os);
  for (int i = 0; i < 10'000; ++i)
    REQUIRE(server->serve(serving("x")));
  server.reset();
  CHECK(test::open_files(os) == before);
  CHECK(is_directory_gone());
}
