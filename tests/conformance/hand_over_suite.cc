// The part of the contract that is about handles, run over every backend and every fake: any
// segment can be handed to another process.

#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>

#include "os/os.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/conformance/backend_fixture.h"
#include "tests/conformance/borrowed_backend.h"
#include "tests/conformance/content.h"

using namespace strata;

namespace {

struct HandOver {
  std::unique_ptr<BackendFixture> fixture = make_fixture();
  Backend& backend = fixture->backend();

  SegmentUri uri(const std::string& name) { return fixture->uri(name); }
  Segment create(const std::string& name) {
    auto made = backend.create(uri(name), {.payload_bytes = 10'000, .placement = {}, .job_id = {}});
    if (!made) FAIL(made.error().to_string());
    return std::move(*made);
  }
};

Result<void> fill(Segment& segment, std::byte value) {
  return test::put_content(segment, std::vector<std::byte>(segment.payload_bytes(), value));
}

bool holds(const Segment& segment, std::byte value) {
  const auto content = test::content_of(segment);
  return content && *content == std::vector<std::byte>(segment.payload_bytes(), value);
}

}  // namespace

TEST_CASE_METHOD(HandOver, "a_handle_takes_a_segment_to_another_process_over_a_socket") {
  STRATA_NEEDS_CHILDREN();
  Segment made = create(std::string(kMaxNameBytes, 'n'));
  REQUIRE(fill(made, std::byte{5}));
  const int type = GENERATE(SOCK_STREAM, SOCK_SEQPACKET);
  int pair[2];
  REQUIRE(socketpair(AF_UNIX, type, 0, pair) == 0);
  const Fd left(pair[0]), right(pair[1]);
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::make_unique<Borrowed>(backend));
  Catalog catalog(std::move(backends));
  const auto deadline = [] { return Deadline::after_ms(60'000); };
  const auto sent = catalog.send(made, left.get(), deadline());
  if (!sent) FAIL(sent.error().to_string());
  const int status = test::in_child([&] {
    auto received = catalog.receive(right.get(), {}, deadline());
    if (!received) {
      std::fprintf(stderr, "%s\n", received.error().to_string().c_str());
      return 1;
    }
    if (received->uri().name != made.uri().name) return 2;
    if (!holds(*received, std::byte{5})) return 3;
    return fill(*received, std::byte{6}) ? 0 : 4;
  });
  CHECK(status == 0);
  CHECK(holds(made, std::byte{6}));
}

TEST_CASE_METHOD(HandOver, "a_handle_grants_no_more_than_its_sender_has") {
  const Segment made = create("mesh");
  const Segment reading = backend.attach(uri("mesh"), {.access = Access::read_only}).value();
  Handle handle = reading.handle().value();
  const auto descriptors = [&] {
    std::vector<Fd> copies;
    for (const int fd : reading.descriptors())
      copies.push_back(fixture->os().dup(fd).value());
    return copies;
  };
  const auto refused = backend.attach_handle(handle, descriptors(), {});
  REQUIRE(!refused);
  CHECK(refused.error().code() == Code::permission_denied);
  CHECK(backend.attach_handle(handle, descriptors(), {.access = Access::read_only}));
  handle.uuid[0] ^= 1;
  const auto other = backend.attach_handle(handle, descriptors(), {.access = Access::read_only});
  REQUIRE(!other);
  CHECK(other.error().code() == Code::failed_precondition);
}
