#include "numa/place.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "numa/limits.h"
#include "os/fault_os.h"
#include "strata/base/bytes.h"
#include "tests/catch.h"
#include "tests/skip.h"

using namespace strata;
using Catch::Matchers::Contains;

namespace {

// A memfd of `bytes`, mapped at a multiple of 2 MiB.
struct Mapped {
  Mapped(Os& os, std::uint64_t bytes) : reserved_bytes(bytes + MiB(2)) {
    fd = os.memfd_create("strata-place", 0).value();
    REQUIRE(os.ftruncate(fd.get(), bytes));
    reserved = static_cast<std::byte*>(mmap(nullptr, reserved_bytes, PROT_NONE,
                                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    auto* at =
        reinterpret_cast<std::byte*>(align_up(reinterpret_cast<std::uintptr_t>(reserved), MiB(2)));
    range = {map_at(at, bytes), bytes};
  }
  ~Mapped() { munmap(reserved, reserved_bytes); }
  std::byte* map_at(std::byte* at, std::uint64_t bytes) const {
    return static_cast<std::byte*>(
        mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd.get(), 0));
  }

  std::uint64_t reserved_bytes;
  std::byte* reserved;
  Fd fd;
  std::span<std::byte> range;
};

// All on this machine's first node, with the policy really set although there may be no other.
Plan on_first_node(std::uint64_t bytes, PageSize page_size = PageSize::base) {
  RealOs os;
  const Topology topology = Topology::from_machine(os).value();
  Plan plan = make_plan(topology, on_node(topology.nodes()[0].node), bytes, page_size).value();
  plan.has_other_nodes = true;
  return plan;
}

bool policies_work() {
  RealOs os;
  const Mapped mapped(os, kPageBytes);
  Plan plan = on_first_node(kPageBytes);
  plan.is_strict = true;
  return bind_pages(os, mapped.range, plan).has_value();
}

}  // namespace

TEST_CASE("a_placed_range_is_present_on_its_node_and_zero") {
  if (!policies_work()) SKIP_TEST("memory policies are refused here");
  RealOs os;
  const Mapped mapped(os, MiB(5));
  Plan plan = on_first_node(MiB(5));
  plan.is_strict = true;
  const auto got = place(os, mapped.range, plan, {.fd = mapped.fd.get()});
  REQUIRE(got);
  CHECK(got->pages_total == 1280);
  CHECK(got->pages_absent == 0);
  CHECK(got->pages_on_node == plan.expected);
  CHECK(got->huge_bytes == 0);
  CHECK(std::all_of(mapped.range.begin(), mapped.range.end(),
                    [](std::byte byte) { return byte == std::byte{0}; }));
}

TEST_CASE("commit_keeps_what_was_written_before") {
  RealOs os;
  const Mapped mapped(os, MiB(4));
  std::memset(mapped.range.data() + MiB(1), 7, MiB(2));
  REQUIRE(commit(os, mapped.range, local_plan(MiB(4), PageSize::thp)));
  CHECK(mapped.range[MiB(1) - 1] == std::byte{0});
  CHECK(mapped.range[MiB(1)] == std::byte{7});
  CHECK(mapped.range[MiB(3) - 1] == std::byte{7});
  CHECK(mapped.range[MiB(3)] == std::byte{0});
}

TEST_CASE("asking_makes_no_pages") {
  RealOs os;
  const Mapped mapped(os, MiB(4));
  mapped.range[kPageBytes * 3] = std::byte{1};
  const auto got = report(os, mapped.range);
  REQUIRE(got);
  CHECK(got->pages_absent == 1023);
  CHECK(os.fstat(mapped.fd.get()).value().st_blocks == 8);
}

TEST_CASE("pages_that_another_mapping_made_are_seen") {
  RealOs os;
  const Mapped mapped(os, MiB(4));
  REQUIRE(commit(os, mapped.range.first(MiB(1)), local_plan(MiB(1), PageSize::base)));
  REQUIRE(mapped.map_at(mapped.range.data(), MiB(4)) != MAP_FAILED);  // an empty page table
  const auto got = report(os, mapped.range);
  REQUIRE(got);
  CHECK(got->pages_absent == 768);
}

TEST_CASE("2_mib_pages_are_told_by_the_kernel_and_their_absence_is_noted") {
  RealOs os;
  const Mapped mapped(os, MiB(8) + kPageBytes);
  const auto got = place(os, mapped.range, local_plan(MiB(8) + kPageBytes, PageSize::thp),
                         {.fd = mapped.fd.get()});
  REQUIRE(got);
  CHECK(got->pages_absent == 0);
  CHECK(got->huge_bytes % MiB(2) == 0);
  CHECK((got->huge_bytes == MiB(8) || !got->notes.empty()));
}

TEST_CASE("more_than_the_machine_has_is_exhausted_before_anything_is_touched") {
  RealOs os;
  const std::uint64_t bytes = GiB(1) << 14;  // 16 TiB
  const Fd fd = os.memfd_create("strata-huge", 0).value();
  REQUIRE(os.ftruncate(fd.get(), bytes));
  const auto room = check_room(os, fd.get(), bytes, PageSize::base);
  REQUIRE(!room);
  CHECK(room.error().code() == Code::exhausted);
  CHECK_THAT(room.error().message(), Contains("16 TiB") || Contains("free of"));
  CHECK(os.fstat(fd.get()).value().st_blocks == 0);
}

TEST_CASE("an_empty_hugetlb_pool_is_named_with_its_remedy") {
  RealOs os;
  const auto room = check_room(os, -1, GiB(1) << 14, PageSize::huge_2m);
  REQUIRE(!room);
  CHECK(room.error().code() == Code::exhausted);
  CHECK_THAT(room.error().message(), Contains("pool of 2 MiB huge pages"));
  CHECK_THAT(room.error().message(), Contains("nr_hugepages"));
}

TEST_CASE("a_failed_populate_names_the_limits_and_never_faults") {
  FaultOs os;
  const Mapped mapped(os, MiB(4));
  os.only("madvise");
  os.fail_at(1, EFAULT);
  const auto done =
      commit(os, mapped.range, local_plan(MiB(4), PageSize::base), {.fd = mapped.fd.get()});
  REQUIRE(!done);
  CHECK(done.error().code() == Code::exhausted);
  CHECK_THAT(done.error().message(), Contains("memory of this machine"));
}

TEST_CASE("a_kernel_without_populate_gets_its_memory_reserved_and_touched") {
  FaultOs os;
  const Mapped mapped(os, MiB(4));
  os.only("madvise");
  os.fail_at(1, EINVAL, 1000);
  REQUIRE(commit(os, mapped.range, local_plan(MiB(4), PageSize::base), {.fd = mapped.fd.get()}));
  CHECK(os.fstat(mapped.fd.get()).value().st_blocks == static_cast<blkcnt_t>(MiB(4) / 512));
}

TEST_CASE("refused_policies_are_noted_or_fail_when_strict") {
  FaultOs os;
  const Mapped mapped(os, MiB(1));
  Plan plan = on_first_node(MiB(1));
  for (const int error : {EPERM, ENOSYS}) {
    os.reset();
    os.only("mbind");
    os.fail_at(1, error, 1000);
    const auto got = place(os, mapped.range, plan, {.fd = mapped.fd.get()});
    REQUIRE(got);
    REQUIRE(got->notes.size() == 1);
    CHECK_THAT(got->notes[0], Contains("refuses memory policies"));
    plan.is_strict = true;
    const auto strict = place(os, mapped.range, plan, {.fd = mapped.fd.get()});
    REQUIRE(!strict);
    CHECK(strict.error().code() == (error == EPERM ? Code::permission_denied : Code::unsupported));
    plan.is_strict = false;
  }
}

TEST_CASE("an_old_kernel_gives_the_same_report") {
  FaultOs os;
  const Mapped mapped(os, MiB(6));
  REQUIRE(commit(os, mapped.range.subspan(MiB(2), MiB(2)), local_plan(MiB(2), PageSize::thp)));
  const auto now = report(os, mapped.range).value();
  os.only("pagemap_scan");
  os.fail_at(1, ENOTTY, 1000);
  const auto before = report(os, mapped.range).value();
  CHECK(now.pages_absent == 1024);
  CHECK(before.pages_absent == now.pages_absent);
  CHECK(before.huge_bytes == now.huge_bytes);
  CHECK(before.pages_on_node == now.pages_on_node);
}

TEST_CASE("unknown_page_nodes_are_noted_or_fail_when_strict") {
  // A kernel that tells nothing of pages, as under a seccomp filter.
  class SilentOs final : public Os {
    int before(const char* call) override {
      const std::string name = call;
      return name == "pagemap_scan" || name == "move_pages" ? EPERM : 0;
    }
  };
  SilentOs os;
  const Mapped mapped(os, MiB(1));
  Plan plan = on_first_node(MiB(1));
  plan.has_other_nodes = false;
  const auto got = place(os, mapped.range, plan, {.fd = mapped.fd.get()});
  REQUIRE(got);
  CHECK(got->pages_on_node.empty());
  CHECK_THAT(got->notes.at(0), Contains("not known"));
  plan.is_strict = true;
  CHECK(!place(os, mapped.range, plan, {.fd = mapped.fd.get()}));
}

TEST_CASE("every_failing_call_of_place_gives_an_error_or_the_whole_range") {
  FaultOs os;
  Plan plan = on_first_node(MiB(4), PageSize::thp);
  std::uint64_t calls = 0;
  for (std::uint64_t n = 0; n <= calls; ++n) {
    const Mapped mapped(os, MiB(4));
    os.reset();
    if (n > 0) os.fail_at(n, EIO);
    const auto got = place(os, mapped.range, plan, {.fd = mapped.fd.get(), .threads = 2});
    if (n == 0) calls = os.calls();
    os.reset();
    if (got) {
      const auto whole = report(os, mapped.range);
      REQUIRE(whole);
      CHECK(whole->pages_absent == 0);
    } else {
      CHECK(!got.error().message().empty());
    }
  }
  CHECK(calls > 5);
}

TEST_CASE("strict_verification_tells_asked_and_got") {
  Plan plan;
  plan.mode = Plan::Mode::bind;
  plan.nodes = {1};
  plan.is_strict = true;
  plan.expected = {{1, 100}};
  PlacementReport got;
  got.pages_total = 100;
  got.pages_on_node = {{0, 40}, {1, 60}};
  const auto failed = verify(plan, got);
  REQUIRE(!failed);
  CHECK(failed.error().code() == Code::failed_precondition);
  CHECK_THAT(failed.error().message(), Contains("asked for 100 on node 1"));
  CHECK_THAT(failed.error().message(), Contains("got 40 on node 0, 60 on node 1"));
  plan.is_strict = false;
  CHECK(verify(plan, got));
}

TEST_CASE("strict_interleave_refuses_a_lopsided_share") {
  Plan plan;
  plan.mode = Plan::Mode::interleave;
  plan.nodes = {0, 1};
  plan.is_strict = true;
  plan.expected = {{0, 500}, {1, 500}};
  PlacementReport got;
  got.pages_total = 1000;
  got.pages_on_node = {{0, 501}, {1, 499}};
  CHECK(verify(plan, got));
  got.pages_on_node = {{0, 900}, {1, 100}};
  CHECK(!verify(plan, got));
}

TEST_CASE("the_placement_block_carries_a_report_and_detects_damage") {
  PlacementBlock block{};
  CHECK(load_report(block).error().code() == Code::not_found);
  PlacementReport report;
  report.pages_total = 10;
  report.pages_absent = 2;
  report.huge_bytes = 4096;
  report.pages_on_node = {{0, 5}, {63, 3}};
  store(report, block);
  CHECK(block.sequence == 2);
  const auto loaded = load_report(block);
  REQUIRE(loaded);
  CHECK(loaded->pages_on_node == report.pages_on_node);
  CHECK(loaded->pages_absent == 2);
  CHECK(loaded->huge_bytes == 4096);
  block.pages_on_node[5] ^= 1;
  CHECK(load_report(block).error().code() == Code::corrupt);
  block.sequence = 7;  // a writer died
  CHECK(load_report(block).error().code() == Code::timed_out);
  store(report, block);
  CHECK(load_report(block));
  CHECK(block.sequence == 8);
}

TEST_CASE("migrating_to_where_the_pages_are_changes_nothing") {
  if (!policies_work()) SKIP_TEST("memory policies are refused here");
  RealOs os;
  const Mapped mapped(os, MiB(2));
  const Plan plan = on_first_node(MiB(2));
  REQUIRE(place(os, mapped.range, plan, {.fd = mapped.fd.get()}));
  mapped.range[4711] = std::byte{9};
  const auto got = migrate(os, mapped.range, plan);
  REQUIRE(got);
  CHECK(got->pages_on_node == plan.expected);
  CHECK(mapped.range[4711] == std::byte{9});
}

TEST_CASE("a_migration_that_the_kernel_refuses_says_so") {
  if (!policies_work()) SKIP_TEST("memory policies are refused here");
  FaultOs os;
  const Mapped mapped(os, MiB(1));
  const Plan here = on_first_node(MiB(1));
  REQUIRE(place(os, mapped.range, here, {.fd = mapped.fd.get()}));
  for (const char* call : {"mbind", "move_pages"}) {
    os.reset();
    os.only(call);
    os.fail_at(1, EPERM, 1000);
    const auto refused = migrate(os, mapped.range, here);
    REQUIRE(!refused);
    CHECK(refused.error().code() == Code::permission_denied);
  }
  CHECK(migrate(os, mapped.range, local_plan(MiB(1), PageSize::base)).error().code() ==
        Code::invalid_argument);
}

TEST_CASE("a_migration_to_where_no_memory_is_leaves_the_pages_and_tells_how_many") {
  if (!policies_work()) SKIP_TEST("memory policies are refused here");
  RealOs os;
  const Mapped mapped(os, MiB(1));
  Plan plan = on_first_node(MiB(1));
  REQUIRE(place(os, mapped.range, plan, {.fd = mapped.fd.get()}));
  plan.mode = Plan::Mode::interleave;  // over a node that does not exist: the last number
  plan.nodes.push_back(1023);
  const auto failed = migrate(os, mapped.range, plan);
  REQUIRE(!failed);
  CHECK(!failed.error().message().empty());
  CHECK(report(os, mapped.range).value().pages_absent == 0);
}

TEST_CASE("fault_in_maps_what_is_there") {
  RealOs os;
  const Mapped mapped(os, MiB(4));
  REQUIRE(commit(os, mapped.range, local_plan(MiB(4), PageSize::base)));
  REQUIRE(mapped.map_at(mapped.range.data(), MiB(4)) != MAP_FAILED);
  CHECK(fault_in(os, mapped.range));
  CHECK(report(os, mapped.range).value().pages_absent == 0);
}

TEST_CASE("a_migration_that_succeeds_has_moved_the_pages") {
  RealOs os;
  const Mapped mapped(os, MiB(1));
  REQUIRE(commit(os, mapped.range, local_plan(MiB(1), PageSize::base)));
  // The only node that this process may use, where it is not the one that has the pages.
  Plan plan = on_first_node(MiB(1));
  plan.nodes = {plan.nodes[0] + 1};
  plan.expected[0].node = plan.nodes[0];
  plan.has_other_nodes = false;
  plan.is_strict = true;
  const auto got = migrate(os, mapped.range, plan);
  CHECK((!got || got->pages_on(plan.nodes[0]) == got->pages_total));
}
