// Handles between real processes: peers that stall, lie, close, or never read.
// What each backend makes of a handle is in tests/conformance and beside the backends.

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "os/fault_os.h"
#include "segment/fake_backend.h"
#include "strata/segment/catalog.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/skip.h"
#include "tests/temp_dir.h"

using namespace strata;
using Catch::Matchers::Contains;

namespace {

struct HandOver {
  RealOs os;
  Catalog catalog = make();
  Segment made = catalog.create("fake:mesh", {.payload_bytes = 10'000}).value();
  const std::vector<std::byte> good = encode(made.handle().value()).value();
  Fd mine, theirs;

  Catalog make() { return with_door(os); }
  // Whose sockets go through `door`, and whose segments do not.
  Catalog with_door(Os& door) {
    std::vector<std::unique_ptr<Backend>> backends;
    backends.push_back(std::make_unique<FakeBackend>(os));
    return Catalog(std::move(backends), door);
  }

  void connect(int type) {
    int pair[2];
    REQUIRE(socketpair(AF_UNIX, type, 0, pair) == 0);
    mine.reset(pair[0]);
    theirs.reset(pair[1]);
  }

  // What receive() says while another process does `body` to its end of a socket of that type, and
  // stays until it is over.
  Result<Segment> receive_from(int type, const std::function<void(int)>& body,
                               std::uint64_t timeout_ms = 60'000) {
    connect(type);
    const pid_t peer = test::start_child([&] {
      mine.reset();
      body(theirs.get());
      std::byte end;
      (void)!::read(theirs.get(), &end, 1);
    });
    theirs.reset();
    // However slow the machine is: the deadline runs from what the peer has done.
    REQUIRE(os.wait_readable(mine.get(), Deadline::after_ms(60'000)).value());
    auto received = catalog.receive(mine.get(), {}, Deadline::after_ms(timeout_ms));
    mine.reset();
    CHECK(test::wait_for(peer) == 0);
    return received;
  }

  Status refusal(int type, const std::function<void(int)>& body,
                 std::uint64_t timeout_ms = 60'000) {
    const std::size_t open_before = open_files();
    auto received = receive_from(type, body, timeout_ms);
    if (received) FAIL("it was received");
    CHECK(open_files() <= open_before);  // what rode along was closed
    return received.error();
  }

  std::size_t open_files() { return os.list_directory("/proc/self/fd").value().size(); }

  void put(int socket, std::span<const std::byte> bytes, std::span<const int> fds = {}) {
    if (os.send_message(socket, bytes, fds).value() != bytes.size()) _exit(9);
  }

  // Fills the socket until it takes no more.
  void fill(int socket) {
    const std::vector<std::byte> much(KiB(4));
    while (os.send_message(socket, much, {})) {
    }
  }
};

}  // namespace

TEST_CASE_METHOD(HandOver, "a_handle_that_comes_byte_by_byte_is_received") {
  const auto received = receive_from(SOCK_STREAM, [&](int socket) {
    for (const std::byte& each : good)
      put(socket, std::span(&each, 1));
  });
  if (!received) FAIL(received.error().to_string());
  CHECK(received->identity().uuid == made.identity().uuid);
}

TEST_CASE_METHOD(HandOver, "handles_that_follow_each_other_are_received_one_by_one") {
  const int type = GENERATE(SOCK_STREAM, SOCK_SEQPACKET);
  connect(type);
  const Deadline deadline = Deadline::after_ms(60'000);
  const Segment other = catalog.create("fake:other", {.payload_bytes = 1}).value();
  REQUIRE(catalog.send(made, mine.get(), deadline));
  REQUIRE(catalog.send(other, mine.get(), deadline));
  CHECK(catalog.receive(theirs.get(), {}, deadline).value().uri() == made.uri());
  CHECK(catalog.receive(theirs.get(), {}, deadline).value().uri() == other.uri());
}

TEST_CASE_METHOD(HandOver, "a_peer_that_sends_a_part_and_stalls_ends_at_the_deadline") {
  for (const std::size_t part : {std::size_t{1}, kHandleBeginningBytes, good.size() - 1}) {
    const Status refused = refusal(
        SOCK_STREAM, [&](int socket) { put(socket, std::span(good).first(part)); }, 30);
    INFO(refused.to_string());
    CHECK(refused.code() == Code::timed_out);
    CHECK_THAT(refused.message(), Contains(std::to_string(part) + " bytes came"));
  }
}

TEST_CASE_METHOD(HandOver, "a_peer_that_sends_nothing_ends_at_the_deadline") {
  connect(GENERATE(SOCK_STREAM, SOCK_SEQPACKET));
  const auto received = catalog.receive(mine.get(), {}, Deadline::after_ms(10));
  REQUIRE(!received);
  CHECK(received.error().code() == Code::timed_out);
}

TEST_CASE_METHOD(HandOver, "a_peer_that_never_reads_ends_at_the_deadline") {
  connect(GENERATE(SOCK_STREAM, SOCK_SEQPACKET));
  fill(mine.get());
  const auto sent = catalog.send(made, mine.get(), Deadline::after_ms(10));
  REQUIRE(!sent);
  CHECK(sent.error().code() == Code::timed_out);
  CHECK_THAT(sent.error().message(), Contains("it took 0 of"));
}

TEST_CASE_METHOD(HandOver, "a_peer_that_reads_late_gets_the_handle") {
  connect(GENERATE(SOCK_STREAM, SOCK_SEQPACKET));
  fill(mine.get());
  const pid_t reader = test::start_child([&] {
    mine.reset();
    std::vector<std::byte> into(KiB(4)), last;
    while (os.wait_readable(theirs.get(), Deadline::after_ms(60'000)).value()) {
      const std::size_t got = os.receive_message(theirs.get(), into, 0).value().bytes;
      if (got == 0) break;
      last.insert(last.end(), into.begin(), into.begin() + static_cast<std::ptrdiff_t>(got));
      const std::size_t keep = std::min(last.size(), good.size());
      last.erase(last.begin(), last.end() - static_cast<std::ptrdiff_t>(keep));
    }
    return last == good ? 0 : 1;
  });
  theirs.reset();
  CHECK(catalog.send(made, mine.get(), Deadline::after_ms(60'000)));
  mine.reset();
  CHECK(test::wait_for(reader) == 0);
}

TEST_CASE_METHOD(HandOver, "a_peer_that_closes_is_told_from_one_that_stalls") {
  const int type = GENERATE(SOCK_STREAM, SOCK_SEQPACKET);
  const auto nothing = refusal(type, [](int socket) { ::shutdown(socket, SHUT_WR); });
  CHECK(nothing.code() == Code::failed_precondition);
  CHECK_THAT(nothing.message(), Contains("closed"));
  const auto part = refusal(type, [&](int socket) {
    put(socket, std::span(good).first(good.size() / 2));
    ::shutdown(socket, SHUT_WR);
  });
  INFO(part.to_string());
  CHECK(part.code() == Code::corrupt);
  CHECK_THAT(part.message(), Contains(std::to_string(good.size() / 2) + " bytes"));

  connect(type);
  theirs.reset();
  const auto sent = catalog.send(made, mine.get(), Deadline::after_ms(60'000));
  REQUIRE(!sent);
  CHECK(sent.error().code() == Code::failed_precondition);
}

TEST_CASE_METHOD(HandOver, "what_is_no_handle_is_refused_at_once") {
  const int type = GENERATE(SOCK_STREAM, SOCK_SEQPACKET);
  const auto code_of = [&](std::vector<std::byte> bytes) {
    return refusal(type, [&](int socket) { put(socket, bytes); }).code();
  };
  auto flipped = good;
  flipped.back() ^= std::byte{1};
  CHECK(code_of(flipped) == Code::corrupt);
  CHECK(code_of(std::vector<std::byte>(300, std::byte{'x'})) == Code::corrupt);
  auto old = good;
  old[4] = std::byte{1};
  CHECK(code_of(old) == Code::unsupported);
  if (type == SOCK_SEQPACKET) {
    auto longer = good;
    longer.resize(KiB(10));
    CHECK(code_of(longer) == Code::corrupt);
    CHECK(code_of({good.begin(), good.begin() + 100}) == Code::corrupt);
  }
}

TEST_CASE_METHOD(HandOver, "descriptors_other_than_those_announced_are_refused_and_closed") {
  const int type = GENERATE(SOCK_STREAM, SOCK_SEQPACKET);
  Handle handle = made.handle().value();
  handle.descriptor_count = 2;
  const auto announced = encode(handle).value();
  const Fd memory = os.memfd_create("sent", 0).value();
  const std::vector<int> fds(kMaxHandleDescriptors, memory.get());
  const auto none = refusal(type, [&](int socket) { put(socket, announced); });
  CHECK(none.code() == Code::corrupt);
  CHECK_THAT(none.message(), Contains("2 descriptors announced, 0 came"));
  const auto more = refusal(type, [&](int socket) { put(socket, announced, fds); });
  CHECK(more.code() == Code::corrupt);
  CHECK_THAT(more.message(), Contains("2 descriptors announced, 8 came"));
  const auto unannounced =
      refusal(type, [&](int socket) { put(socket, good, std::span(fds).first(1)); });
  CHECK(unannounced.code() == Code::corrupt);
}

TEST_CASE_METHOD(HandOver, "more_descriptors_than_any_handle_has_are_refused_and_closed") {
  const int type = GENERATE(SOCK_STREAM, SOCK_SEQPACKET);
  const Fd memory = os.memfd_create("sent", 0).value();
  const std::vector<int> fds(kMaxHandleDescriptors, memory.get());
  // Eight with each of two pieces.
  const auto pieces = refusal(SOCK_STREAM, [&](int socket) {
    put(socket, std::span(good).first(4), fds);
    put(socket, std::span(good).subspan(4), fds);
  });
  CHECK(pieces.code() == Code::corrupt);
  // Nine and ninety with one, which send_message() would not do.
  for (const std::size_t count : {9, 90}) {
    const auto at_once = refusal(type, [&](int socket) {
      const std::vector<int> many(count, memory.get());
      iovec data{const_cast<std::byte*>(good.data()), good.size()};
      std::vector<char> control(CMSG_SPACE(count * sizeof(int)));
      msghdr message{};
      message.msg_iov = &data;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(count * sizeof(int));
      std::memcpy(CMSG_DATA(rights), many.data(), count * sizeof(int));
      if (::sendmsg(socket, &message, 0) < 0) _exit(9);
    });
    INFO(at_once.to_string());
    CHECK(at_once.code() == Code::corrupt);
  }
}

TEST_CASE_METHOD(HandOver, "a_handle_of_a_kind_that_nobody_serves_is_unsupported") {
  Handle handle = made.handle().value();
  handle.kind = SegmentKind::cuda;
  handle.locator = "cuda:weights";
  const auto bytes = encode(handle).value();
  CHECK(refusal(SOCK_STREAM, [&](int socket) { put(socket, bytes); }).code() == Code::unsupported);
  handle.kind = SegmentKind::fake;
  handle.locator = "socket:/run/strata.sock";
  const auto served = encode(handle).value();
  CHECK(refusal(SOCK_STREAM, [&](int socket) { put(socket, served); }).code() == Code::unsupported);
}

TEST_CASE_METHOD(HandOver, "a_socket_that_cannot_say_where_a_handle_ends_is_unsupported") {
  connect(SOCK_DGRAM);
  const Deadline deadline = Deadline::after_ms(60'000);
  CHECK(catalog.send(made, mine.get(), deadline).error().code() == Code::unsupported);
  CHECK(catalog.receive(theirs.get(), {}, deadline).error().code() == Code::unsupported);
}

TEST_CASE_METHOD(HandOver, "whatever_call_fails_both_ends_say_so_and_leave_nothing_open") {
  const int type = GENERATE(SOCK_STREAM, SOCK_SEQPACKET);
  const Deadline deadline = Deadline::after_ms(60'000);
  FaultOs faulty;
  (void)faulty.identity();  // read once, and best effort
  Catalog failing = with_door(faulty);
  const Segment mesh = failing.create("fake:mesh", {.payload_bytes = 10'000}).value();
  std::uint64_t failed = 0;
  // Until the n-th call is none of this exchange's any more.
  for (std::uint64_t n = 1;; ++n) {
    connect(type);
    const std::size_t open_before = open_files();
    faulty.reset();
    faulty.fail_at(n, EIO);
    bool is_whole = failing.send(mesh, mine.get(), deadline).has_value();
    if (is_whole) is_whole = failing.receive(theirs.get(), {}, deadline).has_value();
    CHECK(open_files() == open_before);
    if (faulty.calls() < n) {
      CHECK(is_whole);
      break;
    }
    CHECK(!is_whole);
    ++failed;
  }
  CHECK(failed >= 6);
}

TEST_CASE_METHOD(HandOver, "a_peer_of_another_user_is_given_nothing_and_taken_nothing_from") {
  if (geteuid() != 0) SKIP_TEST("needs root, to become another user");
  const test::TempDir folder;
  REQUIRE(::chmod(folder.path().c_str(), 0755) == 0);
  const std::string path = folder / "s";
  const Fd listener = os.listen_unix(path, 0600).value();
  REQUIRE(::chmod(path.c_str(), 0666) == 0);
  const pid_t other = test::start_child([&] {
    if (setgid(1234) != 0 || setuid(1234) != 0) return 8;
    RealOs own_os;
    const Fd socket = own_os.connect_unix(path).value();
    // It may be refused before it has sent anything; nothing comes back either way.
    (void)own_os.send_message(socket.get(), good, {});
    if (!own_os.wait_readable(socket.get(), Deadline::after_ms(60'000)).value()) return 9;
    std::byte end;
    return ::read(socket.get(), &end, 1) > 0 ? 7 : 0;
  });
  REQUIRE(os.wait_readable(listener.get(), Deadline::after_ms(60'000)).value());
  Fd socket = os.accept(listener.get()).value();
  const Deadline deadline = Deadline::after_ms(60'000);
  const auto received = catalog.receive(socket.get(), {}, deadline);
  const auto sent = catalog.send(made, socket.get(), deadline);
  socket.reset();
  CHECK(test::wait_for(other) == 0);
  REQUIRE(!received);
  CHECK(received.error().code() == Code::permission_denied);
  CHECK_THAT(received.error().message(), Contains("uid 1234"));
  REQUIRE(!sent);
  CHECK(sent.error().code() == Code::permission_denied);
}
