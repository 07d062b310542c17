// What belongs to a file beside its bytes: names, owners, attributes, locks over all of it.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "os/os.h"
#include "tests/catch.h"
#include "tests/skip.h"

using namespace strata;

namespace {

std::string scratch(const std::string& name) {
  return std::string(std::getenv("TEST_TMPDIR")) + "/" + name;
}

}  // namespace

TEST_CASE("a_further_name_means_the_same_file_and_replaces_none") {
  RealOs os;
  const Fd file = os.open(scratch("file"), O_CREAT | O_RDWR, 0600).value();
  REQUIRE(os.link(scratch("file"), scratch("twin")));
  CHECK(os.fstat(file.get()).value().st_nlink == 2);
  CHECK(os.stat(scratch("twin")).value().st_ino == os.fstat(file.get()).value().st_ino);
  CHECK(os.link(scratch("file"), scratch("twin")).error().code() == Code::already_exists);
  REQUIRE(os.unlink(scratch("twin")));
  REQUIRE(os.unlink(scratch("file")));
}

TEST_CASE("a_real_path_has_no_links_in_it_and_means_something") {
  RealOs os;
  { REQUIRE(os.open(scratch("file"), O_CREAT | O_RDWR, 0600)); }
  REQUIRE(::symlink("file", scratch("link").c_str()) == 0);
  CHECK(os.real_path(scratch("link")).value() == os.real_path(scratch("file")).value());
  CHECK(os.real_path(scratch("none")).error().code() == Code::not_found);
  REQUIRE(os.unlink(scratch("link")));
  REQUIRE(os.unlink(scratch("file")));
}

TEST_CASE("an_extended_attribute_is_set_listed_read_and_removed") {
  RealOs os;
  const Fd file = os.open(scratch("file"), O_CREAT | O_RDWR, 0600).value();
  const auto set = os.set_attribute(file.get(), "user.note", "text");
  if (!set && set.error().code() == Code::unsupported) {
    SKIP_TEST("the file system of TEST_TMPDIR has no extended attributes");
  }
  REQUIRE(set);
  const auto has_note = [&] {
    const auto names = os.list_attributes(file.get()).value();
    return std::find(names.begin(), names.end(), "user.note") != names.end();
  };
  CHECK(has_note());
  CHECK(os.get_attribute(file.get(), "user.note").value() == "text");
  REQUIRE(os.remove_attribute(file.get(), "user.note"));
  CHECK_FALSE(has_note());
  CHECK_FALSE(os.get_attribute(file.get(), "user.note"));
  REQUIRE(os.unlink(scratch("file")));
}

TEST_CASE("a_file_that_was_given_away_has_its_new_owner_and_group") {
  RealOs os;
  const Fd file = os.open(scratch("file"), O_CREAT | O_RDWR, 0600).value();
  const auto given = os.fchown(file.get(), 1234, 1235);
  if (!given) SKIP_TEST("files cannot be given to other users here: " << given.error().message());
  CHECK(os.fstat(file.get()).value().st_uid == 1234);
  CHECK(os.fstat(file.get()).value().st_gid == 1235);
  REQUIRE(os.unlink(scratch("file")));
}

TEST_CASE("a_lock_over_a_range_is_had_wholly_or_not_at_all") {
  RealOs os;
  const Fd first = os.open(scratch("file"), O_CREAT | O_RDWR, 0600).value();
  const Fd second = os.open(scratch("file"), O_RDWR).value();
  REQUIRE(os.try_lock_byte(first.get(), 1000, LockKind::shared).value());
  CHECK_FALSE(os.try_lock_range(second.get(), 0, 2000, LockKind::exclusive).value());
  CHECK_FALSE(os.is_range_locked(first.get(), 0, 1000, LockKind::exclusive).value());
  CHECK(os.try_lock_range(second.get(), 0, 2000, LockKind::shared).value());
  REQUIRE(os.unlock_byte(first.get(), 1000));
  CHECK(os.try_lock_range(second.get(), 0, 2000, LockKind::exclusive).value());
  CHECK_FALSE(os.try_lock_byte(first.get(), 1999, LockKind::shared).value());
  REQUIRE(os.unlink(scratch("file")));
}
