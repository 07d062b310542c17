#include "strata/pmem/pool.h"

#include <fcntl.h>
#include <signal.h>

#include <cstring>
#include <fstream>

#include "pmem/pmem_backend.h"
#include "pmem/pool_access.h"
#include "pmem/pool_testing.h"
#include "tests/catch.h"

using namespace strata;
using strata::test::in_child;
using strata::test::make_pool;
using strata::test::TempDir;

namespace {

StagedSegment stage_text(const Pool& pool, const std::string& name, const std::string& text,
                         std::uint32_t keep_versions = 0) {
  StagedSegment staged =
      pool.stage({.name = name, .payload_bytes = text.size(), .keep_versions = keep_versions})
          .value();
  std::memcpy(staged.payload().data(), text.data(), text.size());
  return staged;
}

std::string text_of(Os& os, const Pool& pool, const std::string& name, std::uint64_t version = 0) {
  PmemBackend backend(os);
  const auto segment =
      backend.attach_version({"pmem", pool.path(), name}, version, {.access = Access::read_only});
  if (!segment) return std::string(code_name(segment.error().code()));
  const auto bytes = segment->host_bytes().value();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE("pmempool_agrees_that_a_pool_is_a_sound_libpmemobj_pool") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p.pool");
  REQUIRE(pool.publish_one(stage_text(pool, "a", "one")));
  CHECK(std::system(("pmempool check " + pool.path()).c_str()) == 0);
  CHECK(std::system(("pmempool info " + pool.path() + " | grep -q 'Layout *: strata'").c_str()) ==
        0);
}

TEST_CASE("several_segments_are_replaced_at_once_and_readers_keep_the_old") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p.pool");
  PmemBackend backend(os);
  std::vector<StagedSegment> first;
  first.push_back(stage_text(pool, "a", "a1"));
  first.push_back(stage_text(pool, "b", "b1"));
  CHECK(text_of(os, pool, "a") == "not_found");
  REQUIRE(pool.publish(first));
  const Segment reader =
      backend.attach({"pmem", pool.path(), "a"}, {.access = Access::read_only}).value();
  std::vector<StagedSegment> second;
  second.push_back(stage_text(pool, "a", "a2"));
  second.push_back(stage_text(pool, "b", "b2"));
  REQUIRE(pool.publish(second));
  CHECK(text_of(os, pool, "a") == "a2");
  CHECK(text_of(os, pool, "b") == "b2");
  CHECK(std::memcmp(reader.host_bytes().value().data(), "a1", 2) == 0);
}

TEST_CASE("a_group_with_one_member_in_use_for_writing_changes_nothing") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p.pool");
  PmemBackend backend(os);
  REQUIRE(pool.publish_one(stage_text(pool, "a", "a1")));
  REQUIRE(pool.publish_one(stage_text(pool, "b", "b1")));
  const Segment writer = backend.attach({"pmem", pool.path(), "b"}, {}).value();
  std::vector<StagedSegment> group;
  group.push_back(stage_text(pool, "a", "a2"));
  group.push_back(stage_text(pool, "b", "b2"));
  CHECK(pool.publish(group).error().code() == Code::failed_precondition);
  CHECK(text_of(os, pool, "a") == "a1");
  CHECK(text_of(os, pool, "b") == "b1");
}

TEST_CASE("what_is_published_as_one_has_one_version_number") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p.pool");
  REQUIRE(pool.publish_one(stage_text(pool, "a", "a1", 2)));
  REQUIRE(pool.publish_one(stage_text(pool, "a", "a2", 2)));
  std::vector<StagedSegment> both;
  both.push_back(stage_text(pool, "a", "a3", 2));
  both.push_back(stage_text(pool, "b", "b3", 2));
  CHECK(pool.publish_as_one(both).value() == 3);
  CHECK(both[1].version() == 3);
  std::vector<StagedSegment> second;
  second.push_back(stage_text(pool, "b", "b4", 2));
  second.push_back(stage_text(pool, "c", "c4", 2));
  CHECK(pool.publish_as_one(second).value() == 4);

  std::vector<StagedSegment> twice;
  twice.push_back(stage_text(pool, "c", "x", 2));
  twice.push_back(stage_text(pool, "c", "y", 2));
  CHECK(pool.publish_as_one(twice).error().code() == Code::invalid_argument);
  std::vector<std::string> there;
  const std::vector<PoolVersion> versions = pool.versions().value();
  for (const PoolVersion& each : versions)
    there.push_back(each.name + std::to_string(each.version));
  CHECK(there == std::vector<std::string>{"a3", "a2", "a1", "b4", "b3", "c4"});
}

TEST_CASE("as_many_old_versions_are_kept_as_were_asked_for_and_can_be_rolled_back_to") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p.pool");
  for (const char* text : {"v1", "v2", "v3", "v4"}) {
    REQUIRE(pool.publish_one(stage_text(pool, "a", text, 2)));
  }
  CHECK(text_of(os, pool, "a") == "v4");
  CHECK(text_of(os, pool, "a", 3) == "v3");
  CHECK(text_of(os, pool, "a", 2) == "v2");
  CHECK(text_of(os, pool, "a", 1) == "not_found");
  REQUIRE(pool.rollback("a", 2));
  CHECK(text_of(os, pool, "a") == "v2");
  CHECK(text_of(os, pool, "a", 4) == "v4");
  CHECK(pool.rollback("a", 1).error().code() == Code::not_found);
  REQUIRE(pool.publish_one(stage_text(pool, "a", "v5", 2)));
  CHECK(pool.entries().value().front().entry.version == 5);
  CHECK(pool.trim("a", 0).value() == 2);
}

TEST_CASE("a_rename_keeps_the_bytes_and_refuses_a_name_that_is_taken") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p.pool");
  REQUIRE(pool.publish_one(stage_text(pool, "a", "bytes")));
  REQUIRE(pool.publish_one(stage_text(pool, "b", "other")));
  CHECK(pool.rename("a", "b").error().code() == Code::already_exists);
  CHECK(pool.rename("zzz", "c").error().code() == Code::not_found);
  CHECK(pool.rename("a", "../c").error().code() == Code::invalid_argument);
  REQUIRE(pool.rename("a", "c"));
  CHECK(text_of(os, pool, "c") == "bytes");
  CHECK(text_of(os, pool, "a") == "not_found");
}

TEST_CASE("a_resize_keeps_the_bytes_and_zeroes_the_rest") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p.pool");
  REQUIRE(pool.publish_one(stage_text(pool, "a", "abcdef")));
  REQUIRE(pool.resize("a", 8));
  CHECK(text_of(os, pool, "a") == std::string("abcdef\0\0", 8));
  REQUIRE(pool.resize("a", 3));
  CHECK(text_of(os, pool, "a") == "abc");
  PmemBackend backend(os);
  const Segment writer = backend.attach({"pmem", pool.path(), "a"}, {}).value();
  CHECK(pool.resize("a", 100).error().code() == Code::failed_precondition);
}

TEST_CASE("what_is_no_strata_pool_is_refused_with_the_reason") {
  RealOs os;
  const TempDir dir;
  const auto code = [&](const std::string& path) { return Pool::open(os, path).error().code(); };
  CHECK(code(dir / "none") == Code::not_found);
  CHECK(code(dir.path()) != Code::internal);
  std::ofstream(dir / "empty");
  CHECK(code(dir / "empty") == Code::invalid_argument);
  std::ofstream(dir / "text") << std::string(20000, 'x');
  CHECK(code(dir / "text") == Code::invalid_argument);
  REQUIRE(std::system(("pmempool create obj --layout other " + (dir / "other")).c_str()) == 0);
  CHECK(code(dir / "other") == Code::unsupported);
  REQUIRE(std::system(("pmempool create blk 512 " + (dir / "blk")).c_str()) == 0);
  CHECK(code(dir / "blk") == Code::unsupported);
  REQUIRE(std::system(("pmempool create obj --layout strata " + (dir / "bare")).c_str()) == 0);
  CHECK(code(dir / "bare") == Code::corrupt);
  CHECK(Pool::create(os, dir / "tiny", {.bytes = MiB(1)}).error().code() == Code::invalid_argument);
  make_pool(os, dir / "p");
  CHECK(Pool::create(os, dir / "p", {.bytes = MiB(16)}).error().code() == Code::already_exists);
}

TEST_CASE("a_c_program_that_knows_only_libpmemobj_reads_a_segment_of_the_pool") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p.pool");
  REQUIRE(pool.publish_one(stage_text(pool, "greeting", "hello from another program")));
  const char* reader = std::getenv("STRATA_FOREIGN_READER");
  REQUIRE(reader != nullptr);
  const std::string command =
      std::string(reader) + " " + pool.path() + " greeting > " + (dir / "out");
  REQUIRE(std::system(command.c_str()) == 0);
  std::ifstream out(dir / "out");
  std::string line;
  std::getline(out, line);
  CHECK(line == "hello from another program");
  CHECK(std::system(("pmempool check " + pool.path()).c_str()) == 0);
}

TEST_CASE("the_room_that_a_killed_process_had_staged_is_there_for_the_next") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p.pool", MiB(16));
  const auto stage_most = [&] { return pool.stage({.name = "a", .payload_bytes = MiB(8)}); };
  const int status = in_child([&] {
    const auto staged = stage_most();
    if (staged) ::raise(SIGKILL);
    return 1;
  });
  REQUIRE(strata::test::was_killed(status));
  const auto staged = stage_most();
  INFO((staged ? "" : staged.error().message()));
  CHECK(staged);
}

TEST_CASE("the_room_of_what_was_removed_in_use_is_there_when_its_last_reader_has_gone") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p.pool", MiB(16));
  PmemBackend backend(os);
  { REQUIRE(backend.create({"pmem", pool.path(), "a"}, {.payload_bytes = MiB(8)})); }
  {
    const Segment reader =
        backend.attach({"pmem", pool.path(), "a"}, {.access = Access::read_only}).value();
    REQUIRE(backend.remove({"pmem", pool.path(), "a"}, {.even_if_attached = true}));
    CHECK(!backend.create({"pmem", pool.path(), "b"}, {.payload_bytes = MiB(8)}));
  }
  const auto made = backend.create({"pmem", pool.path(), "b"}, {.payload_bytes = MiB(8)});
  INFO((made ? "" : made.error().message()));
  CHECK(made);
}

TEST_CASE("the_room_of_a_creator_that_died_is_there_for_the_next_of_its_name") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p.pool", MiB(16));
  const CreateOptions most{.payload_bytes = MiB(8), .publish = Publish::by_creator};
  const int status = in_child([&] {
    RealOs child_os;
    PmemBackend backend(child_os);
    const auto made = backend.create({"pmem", pool.path(), "a"}, most);
    if (made) ::raise(SIGKILL);
    return 1;
  });
  REQUIRE(strata::test::was_killed(status));
  PmemBackend backend(os);
  const auto made = backend.create({"pmem", pool.path(), "a"}, most);
  INFO((made ? "" : made.error().message()));
  CHECK(made);
}
