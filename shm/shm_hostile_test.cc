// Segments of several users in one sticky directory: what a header says that somebody else wrote,
// removals that the kernel refuses, second names. Needs root, to become two other users.

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "segment/new_identity.h"
#include "shm/shm_backend.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/skip.h"
#include "tests/temp_dir.h"

using namespace strata;
using Catch::Matchers::Contains;

namespace {

constexpr uid_t kAlice = 1234, kBob = 1235;
constexpr std::uint64_t kBytes = 10'000;

bool become(uid_t uid) {
  return setgroups(0, nullptr) == 0 && setresgid(uid, uid, uid) == 0 &&
         setresuid(uid, uid, uid) == 0;
}

struct Users {
  test::TempDir directory{"/dev/shm"};
  test::TempDir huge{"/dev/shm"};  // stands for a hugetlbfs
  test::TempDir outside{"/dev/shm"};
  RealOs os;
  ShmBackend root = backend(os);
  const SegmentUri uri{"shm", {}, "mesh"};

  Users() {
    REQUIRE(chmod(directory.path().c_str(), 01777) == 0);
    REQUIRE(chmod(huge.path().c_str(), 01777) == 0);
  }

  ShmBackend backend(Os& through) const {
    return ShmBackend(through, {.directory = directory.path(),
                                .huge_2m_directory = huge.path(),
                                .huge_1g_directory = huge.path()});
  }

  // What `body` returns in a process of that user.
  int as(uid_t uid, const std::function<int(ShmBackend&)>& body) const {
    return WEXITSTATUS(test::in_child([&] {
      if (!become(uid)) return 99;
      RealOs own_os;
      ShmBackend own = backend(own_os);
      return body(own);
    }));
  }

  std::string file_of(const std::string& name) const { return directory / ("strata." + name); }
  std::string payload_of(const IdentityBlock& identity, const std::string& name = "mesh") const {
    return huge / ("strata." + name + "." + uuid_text(identity.uuid));
  }

  // A header with a good checksum that says what `change` makes it say, in a file of `owner`.
  IdentityBlock forge(uid_t owner, const std::string& name_inside, const std::string& file,
                      const std::function<void(IdentityBlock&)>& change = {}) {
    CreateOptions options;
    options.payload_bytes = kBytes;
    options.page_size = PageSize::huge_2m;
    options.lifetime = Lifetime::process;
    IdentityBlock identity = make_identity(os, SegmentKind::shm, name_inside, options).value();
    if (change) change(identity);
    sign(identity);
    const auto page = make_header_page(identity, SegmentState::ready);
    write(file, {reinterpret_cast<const char*>(page.data()), page.size()}, owner);
    return identity;
  }
  void write(const std::string& path, std::string_view text, uid_t owner) {
    const Fd file = os.open(path, O_CREAT | O_EXCL | O_RDWR, 0600).value();
    REQUIRE(os.pwrite(file.get(), std::as_bytes(std::span(text.data(), text.size())), 0));
    REQUIRE(fchown(file.get(), owner, owner) == 0);
  }

  // Everything that root does to a name, whatever it answers.
  void try_all(const SegmentUri& at) {
    (void)root.stat(at);
    (void)root.list({});
    for (const Access access : {Access::read_only, Access::read_write, Access::copy_on_write})
      CHECK_FALSE(root.attach(at, {.access = access, .timeout_ms = 1}));
    (void)root.reclaim({}, {});
    CreateOptions options;
    options.payload_bytes = kBytes;
    (void)root.create(at, options);
    (void)root.remove(at, {.even_if_attached = true});
    (void)root.remove(at, {});
  }

  ReclaimDecision decision_on(const std::string& name) {
    const auto decisions = root.reclaim({}, {}).value();
    for (const ReclaimDecision& each : decisions) {
      if (each.uri.name == name) return each;
    }
    FAIL("gc did not look at " << name);
    return {};
  }
};

CreateOptions shared_by_all(PageSize page_size) {
  CreateOptions options;
  options.payload_bytes = kBytes;
  options.mode = 0666;
  options.page_size = page_size;
  // No pool of huge pages stands behind this directory.
  if (page_size == PageSize::huge_2m) options.commit = Commit::sparse;
  return options;
}

#define NEEDS_ROOT() \
  if (geteuid() != 0) SKIP_TEST("needs root, to act as several users")

}  // namespace

TEST_CASE("a_header_leads_root_to_no_file_that_its_name_chose") {
  NEEDS_ROOT();
  Users users;
  const std::string dots =
      "x/../../" + std::filesystem::path(users.outside.path()).filename().string() + "/backup";
  REQUIRE(users.os.mkdir(users.huge / "strata.x", 0755));
  for (const std::string& inside : {std::string("victim"), dots, std::string()}) {
    INFO("a header of the name '" << inside << "'");
    const IdentityBlock identity = users.forge(kBob, inside, users.file_of("mesh"));
    const std::string target = inside == dots
                                   ? users.outside / ("backup." + uuid_text(identity.uuid))
                                   : users.payload_of(identity, inside);
    users.write(target, "precious", inside == dots ? 0 : kAlice);
    CHECK(users.decision_on("mesh").evidence.starts_with("kept: header: "));
    CHECK(users.root.stat(users.uri).value().problem->code() == Code::corrupt);
    users.try_all(users.uri);
    CHECK(users.os.read_file(target).value() == "precious");
    REQUIRE(users.os.unlink(target));
    (void)users.os.unlink(users.file_of("mesh"));
  }
}

TEST_CASE("a_payload_that_is_not_a_file_of_the_segments_owner_is_left_alone") {
  NEEDS_ROOT();
  Users users;
  const IdentityBlock identity = users.forge(kBob, "mesh", users.file_of("mesh"));
  const std::string payload = users.payload_of(identity);
  const std::string secret = users.outside / "secret";
  users.write(secret, std::string(MiB(2), 's'), 0);
  SECTION("another user's file") { users.write(payload, std::string(MiB(2), 's'), kAlice); }
  SECTION("root's file") { users.write(payload, std::string(MiB(2), 's'), 0); }
  SECTION("a symbolic link") {
    REQUIRE(symlink(secret.c_str(), payload.c_str()) == 0);
    REQUIRE(lchown(payload.c_str(), kBob, kBob) == 0);
  }
  SECTION("a second name of root's file") { REQUIRE(link(secret.c_str(), payload.c_str()) == 0); }
  SECTION("a fifo") {
    REQUIRE(mkfifo(payload.c_str(), 0600) == 0);
    REQUIRE(chown(payload.c_str(), kBob, kBob) == 0);
  }
  CHECK_FALSE(users.decision_on("mesh").was_reclaimed);
  users.try_all(users.uri);
  CHECK(std::filesystem::exists(std::filesystem::symlink_status(payload)));
  CHECK(users.os.read_file(secret).value() == std::string(MiB(2), 's'));
  CHECK(users.os.stat(users.file_of("mesh")));
}

TEST_CASE("a_payload_of_the_segments_owner_is_reclaimed_with_it") {
  NEEDS_ROOT();
  Users users;
  const IdentityBlock identity = users.forge(kBob, "mesh", users.file_of("mesh"));
  users.write(users.payload_of(identity), "its own", kBob);
  CHECK(users.decision_on("mesh").was_reclaimed);
  CHECK_FALSE(users.os.stat(users.payload_of(identity)));
  CHECK_FALSE(users.os.stat(users.file_of("mesh")));
}

TEST_CASE("removing_a_second_name_of_a_segment_leaves_the_segment_as_it_was") {
  Users users;
  { const Segment made = users.root.create(users.uri, shared_by_all(PageSize::base)).value(); }
  const std::string before = users.os.read_file(users.file_of("mesh")).value();
  const SegmentUri second{"shm", {}, "second"};
  const auto refuses = [&] {
    const auto removed = users.root.remove(second, {.even_if_attached = true});
    REQUIRE(!removed);
    CHECK(removed.error().code() == Code::failed_precondition);
    CHECK_THAT(removed.error().message(), Contains("belongs to shm:mesh"));
    CHECK_THAT(removed.error().message(), Contains("rm " + users.file_of("second")));
    CHECK(users.decision_on("second").evidence == "kept: header: belongs to shm:mesh");
    CHECK(users.root.attach(second, {.timeout_ms = 1}).error().code() == Code::corrupt);
    CHECK(users.os.stat(users.file_of("second")));
    CHECK(users.os.read_file(users.file_of("mesh")).value() == before);
    CHECK(users.root.attach(users.uri, {}));
  };
  SECTION("a hard link") {
    REQUIRE(link(users.file_of("mesh").c_str(), users.file_of("second").c_str()) == 0);
    refuses();
  }
  SECTION("a copy") {
    users.write(users.file_of("second"), before, geteuid());
    refuses();
  }
}

TEST_CASE("a_refused_remove_leaves_the_segment_as_it_was") {
  NEEDS_ROOT();
  Users users;
  const PageSize page_size = GENERATE(PageSize::base, PageSize::huge_2m);
  const bool is_apart = page_size == PageSize::huge_2m;
  REQUIRE(users.as(kAlice, [&](ShmBackend& backend) {
    return backend.create(users.uri, shared_by_all(page_size)) ? 0 : 1;
  }) == 0);
  const auto identity = users.root.stat(users.uri).value().identity;
  const std::string before = users.os.read_file(users.file_of("mesh")).value();
  const auto refuses = [&] {
    for (const bool is_forced : {true, false}) {
      CHECK(users.as(kBob, [&](ShmBackend& backend) {
        const auto removed = backend.remove(users.uri, {.even_if_attached = is_forced});
        if (removed) return 1;
        if (removed.error().code() != Code::permission_denied) return 2;
        return removed.error().message().find("uid 1234") == std::string::npos ? 3 : 0;
      }) == 0);
      CHECK(users.os.read_file(users.file_of("mesh")).value() == before);
      if (is_apart) CHECK(users.os.stat(users.payload_of(identity)));
    }
    CHECK(users.as(kAlice, [&](ShmBackend& backend) {
      if (!backend.attach(users.uri, {})) return 1;
      const auto decisions = backend.reclaim({}, {}).value();
      if (decisions.size() != 1 || decisions[0].is_orphan) return 2;
      return backend.remove(users.uri, {}) ? 0 : 3;
    }) == 0);
    CHECK(std::filesystem::is_empty(users.directory.path()));
    CHECK(std::filesystem::is_empty(users.huge.path()));
  };
  SECTION("the name stands in a sticky directory") { refuses(); }
  SECTION("the payload's name does") {
    REQUIRE(chmod(users.directory.path().c_str(), 0777) == 0);
    if (is_apart) refuses();
  }
  SECTION("where anybody may remove anything, it is removed") {
    REQUIRE(chmod(users.directory.path().c_str(), 0777) == 0);
    REQUIRE(chmod(users.huge.path().c_str(), 0777) == 0);
    CHECK(users.as(kBob, [&](ShmBackend& backend) {
      return backend.remove(users.uri, {}) ? 0 : 1;
    }) == 0);
    CHECK(std::filesystem::is_empty(users.directory.path()));
    CHECK(std::filesystem::is_empty(users.huge.path()));
  }
}

TEST_CASE("a_refused_seal_leaves_the_segment_as_it_was") {
  NEEDS_ROOT();
  Users users;
  REQUIRE(users.as(kAlice, [&](ShmBackend& backend) {
    return backend.create(users.uri, shared_by_all(PageSize::base)) ? 0 : 1;
  }) == 0);
  const std::string before = users.os.read_file(users.file_of("mesh")).value();
  CHECK(users.as(kBob, [&](ShmBackend& backend) {
    auto segment = backend.attach(users.uri, {});
    if (!segment) return 1;
    const auto sealed = segment->seal();
    return sealed || sealed.error().code() != Code::permission_denied ? 2 : 0;
  }) == 0);
  CHECK(users.os.read_file(users.file_of("mesh")).value() == before);
  CHECK(users.as(kAlice, [&](ShmBackend& backend) {
    auto segment = backend.attach(users.uri, {});
    return segment && segment->seal() ? 0 : 1;
  }) == 0);
}

TEST_CASE("a_file_in_the_shape_of_an_unfinished_removal_ends_no_living_segment") {
  NEEDS_ROOT();
  Users users;
  REQUIRE(users.as(kAlice, [&](ShmBackend& backend) {
    return backend.create(users.uri, shared_by_all(PageSize::huge_2m)) ? 0 : 1;
  }) == 0);
  const IdentityBlock identity = users.root.stat(users.uri).value().identity;
  const std::string shape = users.file_of("-mesh." + uuid_text(identity.uuid) + ".00000000");
  SECTION("a second name of it") {
    REQUIRE(link(users.file_of("mesh").c_str(), shape.c_str()) == 0);
  }
  SECTION("a header that another user wrote") {
    users.forge(kBob, "mesh", shape, [&](IdentityBlock& forged) { forged.uuid = identity.uuid; });
  }
  SECTION("a header of another name") { users.forge(kBob, "other", shape); }
  (void)users.root.reclaim({}, {});
  CHECK(users.os.stat(users.payload_of(identity)));
  CHECK(users.root.attach(users.uri, {}));
}
