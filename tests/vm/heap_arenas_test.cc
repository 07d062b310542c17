// A heap over a segment that is split over the nodes: every thread's memory is its own node's.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "os/os.h"
#include "strata/heap/heap_nodes.h"
#include "strata/strata.h"
#include "tests/catch.h"
#include "tests/vm/pages.h"

namespace strata::inline v0_1::test {
namespace {

constexpr const char* kUri = "shm:vm_arenas";
constexpr std::uint64_t kPartBytes = 4u << 20;
constexpr std::uint64_t kBlockBytes = 16u << 10;

struct Fixture {
  Fixture() : catalog(make_catalog(os)) {}
  ~Fixture() { (void)catalog.remove(kUri); }
  Segment create(const Placement& placement) {
    CreateOptions options;
    options.payload_bytes = 3 * kPartBytes;
    options.placement = placement;
    return catalog.create(kUri, options).value();
  }
  RealOs os;
  Catalog catalog;
};

// Takes a block and tells where its pages are; no answer counts as nowhere.
void add_block(Heap& heap, NodeHistogram& histogram) {
  const auto block = heap.allocate(kBlockBytes, 4096);
  if (!block) {
    histogram[kNotPresent] += kBlockBytes / 4096;
    return;
  }
  std::memset(heap.base() + block->bytes, 1, kBlockBytes);  // only what is mapped can be asked
  for (const auto& [node, pages] : nodes_of_pages(heap.base() + block->bytes, kBlockBytes))
    histogram[node] += pages;
}

// In a process on `node`: takes `count` blocks; whether they all lie on `expected`.
bool allocates_on(int node, int expected, int count) {
  const pid_t child = fork();
  if (child == 0) {
    RealOs os;
    Catalog catalog = make_catalog(os);
    Segment segment = catalog.attach(kUri).value();
    Heap heap = Heap::open(segment).value();
    if (!run_on_node(node)) _exit(1);
    NodeHistogram histogram;
    for (int i = 0; i < count; ++i)
      add_block(heap, histogram);
    if (histogram != NodeHistogram{{expected, count * kBlockBytes / 4096}}) {
      std::printf("wanted node %d, found %s\n", expected, to_string(histogram).c_str());
      std::fflush(stdout);
      _exit(1);
    }
    count_verified_placements(histogram.at(expected));
    _exit(0);
  }
  int status = -1;
  return waitpid(child, &status, 0) == child && status == 0;
}

TEST_CASE("a_split_segment_has_one_part_on_each_node") {
  Fixture fixture;
  Segment segment = fixture.create(split_over({2, 0, 1}));
  const std::span<std::byte> bytes = segment.writable_bytes().value();
  CHECK(all_pages_on(2, bytes.data(), kPartBytes));
  CHECK(all_pages_on(0, bytes.data() + kPartBytes, kPartBytes));
  CHECK(all_pages_on(1, bytes.data() + 2 * kPartBytes, kPartBytes));
  const HeapOptions options = heap_options_for(fixture.os, segment).value();
  REQUIRE(options.nodes.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(options.nodes[i].first_bytes == i * kPartBytes);
    CHECK(options.nodes[i].node == std::array{2, 0, 1}[i]);
  }
}

TEST_CASE("processes_allocate_from_their_own_node_and_from_others_when_it_is_full") {
  Fixture fixture;
  Segment segment = fixture.create(split_over({0, 1, 2}));
  const HeapOptions options = heap_options_for(fixture.os, segment).value();
  REQUIRE(Heap::create(segment, options));
  for (const int node : {0, 1, 2})
    CHECK(allocates_on(node, node, 64));
  // More than node 1 has: the rest is found elsewhere.
  Heap heap = Heap::open(segment).value();
  REQUIRE(run_on_node(1));
  NodeHistogram histogram;
  for (std::uint64_t taken = 0; taken < kPartBytes * 3 / 2; taken += kBlockBytes)
    add_block(heap, histogram);
  INFO(to_string(histogram));
  CHECK(histogram[kNotPresent] == 0);
  CHECK(histogram[1] > 0);
  CHECK(histogram[0] + histogram[2] > 0);
}

TEST_CASE("a_heap_over_interleaved_pages_has_no_parts") {
  Fixture fixture;
  Segment segment = fixture.create(interleaved({0, 1, 2}));
  CHECK(heap_options_for(fixture.os, segment).value().nodes.empty());
}

}  // namespace
}  // namespace strata::inline v0_1::test
