#include "numa/plan.h"

#include "strata/base/bytes.h"
#include "strata/numa/placement_text.h"
#include "tests/catch.h"

using namespace strata;

namespace {

MemoryNode dram(int node, std::vector<int> cpus, std::uint64_t free_bytes = GiB(8)) {
  MemoryNode facts;
  facts.node = node;
  facts.kind = "DRAM";
  facts.memory_bytes = GiB(16);
  facts.capacity_bytes = GiB(16);
  facts.free_bytes = free_bytes;
  facts.cpus = cpus;
  facts.near_cpus = cpus;
  return facts;
}

MemoryNode memory_only(int node, const char* kind, std::uint64_t bytes) {
  MemoryNode facts = dram(node, {}, bytes);
  facts.kind = kind;
  facts.memory_bytes = bytes;
  facts.capacity_bytes = bytes;
  facts.near_cpus = {0, 1};
  return facts;
}

Topology two_nodes(std::uint64_t free_0 = GiB(8), std::uint64_t free_1 = GiB(8)) {
  return Topology::from_parts({dram(0, {0, 1}, free_0), dram(1, {2, 3}, free_1)},
                              {{"0000:3b:00.0", 0x0302, 0x10de, 1}, {"0000:01:00.0", 2, 3, {}}});
}

// DRAM on nodes 0 and 1, fast memory on 2, far and large memory on 3.
Topology tiers() {
  MemoryNode slow_0 = dram(0, {0, 1}), slow_1 = dram(1, {2, 3});
  MemoryNode fast = memory_only(2, "HBM", GiB(4)), far = memory_only(3, "CXL", GiB(64));
  slow_0.bandwidth_mb_per_s = slow_1.bandwidth_mb_per_s = 50'000;
  fast.bandwidth_mb_per_s = 200'000;
  far.bandwidth_mb_per_s = 20'000;
  slow_0.latency_ns = slow_1.latency_ns = 90;
  fast.latency_ns = 120;
  far.latency_ns = 300;
  return Topology::from_parts({slow_0, slow_1, fast, far});
}

Placement placed(const char* text) { return parse_placement(text).value(); }

Result<Plan> plan_of(const Topology& topology, const char* text, std::uint64_t bytes = MiB(64),
                     PageSize page_size = PageSize::base, std::optional<int> cpu = 0) {
  return make_plan(topology, placed(text), bytes, page_size, cpu);
}

std::string failure(const Result<Plan>& plan) {
  return plan ? "it succeeded" : plan.error().to_string();
}

using Catch::Matchers::Contains;

}  // namespace

TEST_CASE("a_placement_survives_the_way_to_text_and_back") {
  for (const char* text :
       {"local", "local!", "node:1", "preferred:3,0", "interleave:0,1!", "weighted:0=3,1=1",
        "split:1,0", "near-pci:0000:3b:00.0", "tier:bandwidth", "tier:latency!", "tier:capacity"}) {
    const auto parsed = parse_placement(text);
    REQUIRE(parsed);
    CHECK(parsed->to_string() == text);
  }
}

TEST_CASE("a_bad_placement_text_names_the_rule_it_breaks") {
  for (const char* text :
       {"", "!", "node", "node:", "node:x", "node:-1", "node:0,1", "node:1024", "interleave:0,,1",
        "interleave:0=1", "weighted:0", "weighted:0=0", "weighted:0=70000", "split:0=1",
        "split:", "near-pci:", "tier:fast", "tier:", "Local"}) {
    const auto parsed = parse_placement(text);
    REQUIRE(!parsed);
    CHECK(parsed.error().code() == Code::invalid_argument);
    CHECK_THAT(parsed.error().message(), Contains("placement \"" + std::string(text) + "\""));
  }
}

TEST_CASE("local_is_the_node_of_the_given_processor") {
  const Plan plan = plan_of(two_nodes(), "local", MiB(64), PageSize::base, 3).value();
  CHECK(plan.mode == Plan::Mode::preferred);
  CHECK(plan.nodes == std::vector<int>{1});
  CHECK(plan.expected == std::vector<NodePages>{{1, 16384}});
  CHECK(plan.near_cpus == std::vector<std::vector<int>>{{2, 3}});
  CHECK(plan.has_other_nodes);
}

TEST_CASE("local_without_a_processor_is_left_to_the_kernel") {
  const auto plan = make_plan(two_nodes(), {}, MiB(1), PageSize::base).value();
  CHECK(plan.mode == Plan::Mode::local);
  CHECK(plan.nodes.empty());
  CHECK(failure(make_plan(two_nodes(), placed("local!"), MiB(1), PageSize::base))
            .find("unsupported") == 0);
}

TEST_CASE("an_unknown_node_is_refused_with_those_that_exist") {
  for (const char* text : {"node:7", "preferred:0,7", "interleave:7", "weighted:0=1,7=1"})
    CHECK(failure(plan_of(two_nodes(), text)) ==
          "invalid_argument: node 7 does not exist; there are: 0, 1");
  CHECK_THAT(failure(plan_of(two_nodes(), "interleave:1,1")), Contains("named twice"));
}

TEST_CASE("a_node_that_is_too_full_is_refused_with_needed_and_free_bytes_and_a_remedy") {
  const auto plan = plan_of(two_nodes(GiB(8), MiB(10)), "node:1!");
  REQUIRE(!plan);
  CHECK(plan.error().code() == Code::exhausted);
  CHECK_THAT(plan.error().message(), Contains("node 1 needs 64 MiB (67108864 bytes)"));
  CHECK_THAT(plan.error().message(), Contains("10 MiB (10485760 bytes) free"));
  CHECK_THAT(plan.error().message(), Contains("preferred:1"));
}

TEST_CASE("preferred_passes_over_a_full_node_and_says_why") {
  const Plan plan = plan_of(two_nodes(MiB(10), GiB(8)), "preferred:0,1").value();
  CHECK(plan.nodes == std::vector<int>{1});
  REQUIRE(plan.fallbacks.size() == 1);
  CHECK(plan.fallbacks[0].node == 0);
  CHECK(plan.fallbacks[0].reason == "node 0 has 10 MiB free of 64 MiB needed");
}

TEST_CASE("preferred_splits_what_fits_on_no_single_node") {
  const Plan plan = plan_of(two_nodes(MiB(48), MiB(32)), "preferred:0,1").value();
  CHECK(plan.expected == std::vector<NodePages>{{0, 12288}, {1, 4096}});
  CHECK(extents(plan) == std::vector<NodeExtent>{{0, MiB(48), 0}, {MiB(48), MiB(16), 1}});
  CHECK(plan_of(two_nodes(MiB(8), MiB(8)), "preferred:0,1"));
  const auto strict = plan_of(two_nodes(MiB(8), MiB(8)), "preferred:0,1!");
  REQUIRE(!strict);
  CHECK(strict.error().code() == Code::exhausted);
}

TEST_CASE("interleave_expects_equal_shares_and_a_short_last_page") {
  const Plan plan = plan_of(two_nodes(), "interleave:0,1", 5 * kPageBytes).value();
  CHECK(plan.expected == std::vector<NodePages>{{0, 3}, {1, 2}});
  const Plan huge = plan_of(two_nodes(), "interleave:0,1", MiB(5), PageSize::thp).value();
  CHECK(huge.expected == std::vector<NodePages>{{0, 768}, {1, 512}});
}

TEST_CASE("weighted_stripes_cover_the_payload_once_and_stay_bounded") {
  for (const std::uint64_t bytes : {kPageBytes, MiB(3) + kPageBytes, GiB(1), GiB(700)}) {
    Topology roomy = two_nodes(GiB(1000), GiB(1000));
    const Plan plan = plan_of(roomy, "weighted:0=3,1=1", bytes).value();
    const auto cut = extents(plan);
    CHECK(cut.size() <= kMaxStripes);
    std::uint64_t at = 0, on_0 = 0;
    for (const NodeExtent& extent : cut) {
      CHECK(extent.offset_bytes == at);
      CHECK(extent.bytes > 0);
      at += extent.bytes;
      if (extent.node == 0) on_0 += extent.bytes;
    }
    CHECK(at == align_up(bytes, kPageBytes));
    CHECK(plan.expected[0].pages == on_0 / kPageBytes);
    if (bytes >= GiB(1)) CHECK(on_0 == bytes / 4 * 3);
  }
}

TEST_CASE("a_split_gives_each_node_one_part_that_a_heap_can_use") {
  for (const std::uint64_t bytes : {kPageBytes, MiB(3) + kPageBytes, GiB(1) + KiB(64)}) {
    const Plan plan = plan_of(two_nodes(GiB(10), GiB(10)), "split:1,0", bytes).value();
    const auto cut = extents(plan);
    CHECK(cut.size() == (bytes > kSplitUnitBytes ? 2 : 1));
    std::uint64_t at = 0;
    for (std::size_t i = 0; i < cut.size(); ++i) {
      CHECK(cut[i].offset_bytes == at);
      CHECK(cut[i].offset_bytes % kSplitUnitBytes == 0);
      CHECK(cut[i].node == plan.nodes[i]);
      CHECK(plan.expected[i].pages == cut[i].bytes / kPageBytes);
      at += cut[i].bytes;
    }
    CHECK(at == align_up(bytes, kPageBytes));
  }
}

TEST_CASE("weighted_needs_a_weight_for_each_node") {
  Placement placement = placed("weighted:0=3,1=1");
  placement.weights = {3};
  CHECK(
      failure(make_plan(two_nodes(), placement, MiB(1), PageSize::base)).find("invalid_argument") ==
      0);
  placement.weights = {3, 0};
  CHECK(!make_plan(two_nodes(), placement, MiB(1), PageSize::base));
}

TEST_CASE("near_pci_takes_the_node_of_the_device") {
  const Plan plan = plan_of(two_nodes(), "near-pci:3b:00.0!").value();
  CHECK(plan.nodes == std::vector<int>{1});
  CHECK(plan.mode == Plan::Mode::bind);
  CHECK(plan.reasons[0] == "node 1 is the nearest to 0000:3b:00.0");
}

TEST_CASE("near_pci_with_an_unknown_node_is_never_a_silent_zero") {
  const auto strict = plan_of(two_nodes(), "near-pci:0000:01:00.0!");
  REQUIRE(!strict);
  CHECK(strict.error().code() == Code::unsupported);
  const Plan plan =
      plan_of(two_nodes(), "near-pci:0000:01:00.0", MiB(1), PageSize::base, 2).value();
  CHECK(plan.nodes == std::vector<int>{1});
  CHECK_THAT(plan.reasons[0], Contains("does not tell"));
  const auto missing = plan_of(two_nodes(), "near-pci:0000:99:00.0");
  REQUIRE(!missing);
  CHECK(missing.error().code() == Code::not_found);
  CHECK_THAT(missing.error().message(), Contains("0000:3b:00.0"));
}

TEST_CASE("near_pci_on_a_machine_of_one_node_is_that_node") {
  const Topology one = Topology::from_parts({dram(0, {0})}, {{"0000:01:00.0", 2, 3, {}}});
  const Plan plan = plan_of(one, "near-pci:0000:01:00.0!").value();
  CHECK(plan.nodes == std::vector<int>{0});
  CHECK_FALSE(plan.has_other_nodes);
}

TEST_CASE("a_tier_is_chosen_by_attribute_and_the_reason_has_the_number") {
  const Plan fast = plan_of(tiers(), "tier:bandwidth!").value();
  CHECK(fast.nodes == std::vector<int>{2});
  CHECK(fast.reasons[0] == "node 2 has the highest bandwidth: 200 GB/s");
  const Plan near = plan_of(tiers(), "tier:latency", MiB(64), PageSize::base, 3).value();
  CHECK(near.nodes == std::vector<int>{1});
  CHECK(near.reasons[0] == "node 1 has the lowest latency: 90 ns");
  const Plan large = plan_of(tiers(), "tier:capacity").value();
  CHECK(large.nodes == std::vector<int>{3});
  CHECK(large.reasons[0] == "node 3 has the highest capacity: 64 GiB");
}

TEST_CASE("a_full_tier_falls_back_to_the_next_unless_strict") {
  const Plan plan = plan_of(tiers(), "tier:bandwidth", GiB(6)).value();
  CHECK(plan.nodes == std::vector<int>{0});
  CHECK(plan.fallbacks[0].node == 2);
  const auto strict = plan_of(tiers(), "tier:bandwidth!", GiB(6));
  REQUIRE(!strict);
  CHECK(strict.error().code() == Code::exhausted);
}

TEST_CASE("an_attribute_that_nobody_tells_is_not_guessed") {
  const auto strict = plan_of(two_nodes(), "tier:bandwidth!");
  REQUIRE(!strict);
  CHECK(strict.error().code() == Code::unsupported);
  const Plan plan = plan_of(two_nodes(), "tier:bandwidth", MiB(1), PageSize::base, 2).value();
  CHECK(plan.reasons[0] == "the platform tells the bandwidth of no node");
  CHECK(plan.nodes == std::vector<int>{1});
  CHECK(plan_of(two_nodes(), "tier:capacity!"));
}

TEST_CASE("a_hugetlb_plan_counts_the_pages_of_the_pool") {
  MemoryNode with_pool = dram(0, {0});
  with_pool.huge_page_pools = {{MiB(2), 8, 4}};
  const Topology topology = Topology::from_parts({with_pool, dram(1, {1})});
  CHECK(plan_of(topology, "node:0", MiB(7), PageSize::huge_2m).value().expected ==
        std::vector<NodePages>{{0, 2048}});
  const auto plan = plan_of(topology, "node:0", MiB(9), PageSize::huge_2m);
  REQUIRE(!plan);
  CHECK(plan.error().code() == Code::exhausted);
  CHECK_THAT(plan.error().message(), Contains("hugepages-2048kB"));
}

TEST_CASE("a_size_that_cannot_be_is_refused") {
  CHECK(!make_plan(two_nodes(), {}, 0, PageSize::base));
  CHECK(!make_plan(two_nodes(), {}, ~std::uint64_t{0}, PageSize::thp));
}
