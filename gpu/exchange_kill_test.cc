// Peers that die at any moment: at each of their system calls, and at random among others.

#include <poll.h>
#include <sched.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <random>

#include "gpu/descriptor_exchange.h"
#include "gpu/exchange_testing.h"
#include "gpu/peer_directory.h"
#include "os/fault_os.h"
#include "tests/catch.h"
#include "tests/skip.h"
#include "tests/verified.h"

using namespace strata;
using namespace strata::cuda;
using test::in_two_minutes;
using test::marked;
using test::Peer;

namespace {

constexpr int kKills = 1200;
constexpr int kNewcomers = 4096;

enum class Standing : int { asking, serves, failed };

// What the processes of a crowd tell each other.
struct Board {
  std::array<std::atomic<Standing>, kNewcomers> standing;
};

struct Crowd {
  RealOs os;
  test::TempDir folder{"/dev/shm"};
  const std::string directory = folder.path();
  const std::string peers = peer_directory_path(directory, geteuid());
  const SegmentUuid uuid = test::uuid_like(0xab);
  const DescriptorRequest request{.uuid = uuid, .generation = 1};

  Result<Fd> ask() { return ask_for_descriptor(os, {directory}, request, in_two_minutes()); }
  bool is_swept_clean() {
    (void)sweep_peers(os, directory, Sweep::remove).value();
    return !std::filesystem::exists(peers);
  }
};

struct Member {
  pid_t pid;
  int slot;
  bool is_stopped = false;
};

}  // namespace

TEST_CASE_METHOD(Crowd, "while_one_lives_nobody_asks_in_vain_however_the_others_die") {
  auto* const board = static_cast<Board*>(
      ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  REQUIRE(board != MAP_FAILED);
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  std::vector<Member> members;
  int slots = 0;
  const auto add = [&](bool is_producer) {
    const int slot = slots++ % kNewcomers;
    board->standing[static_cast<std::size_t>(slot)] = Standing::asking;
    const pid_t pid = test::start_child([&] {
      DescriptorServer server(os, directory);
      ServeRequest serving{.uuid = uuid, .generation = 1};
      if (is_producer) serving.fd = marked("the memory");
      auto served = is_producer ? server.serve(std::move(serving))
                                : server.join(std::move(serving), {}, in_two_minutes());
      if (!served) std::fprintf(stderr, "join: %s\n", served.error().to_string().c_str());
      const bool is_right = served && test::mark_of((*served)->fd()) == "the memory";
      board->standing[static_cast<std::size_t>(slot)] =
          is_right ? Standing::serves : Standing::failed;
      pause();
    });
    members.push_back({pid, slot});
  };
  const auto standing = [&](const Member& member) {
    return board->standing[static_cast<std::size_t>(member.slot)].load();
  };
  const auto is_up = [&](const Member& member) {
    return !member.is_stopped && standing(member) == Standing::serves;
  };
  add(true);
  // Who asked before there was one would be told, rightly, that nobody has it.
  while (!is_up(members.front()))
    os.sleep_ns(200'000);
  int kills = 0, stops = 0, asked = 0, failed = 0;
  while (kills < kKills) {
    while (members.size() < 8)
      add(false);
    const std::size_t victim = random() % members.size();
    const auto up = std::count_if(members.begin(), members.end(), is_up);
    // One that serves and is not stopped has to be left; it may be any.
    const bool may_go = up > (is_up(members[victim]) ? 1 : 0);
    if (!may_go) {
      os.sleep_ns(200'000);
      continue;
    }
    if (random() % 4 == 0 && !members[victim].is_stopped) {
      test::stop_child(members[victim].pid);
      members[victim].is_stopped = true;
      ++stops;
    } else {
      failed += standing(members[victim]) == Standing::failed ? 1 : 0;
      test::kill_child(members[victim].pid);
      members.erase(members.begin() + static_cast<std::ptrdiff_t>(victim));
      ++kills;
    }
    const auto fd = ask();
    ++asked;
    INFO((fd ? "" : fd.error().to_string()));
    REQUIRE(fd);
    REQUIRE(test::mark_of(fd->get()) == "the memory");
  }
  for (const Member& member : members) {
    failed += standing(member) == Standing::failed ? 1 : 0;
    test::kill_child(member.pid);
  }
  CHECK(failed == 0);
  CHECK(ask().error().code() == Code::not_found);
  CHECK(is_swept_clean());
  report_verified(static_cast<std::uint64_t>(kills),
                  "kills of peers (" + std::to_string(stops) + " stopped, " +
                      std::to_string(slots) + " joined, " + std::to_string(asked) +
                      " asked besides) after which nobody asked in vain");
  ::munmap(board, sizeof(Board));
}

TEST_CASE_METHOD(Crowd, "a_descriptor_that_a_dying_peer_handed_on_is_never_lost") {
  int handed_on = 0;
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 200; ++i) {
    Peer producer(test::server_of(directory, uuid, "the memory"));
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const pid_t joiner = test::start_child([&] {
      DescriptorServer server(os, directory);
      (void)!::write(ends[1], "a", 1);
      const auto joined = server.join({.uuid = uuid, .generation = 1}, {}, in_two_minutes());
      (void)!::write(ends[1], joined ? "y" : "n", 1);
      pause();
    });
    char word = 0;
    REQUIRE(::read(ends[0], &word, 1) == 1);
    os.sleep_ns(random() % 600'000);  // where in its joining it is does not matter
    producer.kill();
    const auto fd = ask();
    REQUIRE(::read(ends[0], &word, 1) == 1);
    // Where it came too late, and had not been announced, nobody has it.
    if (word == 'y') {
      ++handed_on;
      INFO((fd ? "" : fd.error().to_string()));
      CHECK(fd);
    }
    test::kill_child(joiner);
    ::close(ends[0]);
    ::close(ends[1]);
    CHECK(is_swept_clean());
  }
  report_verified(static_cast<std::uint64_t>(handed_on), "hand-overs whose giver died");
}

TEST_CASE_METHOD(Crowd, "killed_at_any_system_call_a_peer_leaves_only_what_is_swept") {
  const Peer living(test::server_of(directory, uuid, "the memory"));
  std::uint64_t kills = 0;
  for (std::uint64_t n = 1;; ++n) {
    const int status = test::in_child([&] {
      FaultOs fault;
      fault.kill_at(n);
      DescriptorServer server(fault, directory);
      const auto joined = server.join({.uuid = uuid, .generation = 1}, {}, in_two_minutes());
      return joined ? 0 : 1;
    });
    CHECK(test::mark_of(ask().value().get()) == "the memory");
    (void)sweep_peers(os, directory, Sweep::remove).value();
    CHECK(os.list_directory(peers).value().size() == 2);
    if (!test::was_killed(status)) {
      CHECK(WEXITSTATUS(status) == 0);
      break;
    }
    ++kills;
  }
  CHECK(kills > 20);
  report_verified(kills, "kill points of a peer");
}

TEST_CASE_METHOD(Crowd, "a_sweep_that_is_killed_is_finished_by_the_next") {
  for (std::uint64_t n = 1;; ++n) {
    for (int i = 0; i < 3; ++i)
      Peer(test::server_of(directory, uuid, "dead")).kill();
    const int status = test::in_child([&] {
      FaultOs fault;
      fault.kill_at(n);
      return sweep_peers(fault, directory, Sweep::remove) ? 0 : 1;
    });
    CHECK(is_swept_clean());
    if (!test::was_killed(status)) break;
  }
}

TEST_CASE_METHOD(Crowd, "when_any_system_call_fails_nothing_is_left_open_or_behind") {
  const Peer living(test::server_of(directory, uuid, "the memory"));
  std::uint64_t failed = 0;
  for (const int error : {EIO, EMFILE, ENOMEM}) {
    bool is_done = false;
    for (std::uint64_t n = 1; !is_done; ++n) {
      const std::size_t before = test::open_files(os);
      {
        FaultOs fault;
        fault.fail_at(n, error);
        DescriptorServer server(fault, directory);
        const auto joined = server.join({.uuid = uuid, .generation = 1}, {}, in_two_minutes());
        is_done = joined.has_value() && fault.calls() < n;
        failed += joined ? 0 : 1;
      }
      CHECK(test::open_files(os) == before);
      (void)sweep_peers(os, directory, Sweep::remove).value();
      CHECK(os.list_directory(peers).value().size() == 2);
    }
  }
  CHECK(failed > 30);
  report_verified(failed, "failed calls of a peer");
}

TEST_CASE_METHOD(Crowd, "processes_of_two_namespaces_share_by_the_directory_alone") {
  if (geteuid() != 0) SKIP_TEST("needs root, to make namespaces");
  // Serves in pid and network namespaces of its own, with what it gets from the outside.
  const Peer outside(test::server_of(directory, uuid, "from outside"));
  const Peer inside([&](const std::function<void()>& stay) {
    STRATA_CHECK(::unshare(CLONE_NEWPID | CLONE_NEWNET) == 0);
    const pid_t inner = test::start_child([&] {
      RealOs own_os;
      DescriptorServer server(own_os, directory);
      const auto joined =
          server.join({.uuid = uuid, .generation = 1}, {}, in_two_minutes()).value();
      const auto second =
          server.serve({.uuid = test::uuid_like(1), .generation = 1, .fd = marked("inside")})
              .value();
      stay();
    });
    test::wait_for(inner);
  });
  const auto fd = ask_for_descriptor(os, {directory}, {.uuid = test::uuid_like(1), .generation = 1},
                                     in_two_minutes());
  REQUIRE(fd);
  CHECK(test::mark_of(fd->get()) == "inside");
  const auto found = consumers(os, {directory}, uuid).value();
  REQUIRE(found.size() == 2);
  CHECK(found[0].pid == outside.pid());
  CHECK(found[1].pid == 1);  // as it is called there
  CHECK(found[1].state == PeerState::alive);
  CHECK(found[1].pid_namespace != found[0].pid_namespace);
}
