// What a header says of its payload goes along with the bytes: into pools and out of them, through
// versions, snapshots, larger pools, backups and repairs.

#include "strata/segment/content.h"

#include <cstring>
#include <vector>

#include "pmem/pmem_backend.h"
#include "pmem/pool_check.h"
#include "pmem/repair.h"
#include "segment/fake_backend.h"
#include "strata/copy.h"
#include "strata/pmem/backup.h"
#include "strata/pmem/snapshot.h"
#include "strata/strata.h"
#include "tests/catch.h"
#include "tests/temp_dir.h"

using namespace strata;

namespace {

const Content kArray{.type = "array", .element = "<f8", .shape = {100, 3}};
constexpr std::uint64_t kArrayBytes = 2400;

Catalog make_world(Os& os) {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::make_unique<FakeBackend>(os));
  backends.push_back(std::make_unique<PmemBackend>(os));
  return Catalog(std::move(backends));
}

struct World {
  RealOs os;
  test::TempDir directory{"/dev/shm"};
  Pool pool = Pool::create(os, directory / "p", {.bytes = MiB(16)}).value();
  Catalog catalog = make_world(os);

  std::string in_pool(const std::string& name) const { return in(pool.path(), name); }
  static std::string in(const std::string& path, const std::string& name) {
    return "pmem:" + path + "#" + name;
  }
  Segment create(const std::string& uri, const Content& content, std::uint64_t max_bytes = 0) {
    CreateOptions options{.max_bytes = max_bytes, .placement = {}, .job_id = {}};
    options.content = content;
    return catalog.create(uri, options).value();
  }
  // The same of a segment that was never attached.
  std::string content_of(const std::string& uri) {
    const auto attached = catalog.attach(uri, {.access = Access::read_only});
    if (!attached) return attached.error().to_string();
    const Content told = attached->content().value();
    CHECK(catalog.stat(uri)->content.value() == told);
    return told.to_string();
  }
};

// Made by rows as an array, and with three more since.
Segment grown_array(World& world, const std::string& uri) {
  Segment segment = world.create(uri, kArray, 10'000);
  REQUIRE(segment.grow(kArrayBytes + 3 * 24 + 5));
  return segment;
}

constexpr const char* kGrown = "array of <f8, 103x3";

}  // namespace

TEST_CASE_METHOD(World, "a_copy_is_of_the_same_content_as_its_source") {
  const Segment made = create("fake:made", kArray);
  SegmentSource from(made);
  REQUIRE(copy(catalog, from, "fake:copy"));
  CHECK(content_of("fake:copy") == "array of <f8, 100x3");
  REQUIRE(copy(catalog, from, in_pool("copy"), {.finish = CopyFinish::seal}));
  CHECK(content_of(in_pool("copy")) == "array of <f8, 100x3");
  REQUIRE(copy(catalog, from, in_pool("copy"), {.if_exists = IfExists::new_version}));
  CHECK(content_of(in_pool("copy")) == "array of <f8, 100x3");
  const auto version = open_version(pool, "copy", 0).value();
  REQUIRE(copy(catalog, *version, "fake:back"));
  CHECK(content_of("fake:back") == "array of <f8, 100x3");
}

TEST_CASE_METHOD(World, "a_copy_of_bytes_is_what_its_options_say") {
  const std::vector<std::byte> bytes(kArrayBytes);
  SpanSource from(bytes);
  CopyOptions options;
  options.create.content = kArray;
  REQUIRE(copy(catalog, from, "fake:a", options));
  CHECK(content_of("fake:a") == "array of <f8, 100x3");
  options.create.content.shape = {101, 3};
  CHECK(copy(catalog, from, "fake:b", options).error().code() == Code::invalid_argument);
  CHECK(copy(catalog, from, in_pool("b"), options).error().code() == Code::invalid_argument);
  CHECK(catalog.stat(in_pool("b")).error().code() == Code::not_found);
}

TEST_CASE_METHOD(World, "a_segment_is_overwritten_by_the_same_content_and_by_plain_bytes_alone") {
  const Segment made = create("fake:made", kArray);
  create("fake:as_long", {.type = "array", .element = "<i4", .shape = {600}});
  SegmentSource from(made);
  const CopyOptions overwrite{.if_exists = IfExists::overwrite};
  const auto refused = copy(catalog, from, "fake:as_long", overwrite);
  REQUIRE(!refused);
  CHECK(refused.error().code() == Code::failed_precondition);
  CHECK(refused.error().message().find("array of <i4, 600") != std::string::npos);
  create("fake:same", kArray);
  CHECK(copy(catalog, from, "fake:same", overwrite));
  const std::vector<std::byte> bytes(kArrayBytes);
  SpanSource plain(bytes);
  CHECK(copy(catalog, plain, "fake:same", overwrite));
  CHECK(content_of("fake:same") == "array of <f8, 100x3");
  // What has fewer rows grows to as many, and is the same then.
  const Segment shorter =
      create("fake:shorter", {.type = "array", .element = "<f8", .shape = {10, 3}}, 10'000);
  CHECK(copy(catalog, from, "fake:shorter", overwrite));
  CHECK(content_of("fake:shorter") == "array of <f8, 100x3");
}

TEST_CASE_METHOD(World, "a_checkpoint_keeps_the_content_of_its_segment_or_what_it_is_told") {
  const Segment made = grown_array(*this, "fake:made");
  REQUIRE(checkpoint(made, pool, "saved"));
  CHECK(content_of(in_pool("saved")) == kGrown);
  const std::vector<std::byte> bytes(kArrayBytes);
  CheckpointOptions options;
  options.content = kArray;
  REQUIRE(checkpoint(bytes, pool, "told", options));
  REQUIRE(checkpoint(bytes, pool, "told"));
  REQUIRE(checkpoint(bytes, pool, "told", options));
  CHECK(content_of(in_pool("told")) == "array of <f8, 100x3");
  // Each version has its own.
  REQUIRE(pool.rollback("told", 2));
  CHECK(content_of(in_pool("told")) == "bytes");
}

TEST_CASE_METHOD(World,
                 "a_copy_of_the_content_that_cannot_be_read_is_refused_and_not_made_of_bytes") {
  Segment made = create("fake:made", kArray);
  header_page_of(made).content.shape[0] = 7;
  CHECK(made.content().error().code() == Code::corrupt);
  CHECK(catalog.stat("fake:made")->content.error().code() == Code::corrupt);
  CHECK(catalog.attach("fake:made"));
  SegmentSource from(made);
  CHECK(copy(catalog, from, "fake:copy").error().code() == Code::corrupt);
  CHECK(checkpoint(made, pool, "saved").error().code() == Code::corrupt);
  CHECK(catalog.stat("fake:copy").error().code() == Code::not_found);
  CopyOptions told;
  told.create.content = kArray;
  CHECK(copy(catalog, from, "fake:copy", told));
}

TEST_CASE_METHOD(World, "within_a_pool_the_content_stays_with_its_segment") {
  create(in_pool("array"), kArray);
  grown_array(*this, in_pool("grown"));
  SECTION("renamed") {
    REQUIRE(pool.rename("array", "other"));
    CHECK(content_of(in_pool("other")) == "array of <f8, 100x3");
  }
  SECTION("cloned") {
    REQUIRE(clone_segment(pool, "grown", 0, "clone"));
    CHECK(content_of(in_pool("clone")) == kGrown);
  }
  SECTION("made larger by another object") {
    REQUIRE(pool.resize("array", 2 * kArrayBytes));
    CHECK(content_of(in_pool("array")) == "array of <f8, 200x3");
  }
  SECTION("made larger in place") {
    REQUIRE(pool.resize("grown", 4800));
    CHECK(content_of(in_pool("grown")) == "array of <f8, 200x3");
  }
  SECTION("made smaller") {
    REQUIRE(pool.resize("array", 1000));
    CHECK(content_of(in_pool("array")) == "array of <f8, 41x3");
    REQUIRE(pool.resize("array", 10));
    CHECK(content_of(in_pool("array")) == "array of <f8, 0x3");
  }
  SECTION("what has no rows is not cut in two") {
    create(in_pool("table"), {.type = "my.table", .element = "<f8", .shape = {10}});
    CHECK(pool.resize("table", 79).error().code() == Code::invalid_argument);
    REQUIRE(pool.resize("table", 800));
    CHECK(content_of(in_pool("table")) == "my.table of <f8, 10");
  }
}

TEST_CASE_METHOD(World, "copies_of_a_pool_say_the_same_of_their_segments") {
  create(in_pool("array"), kArray);
  grown_array(*this, in_pool("grown"));
  create(in_pool("lock"), {.type = "strata.Lock", .element = "|u1", .shape = {64}});
  REQUIRE(checkpoint(catalog.attach(in_pool("array")).value(), pool, "saved"));
  const auto check = [&](const std::string& path) {
    CHECK(content_of(in(path, "array")) == "array of <f8, 100x3");
    CHECK(content_of(in(path, "grown")) == kGrown);
    CHECK(content_of(in(path, "lock")) == "strata.Lock of |u1, 64");
    CHECK(content_of(in(path, "saved")) == "array of <f8, 100x3");
    // What was copied when it had grown goes on growing.
    Segment grown = catalog.attach(in(path, "grown")).value();
    REQUIRE(grown.grow(4800));
    CHECK(grown.content()->shape.front() == 200);
  };
  SECTION("snapshot") {
    REQUIRE(snapshot_pool(pool, directory / "snapshot"));
    check(directory / "snapshot");
  }
  SECTION("backup") {
    REQUIRE(backup_pool(pool, directory / "backup"));
    REQUIRE(restore_pool(os, directory / "backup", directory / "restored"));
    check(directory / "restored");
  }
  SECTION("larger pool") {
    REQUIRE(grow_pool(pool, MiB(32)));
    check(pool.path());
  }
  SECTION("repair") {
    REQUIRE(repair_pool(os, pool.path(), {.to = directory / "repaired"}));
    check(directory / "repaired");
  }
}

TEST_CASE_METHOD(World, "a_pool_in_which_content_is_damaged_is_found_and_repaired_to_its_bytes") {
  {
    Segment array = create(in_pool("array"), kArray);
    REQUIRE(array.write(0, std::as_bytes(std::span("bytes"))));
    header_page_of(array).content.shape[0] = 99;
  }
  const auto found = check_pool(os, pool.path(), {}).value();
  CHECK(found.verdict() == CheckOutcome::damaged);
  CHECK(grow_pool(pool, MiB(32)).error().code() == Code::corrupt);
  const auto report = repair_pool(os, pool.path(), {.to = directory / "repaired"}).value();
  REQUIRE(report.lost.size() == 1);
  CHECK(report.lost.front().find("its bytes are there") != std::string::npos);
  CHECK(report.check.verdict() == CheckOutcome::sound);
  const std::string repaired = in(directory / "repaired", "array");
  CHECK(content_of(repaired) == "bytes");
  std::array<char, 6> bytes{};
  REQUIRE(catalog.attach(repaired)->read(0, std::as_writable_bytes(std::span(bytes))));
  CHECK(std::string(bytes.data()) == "bytes");
}
