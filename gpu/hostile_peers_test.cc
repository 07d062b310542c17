// The directory of entries when what is in it, or who comes to it, means no good.

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "gpu/descriptor_exchange.h"
#include "gpu/exchange_testing.h"
#include "gpu/peer_directory.h"
#include "tests/catch.h"
#include "tests/skip.h"

using namespace strata;
using namespace strata::cuda;
using Catch::Matchers::Contains;
using test::in_two_minutes;
using test::marked;
using test::Peer;

namespace {

struct Hostile {
  RealOs os;
  test::TempDir folder;
  const std::string directory = folder.path();
  const std::string peers = peer_directory_path(directory, geteuid());
  const SegmentUuid uuid = test::uuid_like(0xab);
  DescriptorRequest request{.uuid = uuid, .generation = 1};
  int entries = 0;

  Result<Fd> ask(std::uint64_t timeout_ms = 120'000) {
    return ask_for_descriptor(os, {directory}, request, Deadline::after_ms(timeout_ms));
  }
  std::string new_entry() {
    (void)os.mkdir(peers, 0700);
    return peers + "/" + entry_beginning(uuid) + fmt_random(++entries);
  }
  static std::string fmt_random(int number) {
    const std::string digits = std::to_string(number);
    return std::string(16 - digits.size(), '0') + digits;
  }

  // A peer that answers whoever connects by `answer`, and then stays on the line.
  using Answer = std::function<void(int socket)>;
  std::unique_ptr<Peer> peer_that(const Answer& answer) {
    const std::string entry = new_entry();
    return std::make_unique<Peer>([=, this](const std::function<void()>& stay) {
      const Fd lock = os.open(entry + ".peer", O_CREAT | O_RDWR, 0600).value();
      (void)os.try_lock_byte(lock.get(), 0, LockKind::exclusive).value();
      const Fd listener = os.listen_unix(entry + ".sock", 0600).value();
      std::thread answering([&] {
        std::vector<Fd> sockets;
        while (os.wait_readable(listener.get(), in_two_minutes()).value()) {
          sockets.push_back(os.accept(listener.get()).value());
          answer(sockets.back().get());
        }
      });
      answering.detach();
      stay();
      _exit(0);
    });
  }
  PeerAnswer good(PeerOutcome outcome = PeerOutcome::given) const {
    return make_answer(outcome, uuid, 1);
  }
  void send(int socket, const PeerAnswer& answer, std::vector<int> fds, std::size_t begin = 0,
            std::size_t end = sizeof(PeerAnswer)) {
    const auto bytes = std::as_bytes(std::span(&answer, 1)).subspan(begin, end - begin);
    (void)os.send_message(socket, bytes, fds);
  }
  // The answer is refused for that reason, and nothing of it stays open; where somebody honest is
  // there as well, nobody is stopped.
  void refuses(const Answer& answer, Code code, std::uint64_t timeout_ms = 120'000) {
    const auto peer = peer_that(answer);
    const std::size_t before = test::open_files(os);
    const auto refused = ask(timeout_ms);
    REQUIRE(!refused);
    INFO(refused.error().to_string());
    CHECK(refused.error().code() == code);
    CHECK(test::open_files(os) == before);
    const Peer honest(test::server_of(directory, uuid, "honest"));
    const std::size_t before_more = test::open_files(os);
    for (int i = 0; i < 5; ++i)
      CHECK(test::mark_of(ask().value().get()) == "honest");
    CHECK(test::open_files(os) == before_more);
  }
};

}  // namespace

TEST_CASE_METHOD(Hostile, "a_peer_that_answers_wrongly_is_refused_and_stops_nobody") {
  const Fd memory = marked("hostile");
  const int fd = memory.get();
  SECTION("garbage") {
    refuses([](int s) { (void)!::write(s, std::string(48, 'x').data(), 48); }, Code::corrupt);
  }
  SECTION("of another segment") {
    refuses([&](int s) { send(s, make_answer(PeerOutcome::given, test::uuid_like(1), 1), {fd}); },
            Code::corrupt);
  }
  SECTION("a descriptor that is missing") {
    refuses([&](int s) { send(s, good(), {}); }, Code::corrupt);
  }
  SECTION("a descriptor too many") {
    refuses([&](int s) { send(s, good(), {fd, fd}); }, Code::corrupt);
  }
  SECTION("as many descriptors as a message can carry") {
    refuses([&](int s) { send(s, good(), std::vector<int>(kMaxMessageFds, fd)); }, Code::corrupt);
  }
  SECTION("a descriptor with each half") {
    refuses(
        [&](int s) {
          send(s, good(), {fd}, 0, 20);
          send(s, good(), {fd}, 20);
        },
        Code::corrupt);
  }
  SECTION("a descriptor with a refusal") {
    refuses([&](int s) { send(s, good(PeerOutcome::nothing), {fd}); }, Code::corrupt);
  }
  SECTION("half an answer, and then an end") {
    refuses(
        [&](int s) {
          send(s, good(), {fd}, 0, 20);
          (void)::shutdown(s, SHUT_RDWR);
        },
        Code::corrupt);
  }
  SECTION("nothing to give") {
    refuses([&](int s) { send(s, good(PeerOutcome::nothing), {}); }, Code::not_found);
  }
  SECTION("a hand that lets go at once, each time") {
    refuses([&](int s) { (void)::shutdown(s, SHUT_RDWR); }, Code::timed_out, 300);
  }
  SECTION("half an answer, and then silence") {
    refuses([&](int s) { send(s, good(), {fd}, 0, 20); }, Code::timed_out, 300);
  }
  SECTION("silence") {
    refuses([](int) {}, Code::timed_out, 300);
  }
}

TEST_CASE_METHOD(Hostile, "an_answer_in_two_halves_is_as_good_as_one") {
  const Fd memory = marked("slow");
  const auto peer = peer_that([&](int s) {
    send(s, good(), {memory.get()}, 0, 7);
    send(s, good(), {}, 7);
  });
  CHECK(test::mark_of(ask().value().get()) == "slow");
}

TEST_CASE_METHOD(Hostile, "a_descriptor_of_another_kind_is_what_the_caller_refuses") {
  request.check = [&](int fd) -> Result<void> {
    if (test::mark_of(fd) == "honest") return {};
    return fail(Code::corrupt, "not the memory of a device");
  };
  const Fd memory = marked("no memory");
  refuses([&](int s) { send(s, good(), {memory.get()}); }, Code::corrupt);
}

TEST_CASE_METHOD(Hostile, "what_is_no_socket_is_the_dead_s") {
  const std::string fifo = new_entry() + ".sock";
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  std::ofstream(new_entry() + ".sock") << "a file";
  std::filesystem::create_symlink(new_entry() + ".sock", new_entry() + ".sock");
  const std::string fifo_peer = new_entry() + ".peer";
  REQUIRE(mkfifo(fifo_peer.c_str(), 0600) == 0);
  std::filesystem::create_symlink("/etc/passwd", new_entry() + ".peer");
  std::ofstream(new_entry() + ".peer") << "too short";
  CHECK(ask().error().code() == Code::not_found);
  CHECK_FALSE(std::filesystem::exists(peers));
}

TEST_CASE_METHOD(Hostile, "a_symbolic_link_in_the_place_of_a_socket_leads_nowhere") {
  const Peer elsewhere(test::server_of(folder.path(), uuid, "elsewhere"));
  const auto names = os.list_directory(peers).value();
  const std::string entry = new_entry();
  const Fd lock = os.open(entry + ".peer", O_CREAT | O_RDWR, 0600).value();
  REQUIRE(os.try_lock_byte(lock.get(), 0, LockKind::exclusive).value());
  std::filesystem::rename(peers + "/" + names[1], folder / "moved");
  std::filesystem::create_symlink(folder / "moved", entry + ".sock");
  CHECK(ask(300).error().code() == Code::timed_out);
}

TEST_CASE_METHOD(Hostile, "thousands_of_entries_that_mean_nothing_stop_nobody") {
  (void)os.mkdir(peers, 0700);
  for (int i = 0; i < 3000; ++i)
    std::ofstream(peers + "/junk" + std::to_string(i)) << "";
  for (int i = 0; i < 3000; ++i)
    std::ofstream(new_entry() + (i % 2 == 0 ? ".peer" : ".sock")) << "";
  const Peer honest(test::server_of(directory, uuid, "honest"));
  CHECK(test::mark_of(ask().value().get()) == "honest");
  CHECK(sweep_peers(os, directory, Sweep::remove).value() > 2900);
  CHECK(os.list_directory(peers).value().size() == 3002);
}

TEST_CASE_METHOD(Hostile, "what_a_record_says_is_fit_to_be_shown") {
  PeerRecord record{};
  record.magic = kRecordMagic;
  record.version = kPeerVersion;
  record.record_bytes = sizeof record;
  record.role = record.access = 1;
  record.uuid = uuid;
  record.pid = 4711;
  record.command.fill('\n');
  const auto entry = PeerEntry::announce(os, directory, record).value();
  const auto found = consumers(os, {directory}, uuid).value();
  REQUIRE(found.size() == 1);
  CHECK(found.front().pid == 4711);
  CHECK_THAT(found.front().command, Contains("\\x0a") && !Contains("\n"));
  // A flipped byte, and it says nothing any more.
  const Fd file = os.open(peers + "/" + entry->name() + ".peer", O_RDWR).value();
  REQUIRE(os.pwrite(file.get(), std::as_bytes(std::span("x", 1)), 77));
  CHECK(consumers(os, {directory}, uuid).value().front().pid == 0);
  CHECK(consumers(os, {directory}, uuid).value().front().is_alive());
}

TEST_CASE_METHOD(Hostile, "a_directory_that_is_not_this_user_s_alone_is_not_used") {
  DescriptorServer server(os, directory);
  const auto refused = [&](const std::string& why) {
    const auto asked = ask();
    REQUIRE(!asked);
    CHECK_THAT(asked.error().message(), Contains(why));
    const auto served = server.serve({.uuid = uuid, .fd = marked("secret")});
    REQUIRE(!served);
    CHECK_THAT(served.error().message(), Contains(why));
    return served.error().code();
  };
  SECTION("open to others") {
    REQUIRE(os.mkdir(peers, 0700));
    REQUIRE(chmod(peers.c_str(), 0750) == 0);
    CHECK(refused("mode 0750") == Code::permission_denied);
  }
  SECTION("a symbolic link") {
    std::filesystem::create_symlink("/tmp", peers);
    (void)refused("strata-cuda-peers");
  }
  SECTION("another user's") {
    if (geteuid() != 0) SKIP_TEST("needs root, to give a directory away");
    REQUIRE(os.mkdir(peers, 0700));
    REQUIRE(chown(peers.c_str(), 1234, 1234) == 0);
    CHECK(refused("uid 1234") == Code::permission_denied);
  }
}

TEST_CASE_METHOD(Hostile, "clients_that_say_nothing_or_nonsense_keep_nobody_else_waiting") {
  DescriptorServer server(os, directory);
  const auto served = server.serve({.uuid = uuid, .generation = 1, .fd = marked("honest")}).value();
  const auto place = PeerDirectory::open(os, {directory}).value();
  const std::string entry = *entry_of(os.list_directory(peers).value().front());
  const Fd rider = marked("rider");
  const int fd = rider.get();
  const PeerQuestion question = make_question(PeerOp::give, uuid, 1);
  std::vector<Fd> clients;
  for (int i = 0; i < 200; ++i) {
    auto socket = place->connect(entry);
    if (!socket) {
      // Its queue is full for the moment.
      CHECK(test::mark_of(ask().value().get()) == "honest");
      continue;
    }
    switch (i % 4) {
      case 0: break;
      case 1: (void)!::write(socket->get(), "x", 1); break;
      case 2: (void)!::write(socket->get(), std::string(4096, 'x').data(), 4096); break;
      default:
        (void)os.send_message(socket->get(), std::as_bytes(std::span(&question, 1)), {&fd, 1});
    }
    clients.push_back(std::move(*socket));
    CHECK(test::mark_of(ask().value().get()) == "honest");
  }
}

TEST_CASE_METHOD(Hostile, "another_user_who_gets_to_the_socket_is_given_nothing") {
  if (geteuid() != 0) SKIP_TEST("needs root, to become another user");
  DescriptorServer server(os, directory);
  const auto served = server.serve({.uuid = uuid, .generation = 1, .fd = marked("secret")}).value();
  const std::string socket = peers + "/" + os.list_directory(peers).value().back();
  for (const std::string& path : {directory, peers})
    REQUIRE(chmod(path.c_str(), 0755) == 0);
  REQUIRE(chmod(socket.c_str(), 0666) == 0);
  CHECK(test::in_child([&] {
          if (setgid(1234) != 0 || setuid(1234) != 0) return 8;
          RealOs own_os;
          const Fd line = own_os.connect_unix(socket).value();
          const PeerQuestion question = make_question(PeerOp::give, uuid, 1);
          (void)own_os.send_message(line.get(), std::as_bytes(std::span(&question, 1)), {});
          if (!own_os.wait_readable(line.get(), in_two_minutes()).value()) return 9;
          std::array<std::byte, 48> answer;
          const auto came = own_os.receive_message(line.get(), answer, 1);
          return came && (came->bytes > 0 || !came->fds.empty()) ? 7 : 0;
        }) == 0);
}
