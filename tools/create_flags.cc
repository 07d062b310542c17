#include "tools/create_flags.h"

#include <fmt/format.h>

#include <charconv>
#include <string_view>

#include "tools/command.h"

namespace strata::tools {
namespace {

template <typename T>
bool read_number(std::string_view text, T& number, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

Result<void> read_weights(const std::vector<std::string>& pairs, Placement& placement) {
  for (const std::string& pair : pairs) {
    const std::size_t equals = pair.find('=');
    int node = 0;
    std::uint32_t weight = 0;
    if (equals == std::string::npos ||
        !read_number(std::string_view(pair).substr(0, equals), node) ||
        !read_number(std::string_view(pair).substr(equals + 1), weight)) {
      return fail(Code::invalid_argument,
                  fmt::format("--weighted: '{}' is not NODE=WEIGHT, such as 0=3", pair));
    }
    placement.nodes.push_back(node);
    placement.weights.push_back(weight);
  }
  return {};
}

Lifetime lifetime_of(std::string_view name) {
  if (name == "process") return Lifetime::process;
  if (name == "last-detach") return Lifetime::last_detach;
  if (name == "job") return Lifetime::job;
  return Lifetime::until_removed;
}

PageSize page_size_of(std::string_view name) {
  if (name == "thp") return PageSize::thp;
  if (name == "2M") return PageSize::huge_2m;
  if (name == "1G") return PageSize::huge_1g;
  return PageSize::base;
}

Tier tier_of(std::string_view name) {
  if (name == "latency") return Tier::latency;
  if (name == "capacity") return Tier::capacity;
  return Tier::bandwidth;
}

}  // namespace

void CreateFlags::add_placement(CLI::App& app) {
  CLI::Option_group* where = app.add_option_group("Placement", "at most one of these");
  where->add_option("--node", node_, "all pages on this NUMA node")->type_name("N");
  where->add_option("--interleave", interleave_, "page by page over these nodes")
      ->delimiter(',')
      ->type_name("N,N");
  where->add_option("--weighted", weighted_, "so many pages on each node, in turn")
      ->delimiter(',')
      ->type_name("N=W,N=W");
  where->add_option("--split", split_, "an equal part, in one piece, on each of these nodes")
      ->delimiter(',')
      ->type_name("N,N");
  where->add_option("--prefer", prefer_, "these nodes in order, others when they are full")
      ->delimiter(',')
      ->type_name("N,N");
  where->add_option("--tier", tier_, "the nodes best at this")
      ->check(CLI::IsMember({"bandwidth", "latency", "capacity"}));
  where->add_option("--near-pci", near_pci_, "the node nearest to a device")
      ->type_name("0000:3b:00.0");
  where->require_option(0, 1);
  app.add_flag("--strict", is_strict_, "fail where a page lands elsewhere");
  app.add_option("--huge", huge_, "page size: thp falls back to 4K, 2M and 1G do not")
      ->check(CLI::IsMember({"thp", "2M", "1G"}));
}

void CreateFlags::add_lifetime(CLI::App& app) {
  app.add_option("--lifetime", lifetime_, "who may reclaim it, and when")
      ->capture_default_str()
      ->check(CLI::IsMember({"process", "last-detach", "job", "until-removed"}));
  app.add_option("--job", job_, "the job that --lifetime job is tied to")->type_name("ID");
  app.add_option("--mode", mode_, "permission bits, octal")
      ->capture_default_str()
      ->type_name("MODE");
  add_size(app, "--max-size", max_bytes_, "how large it may grow");
  app.add_flag("--sparse", is_sparse_, "take memory at first touch, and risk SIGBUS then");
}

Result<Placement> CreateFlags::placement() const {
  using Kind = Placement::Kind;
  Placement placement;
  placement.is_strict = is_strict_;
  if (node_ >= 0) {
    placement.kind = Kind::node;
    placement.nodes = {node_};
  } else if (!interleave_.empty()) {
    placement.kind = Kind::interleave;
    placement.nodes = interleave_;
  } else if (!split_.empty()) {
    placement.kind = Kind::split;
    placement.nodes = split_;
  } else if (!prefer_.empty()) {
    placement.kind = Kind::preferred;
    placement.nodes = prefer_;
  } else if (!weighted_.empty()) {
    placement.kind = Kind::weighted;
    STRATA_TRY(read_weights(weighted_, placement));
  } else if (!tier_.empty()) {
    placement.kind = Kind::tier;
    placement.tier = tier_of(tier_);
  } else if (!near_pci_.empty()) {
    placement.kind = Kind::near_pci;
    placement.pci_address = near_pci_;
  }
  return placement;
}

Result<CreateOptions> CreateFlags::to_options() const {
  CreateOptions options;
  STRATA_ASSIGN(options.placement, placement());
  options.page_size = page_size_of(huge_);
  options.lifetime = lifetime_of(lifetime_);
  options.job_id = job_;
  options.max_bytes = max_bytes_;
  options.commit = is_sparse_ ? Commit::sparse : Commit::up_front;
  if (!read_number(mode_, options.mode, 8) || options.mode > 0777) {
    return fail(Code::invalid_argument,
                fmt::format("--mode: '{}' is not an octal mode such as 0600", mode_));
  }
  if (options.lifetime == Lifetime::job && job_.empty()) {
    return fail(Code::invalid_argument, "--lifetime job: say which with --job ID");
  }
  return options;
}

}  // namespace strata::tools
