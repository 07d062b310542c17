#include "pmem/pool_registry.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <span>

#include "os/user_state.h"
#include "pmem/pmem_backend.h"
#include "pmem/pool_testing.h"
#include "strata/segment/content_hash.h"
#include "tests/catch.h"
#include "tests/skip.h"

using namespace strata;
using strata::test::child_says;
using strata::test::make_pool;
using strata::test::TempDir;

namespace {

constexpr uid_t kStranger = 1234;

class CountingOs final : public Os {
 public:
  int calls = 0;

 private:
  int before(const char*) override {
    ++calls;
    return 0;
  }
};

struct Registry {
  RealOs os;
  TempDir dir;
  std::string pool = dir / "run.pool";
  std::string place = dir / "state/strata/pools";
  PoolRegistry registry{os, place};

  Registry() { touch(pool); }

  static void touch(const std::string& path) { std::ofstream{path} << "pool"; }

  std::vector<std::string> paths() {
    std::vector<std::string> found;
    for (const RegisteredPool& each : registry.pools())
      found.push_back(each.path);
    return found;
  }

  // A record as its name and text would have it.
  std::string plant(const std::string& path, const std::string& host, const std::string& text) {
    std::filesystem::create_directories(place);
    const std::string key = host + "\n" + path;
    const std::string name = hash_text(content_hash(std::as_bytes(std::span(key))));
    std::ofstream(place + "/" + name) << text;
    return place + "/" + name;
  }
};

}  // namespace

TEST_CASE_METHOD(Registry, "a_pool_that_was_recorded_is_found_by_another_registry") {
  registry.record(pool);
  registry.record(pool);
  RealOs other_os;
  PoolRegistry other(other_os, place);
  const auto found = other.pools();
  REQUIRE(found.size() == 1);
  CHECK(found[0].path == pool);
  CHECK(other.problem().empty());
  struct stat facts {};
  REQUIRE(::stat(place.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 07777) == 0700);
  REQUIRE(::stat((place + "/" + found[0].record).c_str(), &facts) == 0);
  CHECK((facts.st_mode & 07777) == 0600);
}

TEST_CASE_METHOD(Registry, "a_relative_path_is_recorded_as_the_absolute_one") {
  CHECK(child_says([&] {
    if (::chdir(dir.path().c_str()) != 0) return false;
    RealOs child_os;
    PoolRegistry(child_os, place).record("run.pool");
    return true;
  }));
  CHECK(paths() == std::vector<std::string>{pool});
}

TEST_CASE_METHOD(Registry, "recording_what_is_recorded_takes_no_more_than_two_system_calls") {
  registry.record(pool);
  CountingOs counting;
  PoolRegistry counted(counting, place);
  counted.record(pool);
  CHECK(counting.calls <= 2);
}

TEST_CASE_METHOD(Registry, "a_registry_that_others_may_write_to_is_neither_read_nor_written") {
  registry.record(pool);
  REQUIRE(::chmod(place.c_str(), 0770) == 0);
  CHECK(paths().empty());
  const std::string second = dir / "second.pool";
  touch(second);
  registry.record(second);
  CHECK(registry.problem().find("mode 0770") != std::string::npos);
  REQUIRE(::chmod(place.c_str(), 0700) == 0);
  CHECK(paths() == std::vector<std::string>{pool});
}

TEST_CASE_METHOD(Registry, "what_belongs_to_another_user_is_not_followed") {
  const std::string probe = dir / "probe";
  touch(probe);
  if (::chown(probe.c_str(), kStranger, kStranger) != 0) {
    SKIP_TEST("this process may not give files to another user");
  }
  registry.record(pool);
  SECTION("a record") {
    const std::string record = place + "/" + registry.pools().at(0).record;
    REQUIRE(::chown(record.c_str(), kStranger, kStranger) == 0);
    CHECK(paths().empty());
  }
  SECTION("the registry") {
    REQUIRE(::chown(place.c_str(), kStranger, kStranger) == 0);
    CHECK(paths().empty());
    CHECK(registry.problem().find("1234") != std::string::npos);
  }
  SECTION("a home, in which nothing is made") {
    const std::string home = dir / "home";
    std::filesystem::create_directory(home);
    REQUIRE(::chown(home.c_str(), kStranger, kStranger) == 0);
    PoolRegistry theirs(os, home + "/.local/state/strata/pools");
    theirs.record(pool);
    CHECK(std::filesystem::is_empty(home));
    CHECK_FALSE(theirs.problem().empty());
  }
}

TEST_CASE_METHOD(Registry, "records_that_no_registry_wrote_are_passed_over") {
  registry.record(pool);
  const std::string host = host_name();
  const auto text = [&](const std::string& path) { return path + "\n" + host + "\n/\n"; };
  plant("relative.pool", host, text("relative.pool"));
  plant("/tmp/\x1b[2Jbell", host, text("/tmp/\x1b[2Jbell"));
  plant("/another/host", "elsewhere", "/another/host\nelsewhere\n/\n");
  plant("/under/another/name", host, text("/not/this/one"));
  plant("/no/mount/point", host, "/no/mount/point\n" + host + "\n");
  plant("/with/more", host, text("/with/more") + "and more");
  const std::string too_long = "/" + std::string(5000, 'a');
  plant(too_long, host, text(too_long));
  plant("/huge", host, std::string(1 << 20, 'x'));
  plant("/empty", host, "");
  const std::string link = plant("/link", host, "");
  std::filesystem::remove(link);
  std::filesystem::create_symlink(place + "/" + registry.pools().at(0).record, link);
  const std::string pipe = plant("/pipe", host, "");
  std::filesystem::remove(pipe);
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  std::ofstream(place + "/README") << "not a record";
  CHECK(paths() == std::vector<std::string>{pool});
}

TEST_CASE_METHOD(Registry, "an_empty_record_is_written_anew") {
  plant(pool, host_name(), "");
  CHECK(paths().empty());
  registry.record(pool);
  CHECK(paths() == std::vector<std::string>{pool});
}

TEST_CASE_METHOD(Registry, "a_pool_is_gone_only_where_its_file_system_is_not") {
  const std::string folder = dir / "folder";
  std::filesystem::create_directory(folder);
  const std::string nested = folder + "/nested.pool";
  touch(nested);
  registry.record(nested);
  RegisteredPool known = registry.pools().at(0);
  CHECK_FALSE(registry.is_gone(known));
  SECTION("deleted") { std::filesystem::remove(nested); }
  SECTION("deleted with its folder") { std::filesystem::remove_all(folder); }
  CHECK(registry.is_gone(known));
  registry.drop(known);
  CHECK(registry.pools().empty());
  // As if `folder` had been where a file system was mounted that is not there now.
  known.mount_point = folder;
  CHECK_FALSE(registry.is_gone(known));
}

TEST_CASE_METHOD(Registry, "what_a_killed_recorder_left_is_dropped_when_it_is_old") {
  registry.record(pool);
  const std::string fresh = place + "/.new-0123456789abcdef";
  const std::string old = place + "/.new-fedcba9876543210";
  touch(fresh);
  touch(old);
  const struct timespec long_ago[2] = {{.tv_sec = 1000, .tv_nsec = 0},
                                       {.tv_sec = 1000, .tv_nsec = 0}};
  REQUIRE(::utimensat(AT_FDCWD, old.c_str(), long_ago, 0) == 0);
  registry.drop_unfinished();
  CHECK(std::filesystem::exists(fresh));
  CHECK_FALSE(std::filesystem::exists(old));
  CHECK(paths() == std::vector<std::string>{pool});
}

TEST_CASE_METHOD(Registry, "a_registry_that_cannot_be_written_fails_no_use_of_a_pool") {
  const std::string real = dir / "real.pool";
  make_pool(os, real);
  const std::string where = GENERATE("/dev/null/pools", "");
  PmemBackend backend(os, {.registry_directory = where});
  const SegmentUri uri{"pmem", real, "mesh"};
  REQUIRE(backend.create(uri, {.payload_bytes = 100}));
  CHECK(backend.attach(uri, {}));
  CHECK_FALSE(PoolRegistry(os, where).problem().empty());
}

TEST_CASE_METHOD(Registry, "a_backend_knows_the_pools_of_others_and_each_only_once") {
  const std::string real = dir / "real.pool";
  make_pool(os, real);
  {
    PmemBackend user(os, {.registry_directory = place});
    REQUIRE(user.create({"pmem", real, "mesh"}, {.payload_bytes = 100}));
  }
  const std::string second_name = dir / "second_name.pool";
  std::filesystem::create_symlink(real, second_name);
  PmemBackend other(os, {.registry_directory = place});
  CHECK(other.containers({}, GoneRecords::keep) == std::vector<std::string>{real});
  CHECK(other.containers({second_name}, GoneRecords::keep) ==
        std::vector<std::string>{second_name});
  std::filesystem::remove(real);
  CHECK(other.containers({}, GoneRecords::keep).empty());
  CHECK(registry.pools().size() == 1);
  CHECK(other.containers({}, GoneRecords::drop).empty());
  CHECK(registry.pools().empty());
}
