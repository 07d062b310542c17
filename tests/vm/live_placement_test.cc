// Placement while other processes use the memory, and when a node runs out of it.
#include <numa.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "numa/page_report.h"
#include "numa/place.h"
#include "os/os.h"
#include "strata/strata.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/vm/guest_memory.h"
#include "tests/vm/pages.h"

namespace strata::inline v0_1::test {
namespace {

constexpr std::uint64_t kPayloadBytes = 8u << 20;
constexpr const char* kUri = "shm:vm_live";
constexpr int kTierNode = 3;
// Between two rounds of a writer. Without it four emulated CPUs on two real ones leave the kernel
// no moment in which a page is not in use.
constexpr int kPauseUs = 1000;

CreateOptions options_for(Placement placement, std::uint64_t payload_bytes = kPayloadBytes) {
  CreateOptions options;
  options.payload_bytes = payload_bytes;
  options.placement = std::move(placement);
  return options;
}

void touch(std::span<std::byte> bytes) {
  for (std::size_t offset = 0; offset < bytes.size(); offset += 4096) {
    static_cast<volatile std::byte&>(bytes[offset]) = std::byte{1};
  }
}

// Takes memory of one node until only `left_bytes` are free, and gives it back at its end.
class NodeHog {
 public:
  NodeHog(int node, std::uint64_t left_bytes) {
    const std::uint64_t free_bytes = free_on(node);
    if (free_bytes <= left_bytes) return;
    memory_ = std::make_unique<GuestMemory>(MemorySort::kAnonymous,
                                            (free_bytes - left_bytes) / 4096 * 4096);
    if (memory_->valid() && memory_->bind_to(node)) memory_->touch();
  }
  static std::uint64_t free_on(int node) {
    long long free_bytes = 0;
    numa_node_size64(node, &free_bytes);
    return static_cast<std::uint64_t>(free_bytes);
  }

 private:
  std::unique_ptr<GuestMemory> memory_;
};

struct Fixture {
  Fixture() : catalog(make_catalog(os)) {}
  ~Fixture() { (void)catalog.remove(kUri); }
  RealOs os;
  Catalog catalog;
};

TEST_CASE("the_policy_holds_after_its_creator_exits_and_another_node_touches") {
  for (int node : {0, 1, 2, 3}) {
    INFO("node " << node);
    Fixture fixture;
    REQUIRE(child_says([&] {
      CreateOptions options = options_for(on_node(node));
      options.commit = Commit::sparse;
      return fixture.catalog.create(kUri, options).has_value();
    }));
    CHECK(child_says([&] {
      if (!run_on_node(node == 0 ? 1 : 0)) return false;
      Result<Segment> segment = fixture.catalog.attach(kUri);
      if (!segment) return false;
      const std::span<std::byte> bytes = segment->writable_bytes().value();
      touch(bytes);
      return all_pages_on(node, bytes.data(), bytes.size());
    }));
  }
}

TEST_CASE("a_segment_on_the_tier_node_is_used_from_every_other") {
  Fixture fixture;
  REQUIRE(fixture.catalog.create(kUri, options_for(on_node(kTierNode))).has_value());
  for (int node : {0, 1, 2}) {
    CHECK(child_says([&] {
      Result<Segment> segment = fixture.catalog.attach(kUri);
      if (!segment || !run_on_node(node)) return false;
      const std::span<std::byte> bytes = segment->writable_bytes().value();
      touch(bytes);
      return all_pages_on(kTierNode, bytes.data(), bytes.size());
    }));
  }
}

// What the writers and the migrating process share beside the segment.
struct Control {
  std::atomic<bool> stop;
  std::atomic<std::uint64_t> rounds[3];
};

// Adds one to its own word of every page, round by round.
bool write_until_stopped(Fixture& fixture, Control& control, int writer) {
  Result<Segment> segment = fixture.catalog.attach(kUri);
  if (!segment || !run_on_node(writer)) return false;
  const std::uint64_t pages = segment->payload_bytes() / 4096;
  auto* words = reinterpret_cast<std::uint64_t*>(segment->writable_bytes()->data());
  while (!control.stop) {
    for (std::uint64_t page = 0; page < pages; ++page)
      ++words[page * 512 + writer];
    ++control.rounds[writer];
    usleep(kPauseUs);
  }
  return true;
}

void migrate_under_writers(PageSize page_size, std::uint64_t payload_bytes) {
  Fixture fixture;
  CreateOptions options = options_for(on_node(0), payload_bytes);
  options.page_size = page_size;
  Result<Segment> segment = fixture.catalog.create(kUri, options);
  REQUIRE(segment.has_value());
  void* room = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(room != MAP_FAILED);
  auto& control = *new (room) Control{};
  pid_t writers[3];
  for (int writer = 0; writer < 3; ++writer) {
    writers[writer] = fork();
    if (writers[writer] == 0) _exit(write_until_stopped(fixture, control, writer) ? 0 : 1);
  }
  const std::span<std::byte> bytes = segment->writable_bytes().value();
  for (int node : {3, 1, 2, 0}) {
    INFO("to node " << node);
    std::uint64_t before[3];
    for (int writer = 0; writer < 3; ++writer)
      before[writer] = control.rounds[writer];
    const auto topology = Topology::from_machine(fixture.os);
    REQUIRE(topology.has_value());
    const auto plan = make_plan(*topology, on_node(node), bytes.size(), page_size);
    REQUIRE(plan.has_value());
    const auto moved = migrate(fixture.os, bytes, *plan);
    INFO((moved ? "" : moved.error().message()));
    CHECK(moved.has_value());
    CHECK(all_pages_on(node, bytes.data(), bytes.size()));
    for (int writer = 0; writer < 3; ++writer) {  // each goes on writing in the new place
      while (control.rounds[writer] < before[writer] + 2)
        usleep(1000);
    }
  }
  control.stop = true;
  for (pid_t writer : writers) {
    int status = -1;
    CHECK((waitpid(writer, &status, 0) == writer && status == 0));
  }
  const auto* words = reinterpret_cast<const std::uint64_t*>(bytes.data());
  std::uint64_t lost = 0;
  for (std::uint64_t page = 0; page < payload_bytes / 4096; ++page) {
    for (int writer = 0; writer < 3; ++writer) {
      lost += control.rounds[writer] - words[page * 512 + writer];
    }
  }
  CHECK(lost == 0);
  munmap(room, 4096);
}

TEST_CASE("pages_migrate_while_attached_processes_write_and_no_write_is_lost") {
  // Small, as every page that moves interrupts every emulated CPU.
  migrate_under_writers(PageSize::base, 1u << 20);
}

TEST_CASE("huge_pages_migrate_while_attached_processes_write_and_no_write_is_lost") {
  migrate_under_writers(PageSize::huge_2m, 8u << 20);
}

Result<PlacementReport> migrate_to(Os& os, std::span<std::byte> bytes, const Placement& placement) {
  const auto topology = Topology::from_machine(os);
  if (!topology) return unexpected(topology.error());
  const auto plan = make_plan(*topology, placement, bytes.size(), PageSize::base);
  if (!plan) return unexpected(plan.error());
  return migrate(os, bytes, *plan);
}

TEST_CASE("a_segment_on_one_node_is_dealt_out_over_that_node_and_others") {
  Fixture fixture;
  Result<Segment> segment = fixture.catalog.create(kUri, options_for(on_node(0)));
  REQUIRE(segment.has_value());
  const std::span<std::byte> bytes = segment->writable_bytes().value();
  const auto moved = migrate_to(fixture.os, bytes, interleaved({0, 3}));
  INFO((moved ? "" : moved.error().message()));
  REQUIRE(moved.has_value());
  auto pages = nodes_of_pages(bytes.data(), bytes.size());
  CHECK(pages[0] == kPayloadBytes / 4096 / 2);
  CHECK(pages[3] == kPayloadBytes / 4096 / 2);
}

TEST_CASE("what_grows_after_a_migration_lies_where_the_segment_was_moved") {
  Fixture fixture;
  CreateOptions options = options_for(on_node(0));
  options.max_bytes = 3 * kPayloadBytes;
  {
    Result<Segment> made = fixture.catalog.create(kUri, options);
    REQUIRE(made.has_value());
    const auto moved = made->migrate(on_node(1));
    INFO((moved ? "" : moved.error().message()));
    REQUIRE(moved.has_value());
    CHECK(moved->pages_on(1) == kPayloadBytes / 4096);
    REQUIRE(made->grow(2 * kPayloadBytes).has_value());
    const auto bytes = made->host_bytes().value();
    CHECK(all_pages_on(1, bytes.data(), bytes.size()));
  }
  // Whoever attaches later, from another node, knows as well.
  CHECK(child_says([&] {
    if (!run_on_node(2)) return false;
    Result<Segment> segment = fixture.catalog.attach(kUri);
    if (!segment || !segment->grow(3 * kPayloadBytes)) return false;
    const auto bytes = segment->host_bytes().value();
    return all_pages_on(1, bytes.data(), bytes.size()) &&
           placement_now(header_page_of(*segment), segment->identity()) == "node:1";
  }));
}

TEST_CASE("pages_that_others_have_mapped_stay_behind_without_the_right_to_move_them") {
  Fixture fixture;
  Result<Segment> segment = fixture.catalog.create(kUri, options_for(on_node(0)));
  REQUIRE(segment.has_value());
  const std::span<std::byte> bytes = segment->writable_bytes().value();
  CHECK(child_says([&] {  // both have every page mapped; neither uid may move the other's
    touch(bytes);
    if (setuid(65534) != 0) return false;
    const auto moved = migrate_to(fixture.os, bytes, on_node(1));
    return !moved && moved.error().code() == Code::failed_precondition &&
           moved.error().message().find("2048 of 2048 pages") != std::string::npos;
  }));
  CHECK(all_pages_on(0, bytes.data(), bytes.size()));
}

TEST_CASE("strict_placement_on_a_full_node_is_refused_with_numbers") {
  Fixture fixture;
  const NodeHog hog(2, 64u << 20);
  Placement placement = on_node(2);
  placement.is_strict = true;
  const auto made = fixture.catalog.create(kUri, options_for(placement, 128u << 20));
  REQUIRE_FALSE(made.has_value());
  INFO(made.error().message());
  CHECK(made.error().code() == Code::exhausted);
  CHECK(made.error().message().find("node 2") != std::string::npos);
  CHECK_FALSE(fixture.catalog.attach(kUri).has_value());  // nothing is left behind
}

TEST_CASE("a_preferred_node_that_is_nearly_full_falls_back_and_the_report_says_so") {
  Fixture fixture;
  const NodeHog hog(2, 96u << 20);
  Placement placement;
  placement.kind = Placement::Kind::preferred;
  placement.nodes = {2, 3};
  constexpr std::uint64_t kBytes = 160u << 20;
  const auto made = fixture.catalog.create(kUri, options_for(placement, kBytes));
  INFO((made ? "" : made.error().message()));
  REQUIRE(made.has_value());
  const std::span<const std::byte> bytes = made->host_bytes().value();
  const NodeHistogram found = nodes_of_pages(bytes.data(), bytes.size());
  INFO(to_string(found));
  CHECK(found.count(kNotPresent) == 0);
  CHECK(found.count(3) == 1);  // it cannot all lie on node 2
  const auto report = load_report(header_page_of(*made).placement);
  REQUIRE(report.has_value());
  for (int node : {0, 1, 2, 3}) {
    CHECK(report->pages_on(node) == (found.count(node) != 0 ? found.at(node) : 0));
  }
  count_verified_placements(kBytes / 4096);
}

}  // namespace
}  // namespace strata::inline v0_1::test
