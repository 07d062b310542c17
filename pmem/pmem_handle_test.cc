// Handles of pool segments: they travel by path, mean one version, and outlive a boot.

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>

#include "pmem/pmem_backend.h"
#include "pmem/pool_testing.h"
#include "strata/segment/catalog.h"
#include "tests/catch.h"

using namespace strata;
using Catch::Matchers::Contains;
using strata::test::make_pool;
using strata::test::TempDir;

namespace {

// The real kernel, in which something happens before the n-th open().
class MeddlingOs final : public Os {
 public:
  void before_open(int n, std::function<void()> meddle) {
    left_ = n;
    meddle_ = std::move(meddle);
  }

 protected:
  int before(const char* call) override {
    if (std::string_view(call) == "open" && left_ > 0 && --left_ == 0) meddle_();
    return 0;
  }

 private:
  int left_ = 0;
  std::function<void()> meddle_;
};

struct HandOver {
  RealOs os;
  TempDir dir;
  std::string path = dir / "p.pool";
  Pool pool = make_pool(os, path);
  PmemBackend backend{os};
  Catalog catalog = make_catalog();
  Fd mine, theirs;

  Catalog make_catalog() {
    std::vector<std::unique_ptr<Backend>> backends;
    backends.push_back(std::make_unique<PmemBackend>(os));
    return Catalog(std::move(backends));
  }
  SegmentUri uri(const std::string& name = "mesh") const { return {"pmem", path, name}; }
  Segment create(const std::string& name = "mesh") {
    return backend.create(uri(name), {.payload_bytes = KiB(100)}).value();
  }
  void connect() {
    int pair[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    mine.reset(pair[0]);
    theirs.reset(pair[1]);
  }
  // A new version of the segment, which begins with that byte.
  void publish(std::byte first) {
    auto staged =
        pool.stage({.name = "mesh", .payload_bytes = KiB(100), .keep_versions = 4}).value();
    staged.payload()[0] = first;
    REQUIRE(pool.publish_one(std::move(staged)));
  }
  Status refusal(const Handle& handle) {
    const auto attached = backend.attach_handle(handle, {}, {.access = Access::read_only});
    if (attached) FAIL("it was attached");
    INFO(attached.error().to_string());
    return attached.error();
  }
};

}  // namespace

TEST_CASE_METHOD(HandOver, "a_pool_segment_is_handed_over_by_a_sender_that_has_gone_since") {
  connect();
  const int status = test::in_child([&] {
    // A path that means nothing to anybody else.
    if (::chdir(dir.path().c_str()) != 0) return 1;
    Segment made = backend.create({"pmem", "p.pool", "mesh"}, {.payload_bytes = KiB(100)}).value();
    std::memcpy(made.writable_bytes().value().data(), "hello", 5);
    return catalog.send(made, theirs.get(), Deadline::after_ms(60'000)) ? 0 : 2;
  });
  REQUIRE(status == 0);
  auto received = catalog.receive(mine.get(), {}, Deadline::after_ms(60'000));
  if (!received) FAIL(received.error().to_string());
  CHECK(received->uri() == SegmentUri{"pmem", os.real_path(path).value(), "mesh"});
  CHECK(std::memcmp(received->writable_bytes().value().data(), "hello", 5) == 0);
  CHECK(received->generation() == 2);  // the first writer since
}

TEST_CASE_METHOD(HandOver, "a_handle_of_a_pool_segment_outlives_the_boot") {
  Handle handle = create().handle().value();
  handle.boot_id[0] ^= 1;
  CHECK(backend.attach_handle(handle, {}, {}));
}

TEST_CASE_METHOD(HandOver, "an_old_version_is_refused_and_never_replaced_by_the_current_one") {
  publish(std::byte{1});
  const Segment first = backend.attach(uri(), {.access = Access::read_only}).value();
  const Handle of_first = first.handle().value();
  CHECK(backend.attach_handle(of_first, {}, {.access = Access::read_only}));
  publish(std::byte{2});
  CHECK(refusal(of_first).code() == Code::failed_precondition);
  const Segment old = backend.attach_version(uri(), 1, {.access = Access::read_only}).value();
  REQUIRE(old.host_bytes().value()[0] == std::byte{1});
  CHECK(refusal(old.handle().value()).code() == Code::failed_precondition);
}

TEST_CASE_METHOD(HandOver, "a_version_that_is_published_meanwhile_is_not_taken_for_the_one_sent") {
  MeddlingOs meddling;
  PmemBackend receiver(meddling);
  int refused = 0;
  bool has_meddled = true;
  for (int n = 1; has_meddled; ++n) {  // before each open() in turn, until there is none
    const auto sent = static_cast<std::byte>(2 * n);
    publish(sent);
    const Handle handle =
        backend.attach(uri(), {.access = Access::read_only}).value().handle().value();
    has_meddled = false;
    meddling.before_open(n, [&] {
      has_meddled = true;
      publish(static_cast<std::byte>(2 * n + 1));
    });
    const auto received = receiver.attach_handle(handle, {}, {.access = Access::read_only});
    if (received) {
      CHECK(received->host_bytes().value()[0] == sent);
    } else {
      INFO(received.error().to_string());
      CHECK(received.error().code() == Code::failed_precondition);
      ++refused;
    }
  }
  CHECK(refused == 2);  // before it is found, and between that and attaching
}

TEST_CASE_METHOD(HandOver, "a_segment_that_was_made_anew_is_another_one") {
  const Handle handle = create().handle().value();
  REQUIRE(backend.remove(uri(), {}));
  CHECK(refusal(handle).code() == Code::not_found);
  const Segment other = create();
  CHECK(refusal(handle).code() == Code::failed_precondition);
}

TEST_CASE_METHOD(HandOver, "a_handle_from_before_the_locks_began_anew_is_stale") {
  const Handle handle = create().handle().value();
  (void)backend.attach(uri(), {}).value();  // a writer where none was left
  const Status stale = refusal(handle);
  CHECK(stale.code() == Code::failed_precondition);
  CHECK_THAT(stale.message(), Contains("generation"));
}

TEST_CASE_METHOD(HandOver, "a_segment_whose_pool_has_lost_its_name_cannot_be_handed_over") {
  const Segment made = create();
  std::filesystem::remove(path);
  CHECK(made.handle().error().code() == Code::not_found);
}

TEST_CASE_METHOD(HandOver, "a_locator_that_leads_to_a_pipe_is_refused_without_waiting") {
  Handle handle = create().handle().value();
  const std::string pipe = dir / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  handle.locator = "pmem:" + pipe + "#mesh";
  CHECK(refusal(handle).code() == Code::invalid_argument);
}

TEST_CASE_METHOD(HandOver, "a_long_path_goes_through_a_small_socket_buffer_piece_by_piece") {
  std::string deep = dir.path();
  while (deep.size() < 3500)
    deep += "/" + std::string(200, 'd');
  std::filesystem::create_directories(deep);
  path = deep + "/p.pool";
  make_pool(os, path);
  const Segment made = create();
  // Leaves room for one piece of 2 KiB; says how many bytes stand before it.
  const auto nearly_fill = [&] {
    connect();
    const int least = 1;  // the kernel takes its own least, 4.5 KiB
    REQUIRE(setsockopt(mine.get(), SOL_SOCKET, SO_SNDBUF, &least, sizeof least) == 0);
    std::byte one{};
    std::size_t count = 0;
    while (os.send_message(mine.get(), std::span(&one, 1), {}))
      ++count;
    REQUIRE(os.receive_message(theirs.get(), std::span(&one, 1), 0).value().bytes == 1);
    return count - 1;
  };
  nearly_fill();
  const auto stuck = catalog.send(made, mine.get(), Deadline::after_ms(10));
  REQUIRE(!stuck);
  INFO(stuck.error().to_string());
  CHECK(stuck.error().code() == Code::timed_out);
  CHECK_THAT(stuck.error().message(), Contains("it took") && !Contains("took 0 of"));

  const std::size_t before = nearly_fill();
  const pid_t reader = test::start_child([&] {
    mine.reset();
    std::vector<std::byte> others(before);
    for (std::size_t got = 0; got < before;) {
      got += os.receive_message(theirs.get(), std::span(others).subspan(got), 0).value().bytes;
    }
    const auto received = catalog.receive(theirs.get(), {}, Deadline::after_ms(60'000));
    if (!received) std::fprintf(stderr, "%s\n", received.error().to_string().c_str());
    return received && received->uri() == made.uri() ? 0 : 1;
  });
  CHECK(catalog.send(made, mine.get(), Deadline::after_ms(60'000)));
  CHECK(test::wait_for(reader) == 0);
}
