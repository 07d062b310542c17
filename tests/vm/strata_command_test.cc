// The `strata` command on a machine whose layout is known: what it says of the machine, where it
// puts segments, and what its maps show. The kernel is asked where the pages are; the board is
// written down in tests/vm/boards.py.
#include <sys/wait.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "os/os.h"
#include "strata/strata.h"
#include "tests/catch.h"
#include "tests/vm/pages.h"

namespace strata::inline v0_1::test {
namespace {

using Json = nlohmann::json;
constexpr std::size_t kPages = (8u << 20) / 4096;

struct Ran {
  int status = -1;
  std::string output;
  Json json() const { return Json::parse(output, nullptr, false); }
};

Ran strata(const std::string& arguments) {
  Ran ran;
  FILE* pipe = popen(("/payload/strata " + arguments + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return ran;
  char buffer[4096];
  for (std::size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    ran.output.append(buffer, n);
  const int status = pclose(pipe);
  ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ran;
}

// A segment made by the command, removed at the end.
struct Made {
  explicit Made(const std::string& flags)
      : created(strata("create shm:vm_cli --size 8M " + flags)) {}
  ~Made() { strata("rm shm:vm_cli --force"); }

  // Where its pages are, asked of the kernel through a mapping of this process.
  NodeHistogram found() const {
    RealOs os;
    Catalog catalog = make_catalog(os);
    const auto segment = catalog.attach("shm:vm_cli", {.access = Access::read_only});
    if (!segment) return {};
    const auto bytes = segment->host_bytes().value();
    volatile unsigned touched = 0;  // reading maps the pages here
    for (std::size_t at = 0; at < bytes.size(); at += 4096) {
      touched = touched + static_cast<unsigned>(bytes[at]);
    }
    return nodes_of_pages(bytes.data(), bytes.size());
  }
  Ran created;
};

// What `strata map` says.
NodeHistogram mapped() {
  const Json map = strata("map shm:vm_cli --json").json();
  NodeHistogram histogram;
  for (const Json& share : map.value("nodes", Json::array())) {
    const auto pages = share.at("bytes").get<std::size_t>() / 4096;
    if (pages != 0) histogram[share.at("node").get<int>()] = pages;
  }
  return histogram;
}

std::string content_of(const char* path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST_CASE("topology_tells_the_board") {
  const Ran ran = strata("topology --json");
  INFO(ran.output);
  REQUIRE(ran.status == 0);
  const Json nodes = ran.json().at("nodes");
  REQUIRE(nodes.size() == 4);
  const struct {
    std::vector<int> cpus, distances;
    int latency_ns, bandwidth_mb_per_s;
  } wanted[] = {{{0, 1}, {10, 21, 22, 40}, 110, 20480},
                {{2}, {21, 10, 23, 50}, 120, 40960},
                {{3}, {22, 23, 10, 60}, 100, 30720},
                {{}, {40, 50, 60, 10}, 400, 10240}};
  for (std::size_t i = 0; i < 4; ++i) {
    const Json& node = nodes[i];
    CHECK(node.at("node") == i);
    CHECK(node.at("cpus").get<std::vector<int>>() == wanted[i].cpus);
    CHECK(node.at("latency_ns") == wanted[i].latency_ns);
    CHECK(node.at("bandwidth_mb_per_s") == wanted[i].bandwidth_mb_per_s);
    for (std::size_t other = 0; other < 4; ++other) {
      CHECK(node.at("distances").at(std::to_string(other)) == wanted[i].distances[other]);
    }
  }
  // The one with the most memory is the tier node.
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(nodes[i].at("memory_bytes") < nodes[3].at("memory_bytes"));
  }
}

TEST_CASE("topology_knows_the_device_at_node_1") {
  const Json devices = strata("topology --json").json().at("devices");
  bool found = false;
  for (const Json& device : devices) {
    if (device.at("address") != "0000:21:00.0") continue;
    found = true;
    CHECK(device.at("node") == 1);
  }
  CHECK(found);
}

TEST_CASE("the_picture_of_the_machine_has_a_card_for_each_node") {
  REQUIRE(strata("topology --svg /tmp/topology.svg").status == 0);
  const std::string svg = content_of("/tmp/topology.svg");
  for (const char* node : {"Node 0", "Node 1", "Node 2", "Node 3"}) {
    CHECK(svg.find(node) != std::string::npos);
  }
}

TEST_CASE("segments_lie_where_create_was_told_and_map_says_the_same") {
  const struct {
    const char* flags;
    NodeHistogram wanted;
  } rows[] = {
      {"--node 2 --strict", {{2, kPages}}},
      {"--node 3 --strict", {{3, kPages}}},
      {"--prefer 1,0", {{1, kPages}}},
      {"--interleave 0,1,2,3 --strict",
       {{0, kPages / 4}, {1, kPages / 4}, {2, kPages / 4}, {3, kPages / 4}}},
      {"--weighted 0=3,1=1 --strict", {{0, kPages / 4 * 3}, {1, kPages / 4}}},
      {"--tier bandwidth --strict", {{1, kPages}}},
      {"--tier latency --strict", {{2, kPages}}},
      {"--tier capacity --strict", {{3, kPages}}},
      {"--near-pci 0000:21:00.0 --strict", {{1, kPages}}},
      {"--node 1 --huge thp --strict", {{1, kPages}}},
  };
  for (const auto& row : rows) {
    const Made made(row.flags);
    INFO(row.flags << ": " << made.created.output);
    REQUIRE(made.created.status == 0);
    const NodeHistogram found = made.found();
    CHECK(to_string(found) == to_string(row.wanted));
    CHECK(to_string(mapped()) == to_string(found));
    if (found == row.wanted) count_verified_placements(kPages);
  }
}

TEST_CASE("segments_of_hugetlb_pages_lie_where_create_was_told_and_map_says_the_same") {
  const Made made("--node 1 --huge 2M --strict");
  INFO(made.created.output);
  REQUIRE(made.created.status == 0);
  // First: the command has nothing of it mapped, and finds what another process made.
  CHECK(to_string(mapped()) == to_string({{1, kPages}}));
  CHECK(to_string(made.found()) == to_string({{1, kPages}}));
  const Ran ran = strata("migrate shm:vm_cli --node 2");
  INFO(ran.output);
  REQUIRE(ran.status == 0);
  CHECK(to_string(mapped()) == to_string({{2, kPages}}));
  CHECK(to_string(made.found()) == to_string({{2, kPages}}));
  count_verified_placements(2 * kPages);
}

TEST_CASE("the_map_of_hugetlb_pages_that_do_not_exist_makes_none") {
  const Made made("--node 1 --huge 2M --sparse");
  INFO(made.created.output);
  REQUIRE(made.created.status == 0);
  const char* const kFree =
      "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/"
      "free_hugepages";
  const std::string free_before = content_of(kFree);
  CHECK(to_string(mapped()) == to_string({}));
  CHECK(content_of(kFree) == free_before);
}

TEST_CASE("the_map_is_drawn") {
  const Made made("--interleave 1,3 --strict");
  REQUIRE(made.created.status == 0);
  const Ran text = strata("map shm:vm_cli --svg /tmp/map.svg");
  INFO(text.output);
  REQUIRE(text.status == 0);
  CHECK(text.output.find("node 1") != std::string::npos);
  CHECK(text.output.find("node 3") != std::string::npos);
  CHECK(text.output.find("node 2") == std::string::npos);
  CHECK(content_of("/tmp/map.svg").find("node 3") != std::string::npos);
}

TEST_CASE("migrate_moves_every_page") {
  const Made made("--node 0");
  REQUIRE(made.created.status == 0);
  for (int node : {3, 1}) {
    const Ran ran = strata("migrate shm:vm_cli --node " + std::to_string(node));
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    CHECK(to_string(made.found()) == to_string({{node, kPages}}));
    CHECK(to_string(mapped()) == to_string({{node, kPages}}));
    count_verified_placements(kPages);
  }
}

TEST_CASE("plan_foretells_where_create_puts_the_pages") {
  const Ran ran = strata("plan shm:vm_cli --size 8M --weighted 2=1,3=1 --json");
  INFO(ran.output);
  REQUIRE(ran.status == 0);
  CHECK(strata("map shm:vm_cli").status == 3);  // it has created nothing
}

TEST_CASE("create_refuses_what_a_node_cannot_hold") {
  const Ran ran = strata("create shm:vm_cli --size 3G --node 1 --strict");
  INFO(ran.output);
  CHECK(ran.status == 1);
  CHECK(ran.output.find("node 1") != std::string::npos);
  CHECK(strata("map shm:vm_cli").status == 3);  // not found
}

}  // namespace
}  // namespace strata::inline v0_1::test
