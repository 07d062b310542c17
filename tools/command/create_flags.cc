#include "tools/command/create_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "numa/gpu_devices.h"
#include "tools/command/topology_flags.h"

namespace strata::inline v0_1::tools {
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

std::optional<Lifetime> lifetime_of(std::string_view name) {
  if (name == "process") return Lifetime::process;
  if (name == "last-detach") return Lifetime::last_detach;
  if (name == "job") return Lifetime::job;
  if (name == "until-removed") return Lifetime::until_removed;
  return std::nullopt;
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

DeviceMechanism mechanism_of(std::string_view name) {
  if (name == "vmm-fd") return DeviceMechanism::vmm_fd;
  if (name == "ipc") return DeviceMechanism::legacy_ipc;
  if (name == "fabric") return DeviceMechanism::fabric;
  return DeviceMechanism::automatic;
}

}  // namespace

Result<std::uint32_t> parse_mode(std::string_view text) {
  std::uint32_t mode = 0;
  if (read_number(text, mode, 8) && mode <= 0777) return mode;
  return fail(Code::invalid_argument,
              fmt::format("--mode: '{}' is not an octal mode such as 0600", text));
}

void CreateFlags::add_placement(Arguments& arguments) {
  arguments.alternatives("Placement")
      .option("--node", node_, "all pages on this NUMA node", "N")
      .list("--interleave", interleave_, "page by page over these nodes", "N,N")
      .list("--weighted", weighted_, "so many pages on each node, in turn", "N=W,N=W")
      .list("--split", split_, "an equal part, in one piece, on each of these nodes", "N,N")
      .list("--prefer", prefer_, "these nodes in order, others when they are full", "N,N")
      .choice("--tier", tier_, {"bandwidth", "latency", "capacity"}, "the nodes best at this")
      .option("--near-pci", near_pci_, "the node nearest to a device", "0000:3b:00.0")
      .option("--near", near_gpu_, "the node nearest to a GPU, as `strata topology` names it",
              "gpu:N|UUID");
  arguments.flag("--strict", is_strict_, "fail where a page lands elsewhere")
      .choice("--huge", huge_, {"thp", "2M", "1G"},
              "page size: thp falls back to 4K, 2M and 1G do not");
}

void CreateFlags::add_lifetime(Arguments& arguments) {
  arguments
      .choice("--lifetime", lifetime_, {"process", "last-detach", "job", "until-removed"},
              "who may reclaim it, and when")
      .option("--job", job_, "the job that --lifetime job is tied to", "ID")
      .option_with_default("--mode", mode_, "permission bits, octal", "MODE")
      .size("--max-size", max_bytes_, "how large it may grow")
      .flag("--sparse", is_sparse_, "take memory at first touch, and risk SIGBUS then");
}

void CreateFlags::add_content(Arguments& arguments) {
  arguments
      .option("--dtype", dtype_, "its elements, as NumPy spells them: f8, int32, u1, S16", "TYPE")
      .option("--shape", shape_, "how many elements, in each dimension", "NxN");
}

void CreateFlags::add_device(Arguments& arguments) {
  arguments
      .option(
          "--device", device_,
          "of cuda: the GPU to make it on, as CUDA counts, or by its UUID; without it the first",
          "N|UUID")
      .choice(
          "--mechanism", mechanism_, {"auto", "vmm-fd", "ipc", "fabric"},
          "of cuda: how others get at the memory; auto is vmm-fd, or an error that says why not");
}

Result<Content> CreateFlags::content(std::uint64_t payload_bytes) const {
  Content content;
  if (dtype_.empty() && shape_.empty()) return content;
  if (dtype_.empty()) return fail(Code::invalid_argument, "--shape: of what? Say --dtype f8");
  auto element = spell_element(dtype_);
  if (!element) return unexpected(element.error().in("--dtype"));
  content.element = std::move(*element);
  if (shape_.empty()) {
    if (payload_bytes == 0) {
      return fail(Code::invalid_argument, "--dtype: how many? Say --shape 1000x1000");
    }
    content.shape = {0};
    content = content.with_payload(payload_bytes);
    STRATA_ASSIGN(const std::uint64_t bytes, content.bytes());
    if (bytes == payload_bytes) return content;
    return fail(
        Code::invalid_argument,
        fmt::format("--dtype {}: {} bytes are no whole number of it", dtype_, payload_bytes));
  }
  std::string_view rest = shape_;
  while (true) {
    const std::size_t end = std::min(rest.find('x'), rest.size());
    std::uint64_t size = 0;
    if (!read_number(rest.substr(0, end), size)) {
      return fail(Code::invalid_argument,
                  fmt::format("--shape: '{}' is not N or NxN, such as 1000x3", shape_));
    }
    content.shape.push_back(size);
    if (end == rest.size()) return content;
    rest.remove_prefix(end + 1);
  }
}

Result<Placement> CreateFlags::placement(Os& os, const std::string& topology_spec) const {
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
  } else if (!near_gpu_.empty()) {
    STRATA_ASSIGN(const Topology topology, load_topology(os, topology_spec));
    STRATA_ASSIGN(const GpuDevice gpu, choose_gpu(find_gpus(os, topology), near_gpu_));
    placement.kind = Kind::near_pci;
    placement.pci_address = gpu.pci_address;
  }
  return placement;
}

Result<CreateOptions> CreateFlags::to_options(Os& os, const std::string& topology) const {
  CreateOptions options;
  STRATA_ASSIGN(options.placement, placement(os, topology));
  options.page_size = page_size_of(huge_);
  options.lifetime = lifetime_of(lifetime_).value_or(Lifetime::until_removed);
  options.job_id = job_;
  options.device.device = device_;
  options.device.mechanism = mechanism_of(mechanism_);
  options.max_bytes = max_bytes_;
  options.commit = is_sparse_ ? Commit::sparse : Commit::up_front;
  STRATA_ASSIGN(options.mode, parse_mode(mode_));
  if (options.lifetime == Lifetime::job && job_.empty()) {
    return fail(Code::invalid_argument, "--lifetime job: say which with --job ID");
  }
  return options;
}

}  // namespace strata::inline v0_1::tools
