// copy(): what it brings over, from and into memory that the host cannot address, and what is left
// when it fails or its process is killed.

#include "strata/copy.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <optional>
#include <vector>

#include "os/fault_os.h"
#include "pmem/pmem_backend.h"
#include "pmem/pool_access.h"
#include "segment/fake_backend.h"
#include "strata/strata.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/temp_dir.h"
#include "tests/verified.h"
#include "version_source.h"

using namespace strata;

namespace {

constexpr std::uint64_t kBytes = MiB(5) + 12'345;

std::vector<std::byte> pattern(std::uint64_t bytes = kBytes) {
  std::vector<std::byte> content(bytes);
  for (std::size_t i = 0; i < bytes; ++i)
    content[i] = static_cast<std::byte>((i * 2'654'435'761U) >> 13);
  return content;
}

void write_file(const std::string& path, const std::vector<std::byte>& content) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(content.data()),
             static_cast<std::streamsize>(content.size()));
}

std::vector<std::byte> bytes_of(const Segment& segment) {
  std::vector<std::byte> content(segment.payload_bytes());
  REQUIRE(segment.read(0, content));
  return content;
}

// A pool beside memory that is only reached by copies.
Catalog make_world(Os& os) {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(
      std::make_unique<FakeBackend>(os, FakeOptions{.reach = FakeOptions::Reach::copies}));
  backends.push_back(std::make_unique<PmemBackend>(os));
  return Catalog(std::move(backends));
}

struct World {
  RealOs os;
  test::TempDir directory{"/dev/shm"};
  Pool pool = Pool::create(os, directory / "p", {.bytes = MiB(32)}).value();
  Catalog catalog = make_world(os);
  std::string in_pool(const std::string& name) const { return "pmem:" + pool.path() + "#" + name; }
};

// Another process removes what is being filled, and puts its own in the place, before this fails.
class Overtaken final : public ByteSource {
 public:
  explicit Overtaken(Catalog& catalog) : catalog_(catalog) {}
  std::string name() const override { return "overtaken"; }
  std::optional<std::uint64_t> bytes() const override { return kBytes; }
  Result<void> read(std::uint64_t, std::span<std::byte>) override {
    STRATA_TRY(catalog_.remove("fake:mesh", {.even_if_attached = true}));
    other =
        catalog_.create("fake:mesh", {.payload_bytes = 100, .placement = {}, .job_id = {}}).value();
    return fail(Code::failed_precondition, "it ended");
  }
  std::optional<Segment> other;

 private:
  Catalog& catalog_;
};

// The reading end of a pipe into which a child writes `content`; then it is killed.
Fd pipe_of(const std::vector<std::byte>& content) {
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  if (fork() == 0) {
    alarm(300);
    signal(SIGPIPE, SIG_DFL);
    close(ends[0]);
    for (std::size_t at = 0; at < content.size();) {
      const ssize_t written = write(ends[1], content.data() + at, content.size() - at);
      if (written <= 0) _exit(1);
      at += static_cast<std::size_t>(written);
    }
    raise(SIGKILL);
  }
  close(ends[1]);
  return Fd(ends[0]);
}

}  // namespace

TEST_CASE_METHOD(World, "a_copy_that_fails_takes_away_what_it_made_and_nothing_else") {
  Overtaken source(catalog);
  CHECK(copy(catalog, source, "fake:mesh").error().code() == Code::failed_precondition);
  REQUIRE(source.other);
  CHECK(catalog.stat("fake:mesh").value().identity.uuid == source.other->identity().uuid);
}

TEST_CASE_METHOD(World, "bytes_go_through_every_kind_of_source_and_target_unchanged") {
  const auto content = pattern();
  write_file(directory / "file", content);
  const auto file = open_source(os, directory / "file").value();
  const auto made = copy(catalog, *file, "fake:a").value();
  CHECK((made.was_created && made.bytes == kBytes && made.state == SegmentState::ready));
  const Segment a = catalog.attach("fake:a").value();
  CHECK(bytes_of(a) == content);

  SegmentSource from_a(a);
  const auto live = copy(catalog, from_a, in_pool("live"), {.finish = CopyFinish::seal}).value();
  CHECK(live.state == SegmentState::sealed);
  const Segment sealed = catalog.attach(in_pool("live"), {.access = Access::read_only}).value();
  CHECK(sealed.verify());
  CHECK(bytes_of(sealed) == content);

  CHECK(checkpoint(a, pool, "version").value().version == 1);
  VersionSource version = VersionSource::open(pool, "version", 0).value();
  const auto back = copy(catalog, version, "fake:b", {.finish = CopyFinish::seal}).value();
  CHECK(back.blocks_verified == version.blocks_verified());
  CHECK(back.blocks_verified > 0);
  const Segment b = catalog.attach("fake:b", {.access = Access::read_only}).value();
  CHECK(b.verify());
  CHECK(bytes_of(b) == content);
  const auto hash = [](const Segment& each) { return header_page_of(each).seal.hash; };
  CHECK(hash(b) == hash(sealed));

  Segment c = catalog.create("fake:c", {.payload_bytes = kBytes + 1}).value();
  CHECK(load_version(pool, "version", 0, c).value().bytes == kBytes);
  Segment small = catalog.create("fake:small", {.payload_bytes = kBytes - 1}).value();
  CHECK(load_version(pool, "version", 0, small).error().code() == Code::invalid_argument);
}

TEST_CASE_METHOD(World, "a_stream_comes_over_whether_or_not_its_length_is_told") {
  const auto content = pattern();
  for (const auto& length : {std::optional<std::uint64_t>(), std::optional(kBytes)}) {
    for (const std::string& to : {std::string("fake:a"), in_pool("a")}) {
      const auto stream = open_source(os, pipe_of(content), "pipe", length).value();
      REQUIRE(copy(catalog, *stream, to));
      CHECK(bytes_of(catalog.attach(to).value()) == content);
      REQUIRE(catalog.remove(to));
    }
  }
}

TEST_CASE_METHOD(World, "a_stream_that_is_shorter_or_longer_than_told_leaves_nothing") {
  for (const std::uint64_t length : {kBytes - 1, kBytes + 1}) {
    for (const std::string& to : {std::string("fake:a"), in_pool("a")}) {
      const auto stream = open_source(os, pipe_of(pattern()), "pipe", length).value();
      CHECK(copy(catalog, *stream, to).error().code() == Code::failed_precondition);
      CHECK(catalog.stat(to).error().code() == Code::not_found);
    }
  }
  const auto none = open_source(os, pipe_of({}), "pipe").value();
  CHECK(copy(catalog, *none, "fake:a").error().code() == Code::invalid_argument);
  const auto endless = open_source(os, "/dev/zero").value();
  CHECK(copy(catalog, *endless, in_pool("a")).error().code() == Code::exhausted);
}

TEST_CASE_METHOD(World, "a_file_that_is_cut_while_it_is_read_leaves_nothing") {
  for (const std::string& to : {std::string("fake:a"), in_pool("a")}) {
    write_file(directory / "file", pattern());
    const auto file = open_source(os, directory / "file").value();
    REQUIRE(truncate((directory / "file").c_str(), kBytes - 1) == 0);
    CHECK(copy(catalog, *file, to).error().code() == Code::failed_precondition);
    CHECK(catalog.stat(to).error().code() == Code::not_found);
  }
}

TEST_CASE_METHOD(World, "what_exists_is_refused_overwritten_or_kept_as_a_version") {
  const auto first = pattern(), second = std::vector<std::byte>(kBytes, std::byte{2});
  SpanSource old(first), now(second);
  for (const std::string& to : {std::string("fake:a"), in_pool("a")}) {
    REQUIRE(copy(catalog, old, to));
    CHECK(copy(catalog, now, to).error().code() == Code::already_exists);
    CHECK(bytes_of(catalog.attach(to).value()) == first);
    CHECK_FALSE(copy(catalog, now, to, {.if_exists = IfExists::overwrite}).value().was_created);
    CHECK(bytes_of(catalog.attach(to).value()) == second);
  }
  const CopyOptions version{.if_exists = IfExists::new_version};
  CHECK(copy(catalog, old, in_pool("a"), version).value().version == 2);
  CHECK(bytes_of(catalog.attach(in_pool("a"), {.access = Access::read_only}).value()) == first);
  CHECK(copy(catalog, old, "fake:a", version).error().code() == Code::unsupported);
}

TEST_CASE_METHOD(World, "a_full_pool_refuses_and_is_as_it_was") {
  const std::vector<std::byte> much(MiB(40), std::byte{1});
  SpanSource from(much);
  CHECK(copy(catalog, from, in_pool("a")).error().code() == Code::exhausted);
  CHECK(pool.entries().value().empty());
  const std::span<const std::byte> all(much);
  SpanSource fits(all.first(MiB(20)));
  CHECK(copy(catalog, fits, in_pool("a")));
}

TEST_CASE_METHOD(World, "a_copy_into_a_pool_that_is_killed_at_any_call_leaves_all_or_nothing") {
  const auto content = pattern(MiB(1) + 7);
  write_file(directory / "file", content);
  const auto put = [&](FaultOs& faulty) -> Result<void> {
    Catalog own = make_world(faulty);
    STRATA_ASSIGN(const auto file, open_source(faulty, directory / "file"));
    STRATA_TRY(copy(own, *file, in_pool("a"), {.finish = CopyFinish::seal, .threads = 1}));
    return {};
  };
  std::uint64_t points = 0, whole = 0;
  for (std::uint64_t n = 1;; ++n) {
    const int status = test::in_child([&] {
      FaultOs faulty;
      (void)faulty.identity();
      faulty.reset();
      faulty.kill_at(n);
      return put(faulty) ? 0 : 1;
    });
    INFO("killed at call " << n);
    const auto found = catalog.attach(in_pool("a"), {.access = Access::read_only});
    if (found) {
      REQUIRE(found->verify());
      REQUIRE(bytes_of(*found) == content);
      ++whole;
    } else {
      REQUIRE(found.error().code() == Code::not_found);
    }
    if (!test::was_killed(status)) {
      // The call at which it was to die was never made, or only a rehearsal died of it.
      REQUIRE((found.has_value() == (status == 0)));
      if (status == 0) break;
    }
    ++points;
    if (found) REQUIRE(catalog.remove(in_pool("a"), {.even_if_attached = true}));
  }
  CHECK(points > 20);
  CHECK(whole >= 1);
  SpanSource again(content);
  CHECK(copy(catalog, again, in_pool("b")));
  report_verified(points, "kill points");
}
