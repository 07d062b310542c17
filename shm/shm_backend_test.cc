// What is special to "shm:": files of others under our names, rights, limits, races.
// The common contract is in tests/conformance, kills are in tests/kill.

#include "shm/shm_backend.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <random>
#include <thread>

#include "numa/page_report.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/skip.h"
#include "tests/temp_dir.h"

using namespace strata;

namespace {

struct Fixture {
  test::TempDir directory{"/dev/shm"};
  RealOs os;
  ShmBackend backend{
      os, {.directory = directory.path(), .huge_2m_directory = {}, .huge_1g_directory = {}}};
  SegmentUri uri{"shm", {}, "mesh"};
  std::string path = directory.path() + "/strata.mesh";

  Segment create(CreateOptions options = {}) {
    if (options.payload_bytes == 0) options.payload_bytes = 10'000;
    auto segment = backend.create(uri, options);
    if (!segment) FAIL(segment.error().to_string());
    return std::move(*segment);
  }
  void overwrite(std::uint64_t offset_bytes, std::byte value) {
    const Fd file = os.open(path, O_RDWR).value();
    REQUIRE(os.pwrite(file.get(), std::span(&value, 1), offset_bytes));
  }
  Status attach_failure(Access access = Access::read_write) {
    auto segment = backend.attach(uri, {.access = access, .timeout_ms = 20});
    if (segment) FAIL("attach succeeded");
    return segment.error();
  }
};

// Runs `body` as nobody in a child; its exit code, or -1 where users cannot be changed.
template <typename Body>
int as_nobody(Body body) {
  constexpr int kCannot = 99;
  const int status = test::in_child([&] { return setuid(65534) == 0 ? body() : kCannot; });
  return WEXITSTATUS(status) == kCannot ? -1 : status;
}

}  // namespace

TEST_CASE_METHOD(Fixture, "a_file_of_another_program_under_our_name_is_left_alone") {
  const auto refuses = [&] {
    const Status status = attach_failure(Access::read_only);
    CHECK(status.code() == Code::corrupt);
    CHECK(backend.create(uri, {.payload_bytes = 1, .placement = {}, .job_id = {}}).error().code() ==
          Code::already_exists);
    CHECK(!backend.remove(uri, {.even_if_attached = true}));
    const auto decisions = backend.reclaim({}, {}).value();
    REQUIRE(decisions.size() == 1);
    CHECK(!decisions[0].is_orphan);
    CHECK(os.stat(path));
  };
  SECTION("empty") {
    REQUIRE(os.open(path, O_CREAT | O_RDWR, 0600));
    refuses();
  }
  SECTION("text") {
    const Fd file = os.open(path, O_CREAT | O_RDWR, 0600).value();
    const std::string text(10'000, 'x');
    REQUIRE(os.pwrite(file.get(), std::as_bytes(std::span(text)), 0));
    refuses();
    CHECK(os.read_file(path).value() == text);
  }
  SECTION("fifo") {
    REQUIRE(mkfifo(path.c_str(), 0600) == 0);
    refuses();
  }
  SECTION("directory") {
    REQUIRE(os.mkdir(path, 0700));
    CHECK(!backend.attach(uri, {.access = Access::read_only}));
    CHECK(!backend.remove(uri, {.even_if_attached = true}));
    CHECK(os.stat(path));
  }
  SECTION("symbolic link") {
    const std::string target = directory.path() + "/other";
    REQUIRE(os.open(target, O_CREAT | O_RDWR, 0600));
    REQUIRE(symlink(target.c_str(), path.c_str()) == 0);
    CHECK(!backend.attach(uri, {.access = Access::read_only}));
    CHECK(!backend.remove(uri, {.even_if_attached = true}));
    CHECK(os.stat(target));
  }
}

TEST_CASE_METHOD(Fixture, "a_truncated_segment_is_refused_before_it_could_fault") {
  { const Segment made = create(); }
  for (const off_t bytes : {10'000, 4096, 4095, 1, 0}) {
    REQUIRE(truncate(path.c_str(), bytes) == 0);
    for (const Access access : {Access::read_only, Access::read_write, Access::copy_on_write}) {
      const Status status = attach_failure(access);
      INFO(bytes << " bytes: " << status.to_string());
      CHECK(status.code() == Code::corrupt);
    }
  }
}

TEST_CASE_METHOD(Fixture, "a_flipped_bit_of_the_identity_is_refused_by_attach_and_kept_by_gc") {
  { const Segment made = create({.placement = {}, .lifetime = Lifetime::process, .job_id = {}}); }
  { const Segment made = create(); }
  const std::string before = os.read_file(path).value();
  std::mt19937 random(20261121);
  for (int round = 0; round < 64; ++round) {
    const std::uint64_t bit = random() % (1024 * 8);
    const auto byte = static_cast<std::byte>(static_cast<unsigned char>(before[bit / 8]));
    overwrite(bit / 8, byte ^ (std::byte{1} << (bit % 8)));
    INFO("bit " << bit);
    CHECK(attach_failure().code() == Code::corrupt);
    CHECK(backend.stat(uri).value().problem);
    CHECK(!backend.reclaim({}, {}).value().at(0).is_orphan);
    overwrite(bit / 8, byte);
  }
  CHECK(backend.attach(uri, {}));
}

TEST_CASE_METHOD(Fixture, "live_words_that_lie_are_refused_not_followed") {
  { const Segment made = create(); }
  SECTION("state") {
    overwrite(1024, std::byte{77});
    CHECK(attach_failure().code() == Code::corrupt);
    CHECK(backend.stat(uri).value().problem);
  }
  SECTION("size beyond the file") {
    overwrite(1024 + 2 * 64 + 2, std::byte{1});
    CHECK(attach_failure().code() == Code::corrupt);
  }
  SECTION("size 0") {
    overwrite(1024 + 2 * 64, std::byte{0});
    overwrite(1024 + 2 * 64 + 1, std::byte{0});
    CHECK(attach_failure().code() == Code::corrupt);
  }
}

TEST_CASE_METHOD(Fixture, "a_seal_that_fails_lets_others_write_again") {
  Segment made = create();
  auto& bytes = header_page_of(made).live.payload_bytes.value;
  const std::uint64_t before = bytes.exchange(1);
  REQUIRE(!made.seal());
  bytes = before;
  CHECK(backend.attach(uri, {.timeout_ms = 1}));
}

TEST_CASE_METHOD(Fixture, "a_segment_copied_under_another_name_is_refused") {
  { const Segment made = create(); }
  REQUIRE(os.rename(path, directory.path() + "/strata.other"));
  const auto attached = backend.attach({"shm", {}, "other"}, {});
  REQUIRE(!attached);
  CHECK(attached.error().message().find("shm:mesh") != std::string::npos);
}

TEST_CASE_METHOD(Fixture, "a_changed_byte_of_a_sealed_segment_is_found_by_verify") {
  {
    Segment made = create();
    REQUIRE(made.seal());
  }
  if (geteuid() != 0) SKIP_TEST("only root can write to a sealed file");
  CHECK(backend.attach(uri, {.access = Access::read_only}).value().verify());
  overwrite(4096 + 5000, std::byte{1});
  const auto verified = backend.attach(uri, {.access = Access::read_only}).value().verify();
  REQUIRE(!verified);
  CHECK(verified.error().code() == Code::corrupt);
}

TEST_CASE_METHOD(Fixture, "a_sealed_memfd_cannot_be_mapped_writable_by_anybody") {
  CreateOptions options;
  options.payload_bytes = 10'000;
  Segment made = backend.create_anonymous(options).value();
  const int fd = made.descriptors().at(0);
  REQUIRE(made.seal());
  CHECK((os.get_seals(fd).value() & F_SEAL_WRITE) != 0);
  CHECK(!os.mmap({.bytes = 4096, .fd = fd}));
  CHECK(!os.ftruncate(fd, 0));
}

TEST_CASE_METHOD(Fixture, "another_users_segment_is_refused_and_kept") {
  { const Segment made = create(); }
  REQUIRE(chmod(directory.path().c_str(), 01777) == 0);
  const int status = as_nobody([&] {
    RealOs other_os;
    ShmBackend other(
        other_os,
        {.directory = directory.path(), .huge_2m_directory = {}, .huge_1g_directory = {}});
    if (other.attach(uri, {}).error().code() != Code::permission_denied) return 1;
    if (other.stat(uri).error().code() != Code::permission_denied) return 2;
    if (other.remove(uri, {.even_if_attached = true}).error().code() != Code::permission_denied) {
      return 3;
    }
    const auto listed = other.list({}).value();
    if (listed.size() != 1 || !listed[0].problem || listed[0].owner_uid != 0) return 4;
    const auto decisions = other.reclaim({}, {}).value();
    return decisions.size() != 1 || decisions[0].is_orphan ? 5 : 0;
  });
  if (status == -1) SKIP_TEST("this process cannot become another user");
  CHECK(status == 0);
  CHECK(backend.attach(uri, {}));
}

TEST_CASE_METHOD(Fixture, "an_owner_who_is_not_root_can_remove_a_sealed_segment") {
  REQUIRE(chmod(directory.path().c_str(), 01777) == 0);
  const int status = as_nobody([&] {
    RealOs other_os;
    ShmBackend other(
        other_os,
        {.directory = directory.path(), .huge_2m_directory = {}, .huge_1g_directory = {}});
    CreateOptions options;
    options.payload_bytes = 10'000;
    auto made = other.create(uri, options);
    if (!made || !made->seal()) return 1;
    if (other.attach(uri, {}).error().code() != Code::failed_precondition) return 2;
    if (other.remove(uri, {})) return 3;  // still attached
    { const Segment gone = std::move(*made); }
    if (!other.remove(uri, {})) return 4;
    return other.stat(uri) ? 5 : 0;
  });
  if (status == -1) SKIP_TEST("this process cannot become another user");
  CHECK(status == 0);
}

TEST_CASE_METHOD(Fixture, "more_than_there_is_fails_with_limit_and_remedy_and_leaves_nothing") {
  CreateOptions options;
  options.payload_bytes = GiB(1) << 13;  // 8 TiB
  const auto made = backend.create(uri, options);
  REQUIRE(!made);
  INFO(made.error().to_string());
  CHECK(made.error().code() == Code::exhausted);
  CHECK(made.error().message().find("free") != std::string::npos);
  CHECK(backend.list({}).value().empty());
  options.commit = Commit::sparse;  // address space alone is to be had
  CHECK(backend.create(uri, options));
}

TEST_CASE_METHOD(Fixture, "growth_over_what_there_is_fails_and_leaves_the_segment_as_it_was") {
  CreateOptions options;
  options.max_bytes = GiB(1) << 13;
  Segment made = create(options);
  const auto grown = made.grow(options.max_bytes);
  REQUIRE(!grown);
  CHECK(grown.error().code() == Code::exhausted);
  CHECK(made.payload_bytes() == 10'000);
  CHECK(made.grow(20'000));
  CHECK(made.payload_bytes() == 20'000);
}

TEST_CASE_METHOD(Fixture, "huge_pages_that_nobody_reserved_are_refused_with_the_remedy") {
  CreateOptions options;
  options.payload_bytes = GiB(1) << 12;
  options.page_size = PageSize::huge_2m;
  for (const auto& made : {backend.create(uri, options), backend.create_anonymous(options)}) {
    REQUIRE(!made);
    INFO(made.error().to_string());
    CHECK((made.error().code() == Code::exhausted || made.error().code() == Code::unsupported));
  }
  CHECK(backend.list({}).value().empty());
}

TEST_CASE_METHOD(Fixture, "a_thp_segment_is_whole_whatever_pages_the_kernel_grants") {
  CreateOptions options;
  options.payload_bytes = MiB(4) + 5;
  options.max_bytes = MiB(8);
  options.page_size = PageSize::thp;
  Segment made = create(options);
  const auto bytes = made.writable_bytes().value();
  CHECK(reinterpret_cast<std::uintptr_t>(bytes.data()) % MiB(2) == 0);
  std::fill(bytes.begin(), bytes.end(), std::byte{7});
  REQUIRE(made.grow(MiB(6)));
  const Segment seen = backend.attach(uri, {.access = Access::read_only}).value();
  CHECK(seen.payload_bytes() == MiB(6));
  CHECK(seen.host_bytes().value()[MiB(4) + 4] == std::byte{7});
  CHECK(seen.host_bytes().value()[MiB(4) + 5] == std::byte{0});
}

TEST_CASE_METHOD(Fixture, "the_last_page_of_an_odd_size_is_counted_like_any_other") {
  const Segment made = create({.payload_bytes = 300'000, .placement = {}, .job_id = {}});
  const PlacementReport report = load_report(header_page_of(made).placement).value();
  CHECK(report.pages_total == 74);
  CHECK(report.pages_absent == 0);
}

TEST_CASE_METHOD(Fixture, "permission_bits_are_those_asked_for_whatever_the_umask") {
  const mode_t before = umask(0077);
  const Segment made = create({.placement = {}, .mode = 0664, .job_id = {}});
  umask(before);
  CHECK(backend.stat(uri).value().mode == 0664);
}

TEST_CASE_METHOD(Fixture, "gc_takes_nothing_live_while_others_create_and_attach_in_a_loop") {
  constexpr int kRounds = 400;
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::atomic<bool> done{false};
  std::atomic<int> reclaimed{0};
  std::thread gc([&] {
    while (!done) {
      const auto decisions = backend.reclaim({}, {}).value();
      for (const auto& decision : decisions)
        reclaimed += decision.was_reclaimed;
    }
  });
  std::vector<pid_t> children;
  for (unsigned worker = 0; worker < 3; ++worker) {
    const pid_t child = fork();
    if (child == 0) {
      RealOs child_os;
      ShmBackend mine(
          child_os,
          {.directory = directory.path(), .huge_2m_directory = {}, .huge_1g_directory = {}});
      std::mt19937 random(seed + worker);
      for (int round = 0; round < kRounds; ++round) {
        const SegmentUri name{"shm", {}, "loop-" + std::to_string(random() % 4)};
        CreateOptions options;
        options.payload_bytes = 5000;
        options.lifetime = random() % 2 ? Lifetime::process : Lifetime::last_detach;
        auto made = mine.create(name, options);
        if (made) {
          // Ours, and alive: gc must not take the name away from under us.
          made->writable_bytes().value()[0] = std::byte{1};
          const auto stat = mine.stat(name);
          if (!stat || stat->identity.uuid != made->identity().uuid) _exit(1);
        } else if (made.error().code() != Code::already_exists) {
          std::fprintf(stderr, "%s\n", made.error().to_string().c_str());
          _exit(2);
        }
        const auto other = mine.attach(name, {.access = Access::read_only, .timeout_ms = 5000});
        if (!other && other.error().code() != Code::not_found &&
            other.error().code() != Code::not_ready) {
          std::fprintf(stderr, "%s\n", other.error().to_string().c_str());
          _exit(3);
        }
      }
      _exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(status == 0);
  }
  done = true;
  gc.join();
  CHECK(backend.reclaim({}, {}));
  CHECK(backend.list({}).value().empty());
}
