// Files that take the place of others: links, owners, modes and attributes stay what they are.
#include "pmem/new_file.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "os/fault_os.h"
#include "pmem/export_file.h"
#include "pmem/pool_testing.h"
#include "pmem/repair.h"
#include "strata/pmem/backup.h"
#include "strata/pmem/checkpoint.h"
#include "strata/pmem/snapshot.h"
#include "tests/catch.h"
#include "tests/skip.h"
#include "tests/verified.h"

using namespace strata;
using strata::test::in_child;
using strata::test::make_pool;
using strata::test::TempDir;

namespace {

constexpr uid_t kOwner = 1234;
constexpr gid_t kGroup = 1235;
constexpr uid_t kOther = 4321;

Pool make_sample(Os& os, const std::string& path) {
  const Pool pool = make_pool(os, path, MiB(8));
  REQUIRE(checkpoint(std::vector<std::byte>(70'000, std::byte{1}), pool, "m"));
  return pool;
}

// Root within a namespace of users may know no others.
bool can_give_away(Os& os, const TempDir& dir) {
  const Fd fd = os.open(dir / "mine", O_CREAT | O_RDWR, 0600).value();
  const bool can = os.fchown(fd.get(), kOwner, kGroup).has_value();
  std::filesystem::remove(dir / "mine");
  return can;
}

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Every operation that puts a new file in the place of `path`, which is a pool's.
using Operation = std::function<Result<void>(Os&, const Pool& other, const std::string& path)>;

template <typename T>
Result<void> discard(const Result<T>& result) {
  if (!result) return unexpected(result.error());
  return {};
}

std::vector<std::pair<std::string, Operation>> replacements() {
  return {
      {"grow",
       [](Os& os, const Pool&, const std::string& path) {
         return discard(grow_pool(Pool::at(os, path), MiB(12)));
       }},
      {"repair",
       [](Os& os, const Pool&, const std::string& path) {
         return discard(repair_pool(os, path, {.in_place = true}));
       }},
      {"snapshot",
       [](Os&, const Pool& other, const std::string& path) {
         return discard(snapshot_pool(other, path, {.replace = true}));
       }},
      {"backup",
       [](Os&, const Pool& other, const std::string& path) {
         return discard(backup_pool(other, path, {.replace = true}));
       }},
      {"export",
       [](Os&, const Pool& other, const std::string& path) {
         return discard(export_file(other, "m", 0, path, {.replace = true}));
       }},
  };
}

}  // namespace

TEST_CASE("a_symbolic_link_stays_one_and_the_file_behind_it_is_replaced") {
  RealOs os;
  const TempDir dir;
  const Pool other = make_sample(os, dir / "other");
  for (const auto& [name, operate] : replacements()) {
    INFO(name);
    std::filesystem::create_directory(dir / name);
    make_sample(os, dir / (name + "/real"));
    std::filesystem::create_symlink(name + "/real", dir / (name + ".link"));
    const ino_t before = os.stat(dir / (name + "/real")).value().st_ino;
    const auto done = operate(os, other, dir / (name + ".link"));
    INFO((done ? "" : done.error().message()));
    REQUIRE(done);
    CHECK(std::filesystem::is_symlink(dir / (name + ".link")));
    CHECK(os.stat(dir / (name + "/real")).value().st_ino != before);
  }
}

TEST_CASE("a_file_that_has_other_names_is_not_replaced") {
  RealOs os;
  const TempDir dir;
  const Pool other = make_sample(os, dir / "other");
  make_sample(os, dir / "p");
  std::filesystem::create_hard_link(dir / "p", dir / "twin");
  const ino_t before = os.stat(dir / "p").value().st_ino;
  for (const auto& [name, operate] : replacements()) {
    INFO(name);
    const auto refused = operate(os, other, dir / "p");
    REQUIRE(!refused);
    CHECK(refused.error().code() == Code::failed_precondition);
    CHECK(refused.error().message().find("2 names (hard links)") != std::string::npos);
    CHECK(os.stat(dir / "p").value().st_ino == before);
    CHECK(os.list_directory(dir.path()).value().size() == 3);
  }
}

TEST_CASE("what_takes_the_place_of_a_file_has_its_owner_group_mode_and_attributes") {
  RealOs os;
  const TempDir dir;
  if (!can_give_away(os, dir)) SKIP_TEST("files cannot be given to other users here");
  const Pool other = make_sample(os, dir / "other");
  for (const auto& [name, operate] : replacements()) {
    INFO(name);
    const std::string path = dir / name;
    make_sample(os, path);
    {
      const Fd fd = os.open(path, O_RDWR).value();
      REQUIRE(os.fchown(fd.get(), kOwner, kGroup));
      REQUIRE(os.fchmod(fd.get(), 0664));
      REQUIRE(os.set_attribute(fd.get(), "user.note", "theirs"));
    }
    const ino_t before = os.stat(path).value().st_ino;
    const auto done = operate(os, other, path);
    INFO((done ? "" : done.error().message()));
    REQUIRE(done);
    const auto facts = os.stat(path).value();
    CHECK(facts.st_ino != before);
    CHECK(facts.st_uid == kOwner);
    CHECK(facts.st_gid == kGroup);
    CHECK((facts.st_mode & 07777) == 0664);
    const Fd fd = os.open(path, O_RDONLY).value();
    CHECK(os.get_attribute(fd.get(), "user.note").value() == "theirs");
  }
}

TEST_CASE("whoever_cannot_keep_the_owner_is_refused_and_changes_nothing") {
  RealOs os;
  const TempDir dir;
  if (!can_give_away(os, dir)) SKIP_TEST("files cannot be given to other users here");
  const Pool other = make_sample(os, dir / "other");
  make_sample(os, dir / "p");
  for (const char* name : {"other", "p"}) {
    const Fd fd = os.open(dir / name, O_RDWR).value();
    REQUIRE(os.fchown(fd.get(), kOwner, kGroup));
    REQUIRE(os.fchmod(fd.get(), 0660));
  }
  std::filesystem::permissions(dir.path(), std::filesystem::perms::all);
  const ino_t before = os.stat(dir / "p").value().st_ino;
  for (const auto& [name, operate] : replacements()) {
    INFO(name);
    const int status = in_child([&, &run = operate] {
      if (::setgroups(0, nullptr) != 0 || ::setgid(kGroup) != 0 || ::setuid(kOther) != 0) return 2;
      RealOs child_os;
      const auto refused = run(child_os, Pool::at(child_os, other.path()), dir / "p");
      if (refused) return 3;
      std::printf("%s\n", refused.error().message().c_str());
      const bool is_named = refused.error().message().find("uid 1234") != std::string::npos;
      return refused.error().code() == Code::permission_denied && is_named ? 0 : 4;
    });
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(os.stat(dir / "p").value().st_ino == before);
    CHECK(os.list_directory(dir.path()).value().size() == 2);
  }
}

TEST_CASE("what_is_no_file_is_not_replaced") {
  RealOs os;
  const TempDir dir;
  const Pool other = make_sample(os, dir / "other");
  REQUIRE(::mkfifo((dir / "pipe").c_str(), 0600) == 0);
  for (const auto& [name, operate] : replacements()) {
    if (name == "grow") continue;  // needs a pool there, and a pipe is none
    INFO(name);
    const auto refused = operate(os, other, dir / "pipe");
    REQUIRE(!refused);
    CHECK(refused.error().code() == Code::invalid_argument);
    CHECK(std::filesystem::is_fifo(dir / "pipe"));
  }
}

TEST_CASE("a_pool_is_not_replaced_by_what_is_made_of_it") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_sample(os, dir / "p");
  std::filesystem::create_symlink("p", dir / "link");
  const ino_t before = os.stat(pool.path()).value().st_ino;
  for (const auto& [name, operate] : replacements()) {
    if (name == "grow" || name == "repair") continue;
    INFO(name);
    const auto refused = operate(os, pool, dir / "link");
    REQUIRE(!refused);
    CHECK(refused.error().code() == Code::invalid_argument);
    CHECK(os.stat(pool.path()).value().st_ino == before);
  }
}

TEST_CASE("a_process_that_is_killed_while_it_makes_a_file_leaves_none_that_is_unfinished") {
  RealOs real;
  const TempDir dir;
  const Pool other = make_sample(real, dir / "other");
  REQUIRE(backup_pool(other, dir / "backup"));
  using Making = std::function<Result<void>(Os&, const std::string& path)>;
  const std::vector<std::pair<std::string, Making>> makings = {
      {"create",
       [](Os& os, const std::string& path) {
         return discard(Pool::create(os, path, {.bytes = MiB(8)}));
       }},
      {"snapshot",
       [&](Os& os, const std::string& path) {
         return discard(snapshot_pool(Pool::at(os, other.path()), path));
       }},
      {"restore",
       [&](Os& os, const std::string& path) {
         return discard(restore_pool(os, dir / "backup", path));
       }},
      {"export",
       [&](Os& os, const std::string& path) {
         return discard(export_file(Pool::at(os, other.path()), "m", 0, path));
       }},
  };
  const std::vector<std::string> without = {"backup", "other"};
  const std::vector<std::string> with = {"backup", "made", "other"};
  std::uint64_t kills = 0;
  for (const auto& [name, make] : makings) {
    INFO(name);
    FaultOs counting;
    REQUIRE(make(counting, dir / "made"));
    const std::string whole = content_of(dir / "made");
    std::filesystem::remove(dir / "made");
    const std::uint64_t calls = counting.calls();
    for (std::uint64_t n = 1; n <= calls; n += std::max<std::uint64_t>(1, calls / 40)) {
      INFO("call " << n << " of " << calls);
      const int status = in_child([&, &run = make] {
        FaultOs os;
        os.kill_at(n);
        (void)run(os, dir / "made");
        return 0;
      });
      kills += WIFSIGNALED(status) ? 1 : 0;
      const auto names = real.list_directory(dir.path()).value();
      REQUIRE((names == without || names == with));
      if (names == with) CHECK(content_of(dir / "made").size() == whole.size());
      std::filesystem::remove(dir / "made");
    }
  }
  CHECK(kills > 0);
  report_verified(kills, "kill points");
}

TEST_CASE("a_backup_changes_no_byte_of_the_pool_and_takes_no_right_to_write") {
  RealOs os;
  const TempDir dir("/dev/shm");
  if (!can_give_away(os, dir)) SKIP_TEST("there are no other users here");
  const Pool pool = make_sample(os, dir / "p");
  const std::string before = content_of(pool.path());
  REQUIRE(chmod(dir.path().c_str(), 0777) == 0);
  REQUIRE(chmod(pool.path().c_str(), 0644) == 0);
  const int status = in_child([&] {
    if (setgid(kGroup) != 0 || setuid(kOwner) != 0) return 1;
    return backup_pool(pool, dir / "b") ? 0 : 2;
  });
  CHECK(status == 0);
  CHECK(content_of(pool.path()) == before);
  CHECK(restore_pool(os, dir / "b", dir / "q"));
}
