#include "pmem/pmem_backend.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>

#include <cstring>
#include <thread>

#include "pmem/pool_testing.h"
#include "strata/pmem/pool.h"
#include "tests/catch.h"

using namespace strata;
using strata::test::in_child;
using strata::test::make_pool;
using strata::test::TempDir;

namespace {

SegmentUri uri_in(const std::string& pool, const std::string& name) { return {"pmem", pool, name}; }

}  // namespace

TEST_CASE("a_segment_of_a_pool_is_there_after_everybody_has_gone") {
  RealOs os;
  const TempDir dir;
  const std::string path = dir / "p.pool";
  make_pool(os, path);
  {
    PmemBackend backend(os);
    Segment made = backend.create(uri_in(path, "mesh"), {.payload_bytes = KiB(100)}).value();
    CHECK(made.identity().kind == static_cast<std::uint32_t>(SegmentKind::pmem));
    const auto bytes = made.writable_bytes().value();
    REQUIRE(bytes.size() == KiB(100));
    CHECK(std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; }));
    std::memcpy(bytes.data() + 70000, "hello", 5);
    CHECK(made.persist(70000, 5));
  }
  PmemBackend backend(os);
  const Segment again = backend.attach(uri_in(path, "mesh"), {.access = Access::read_only}).value();
  CHECK(std::memcmp(again.host_bytes().value().data() + 70000, "hello", 5) == 0);
}

TEST_CASE("errors_say_what_the_caller_can_do") {
  RealOs os;
  const TempDir dir;
  const std::string path = dir / "p.pool";
  PmemBackend backend(os);
  CHECK(backend.attach(uri_in(path, "x"), {}).error().code() == Code::not_found);
  make_pool(os, path);
  CHECK(backend.attach(uri_in(path, "x"), {}).error().code() == Code::not_found);
  CHECK(backend.remove(uri_in(path, "x"), {}).error().code() == Code::not_found);
  CHECK(backend.stat(uri_in(path, "x")).error().code() == Code::not_found);
  const Segment held = backend.create(uri_in(path, "x"), {.payload_bytes = 10}).value();
  CHECK(backend.create(uri_in(path, "x"), {.payload_bytes = 10}).error().code() ==
        Code::already_exists);
  const auto removed = backend.remove(uri_in(path, "x"), {});
  CHECK(removed.error().code() == Code::failed_precondition);
  CHECK(removed.error().message().find(std::to_string(::getpid())) != std::string::npos);
  CHECK(backend.create(uri_in(path, "big"), {.payload_bytes = GiB(1)}).error().code() ==
        Code::exhausted);
  CHECK(backend.create(uri_in(path, "y"), {.payload_bytes = 10, .placement = on_node(0)})
            .error()
            .code() == Code::unsupported);
  CHECK(backend.list(path).value().size() == 1);
}

TEST_CASE("attaching_for_writing_with_no_other_writer_begins_a_new_generation") {
  RealOs os;
  const TempDir dir;
  const std::string path = dir / "p.pool";
  make_pool(os, path);
  PmemBackend backend(os);
  std::uint64_t first = 0;
  {
    Segment made = backend.create(uri_in(path, "x"), {.payload_bytes = 10}).value();
    first = made.generation();
    Segment second = backend.attach(uri_in(path, "x"), {}).value();
    CHECK(second.generation() == first);  // the creator is attached
  }
  const Segment reader = backend.attach(uri_in(path, "x"), {.access = Access::read_only}).value();
  Segment writer = backend.attach(uri_in(path, "x"), {}).value();
  CHECK(writer.generation() == first + 1);
  Segment other = backend.attach(uri_in(path, "x"), {}).value();
  CHECK(other.generation() == first + 1);
}

TEST_CASE("a_removed_segment_stays_with_those_attached_and_its_room_is_reused_only_later") {
  RealOs os;
  const TempDir dir;
  const std::string path = dir / "p.pool";
  const Pool pool = make_pool(os, path);
  PmemBackend backend(os);
  {
    Segment old = backend.create(uri_in(path, "x"), {.payload_bytes = KiB(64)}).value();
    std::memset(old.writable_bytes().value().data(), 7, KiB(64));
    REQUIRE(backend.remove(uri_in(path, "x"), {.even_if_attached = true}));
    CHECK(old.state() == SegmentState::retired);
    CHECK(backend.attach(uri_in(path, "x"), {}).error().code() == Code::not_found);
    Segment fresh = backend.create(uri_in(path, "x"), {.payload_bytes = KiB(64)}).value();
    CHECK(fresh.host_bytes().value()[0] == std::byte{0});
    CHECK(old.host_bytes().value()[0] == std::byte{7});
    CHECK(pool.sweep().value() == 0);
  }
  CHECK(pool.sweep().value() == 1);
}

TEST_CASE("a_segment_whose_creator_died_is_not_ready_and_can_be_created_again") {
  RealOs os;
  const TempDir dir;
  const std::string path = dir / "p.pool";
  make_pool(os, path);
  PmemBackend backend(os);
  in_child([&] {
    auto made =
        backend.create(uri_in(path, "x"), {.payload_bytes = 10, .publish = Publish::by_creator});
    ::raise(SIGKILL);
    return made ? 0 : 1;
  });
  const auto attached = backend.attach(uri_in(path, "x"), {});
  REQUIRE(!attached);
  CHECK(attached.error().code() == Code::not_ready);
  CHECK(attached.error().message().find("died") != std::string::npos);
  CHECK(backend.create(uri_in(path, "x"), {.payload_bytes = 10}));
}

TEST_CASE("a_segment_grows_within_the_room_it_was_created_with") {
  RealOs os;
  const TempDir dir;
  const std::string path = dir / "p.pool";
  make_pool(os, path);
  PmemBackend backend(os);
  Segment made =
      backend.create(uri_in(path, "x"), {.payload_bytes = 1000, .max_bytes = KiB(256)}).value();
  std::memset(made.writable_bytes().value().data(), 5, 1000);
  REQUIRE(made.grow(KiB(200)));
  const auto bytes = made.host_bytes().value();
  CHECK(bytes[999] == std::byte{5});
  CHECK(std::all_of(bytes.begin() + 1000, bytes.end(),
                    [](std::byte b) { return b == std::byte{0}; }));
  CHECK(made.grow(KiB(300)).error().code() == Code::invalid_argument);
}

TEST_CASE("a_pool_that_is_open_elsewhere_times_out_and_names_the_holder") {
  RealOs os;
  const TempDir dir;
  const std::string path = dir / "p.pool";
  make_pool(os, path);
  PmemBackend backend(os, {.change_timeout_ms = 50});
  Segment before = backend.create(uri_in(path, "x"), {.payload_bytes = 10}).value();
  int to_parent[2], to_child[2];
  REQUIRE(::pipe(to_parent) == 0);
  REQUIRE(::pipe(to_child) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const int fd = ::open(path.c_str(), O_RDWR);
    ::flock(fd, LOCK_EX);
    char go = 'g';
    (void)!::write(to_parent[1], &go, 1);
    (void)!::read(to_child[0], &go, 1);
    ::_exit(0);
  }
  char go = 0;
  REQUIRE(::read(to_parent[0], &go, 1) == 1);
  const auto made = backend.create(uri_in(path, "y"), {.payload_bytes = 10});
  REQUIRE(!made);
  CHECK(made.error().code() == Code::timed_out);
  CHECK(made.error().message().find(std::to_string(child)) != std::string::npos);
  // Attaching needs no lock.
  CHECK(backend.attach(uri_in(path, "x"), {.access = Access::read_only}));
  REQUIRE(::write(to_child[1], &go, 1) == 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(backend.create(uri_in(path, "y"), {.payload_bytes = 10}));
}
