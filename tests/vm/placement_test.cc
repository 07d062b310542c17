// Every placement policy of the library on every sort of memory, page by page, on real nodes. The
// library's own report must say the same, but it is the kernel that is asked.
#include <vector>

#include "numa/page_report.h"
#include "os/os.h"
#include "segment/backend.h"
#include "strata/strata.h"
#include "tests/catch.h"
#include "tests/vm/pages.h"

namespace strata::inline v0_1::test {
namespace {

constexpr std::uint64_t kPayloadBytes = 8u << 20;
constexpr std::size_t kPages = kPayloadBytes / 4096;
constexpr const char* kDeviceAtNode1 = "0000:21:00.0";
constexpr const char* kUri = "shm:vm_placement";

struct Sort {
  const char* name;
  bool is_named;
  PageSize page_size;
};

constexpr Sort kSorts[] = {
    {"shm, 4 KiB pages", true, PageSize::base},
    {"shm, transparent huge pages", true, PageSize::thp},
    {"shm, hugetlb", true, PageSize::huge_2m},
    {"memfd, 4 KiB pages", false, PageSize::base},
    {"memfd, transparent huge pages", false, PageSize::thp},
    {"memfd, hugetlb", false, PageSize::huge_2m},
};

class Placed {
 public:
  Placed(const Sort& sort, const Placement& placement) : catalog_(make_catalog(os_)), sort_(sort) {
    CreateOptions options;
    options.payload_bytes = kPayloadBytes;
    options.placement = placement;
    options.page_size = sort.page_size;
    Result<Segment> made = sort.is_named
                               ? catalog_.create(kUri, options)
                               : catalog_.backend("shm").value()->create_anonymous(options);
    if (made) {
      segment_ = std::make_unique<Segment>(std::move(*made));
    } else {
      error_ = made.error().message();
    }
  }
  ~Placed() {
    segment_.reset();
    if (sort_.is_named) (void)catalog_.remove(kUri);
  }

  const std::string& error() const { return error_; }
  NodeHistogram found() const {
    return nodes_of_pages(segment_->host_bytes()->data(), kPayloadBytes);
  }
  // What the header page says.
  NodeHistogram reported() const {
    NodeHistogram histogram;
    const auto report = load_report(header_page_of(*segment_).placement);
    if (!report) return histogram;
    for (const NodePages& on : report->pages_on_node) {
      if (on.pages != 0) histogram[on.node] = on.pages;
    }
    return histogram;
  }

 private:
  RealOs os_;
  Catalog catalog_;
  const Sort sort_;
  std::unique_ptr<Segment> segment_;
  std::string error_;
};

void check_everywhere(const Placement& placement, const NodeHistogram& wanted) {
  for (const Sort& sort : kSorts) {
    INFO(placement.to_string() << " on " << sort.name);
    const Placed placed(sort, placement);
    REQUIRE(placed.error() == "");
    const NodeHistogram found = placed.found();
    CHECK(to_string(found) == to_string(wanted));
    CHECK(to_string(placed.reported()) == to_string(found));
    if (found == wanted) count_verified_placements(kPages);
  }
}

Placement strict(Placement placement) {
  placement.is_strict = true;
  return placement;
}

Placement of_kind(Placement::Kind kind) {
  Placement placement;
  placement.kind = kind;
  return placement;
}

TEST_CASE("local_placement_follows_the_creator") {
  for (int node : {0, 1, 2}) {
    REQUIRE(run_on_node(node));
    check_everywhere(on_local_node(), {{node, kPages}});
  }
  REQUIRE(run_on_node(0));
}

TEST_CASE("one_node_gets_all_pages") {
  for (int node : {0, 1, 2, 3})
    check_everywhere(strict(on_node(node)), {{node, kPages}});
}

TEST_CASE("the_first_preferred_node_gets_all_pages_while_it_has_room") {
  Placement placement = of_kind(Placement::Kind::preferred);
  placement.nodes = {3, 1};
  check_everywhere(strict(placement), {{3, kPages}});
  placement.nodes = {2, 0, 1};
  check_everywhere(placement, {{2, kPages}});
}

TEST_CASE("interleaving_deals_pages_evenly") {
  check_everywhere(strict(interleaved({0, 1, 2, 3})),
                   {{0, kPages / 4}, {1, kPages / 4}, {2, kPages / 4}, {3, kPages / 4}});
  check_everywhere(strict(interleaved({1, 3})), {{1, kPages / 2}, {3, kPages / 2}});
}

TEST_CASE("weights_are_kept_exactly") {
  Placement placement = of_kind(Placement::Kind::weighted);
  placement.nodes = {0, 3};
  placement.weights = {3, 1};
  check_everywhere(strict(placement), {{0, kPages / 4 * 3}, {3, kPages / 4}});
}

TEST_CASE("near_a_device_is_the_node_of_its_bridge") {
  Placement placement = of_kind(Placement::Kind::near_pci);
  placement.pci_address = kDeviceAtNode1;
  check_everywhere(strict(placement), {{1, kPages}});
}

TEST_CASE("each_tier_is_the_best_node_by_its_attribute") {
  const std::pair<Tier, int> best[] = {
      {Tier::bandwidth, 1}, {Tier::latency, 2}, {Tier::capacity, 3}};
  for (const auto& [tier, node] : best) {
    Placement placement = of_kind(Placement::Kind::tier);
    placement.tier = tier;
    check_everywhere(strict(placement), {{node, kPages}});
  }
}

TEST_CASE("a_node_that_does_not_exist_is_refused_by_name") {
  const Placed placed(kSorts[0], on_node(17));
  CHECK(placed.error().find("17") != std::string::npos);
}

}  // namespace
}  // namespace strata::inline v0_1::test
