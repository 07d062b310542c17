#include "bench/paired.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace strata::inline v0_1 {
namespace {

// What is cheap is measured more often, which costs little and steadies the median.
constexpr std::uint64_t kAtLeastNs = 300'000'000;
constexpr unsigned kMostPairs = 1000;
constexpr unsigned kFewestPairs = 11;  // fewer do not resolve a ratio of 1.2 on a busy machine

double quantile(std::vector<double> values, double part) {
  std::sort(values.begin(), values.end());
  const double at = part * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}

std::string time_text(double ns) {
  if (ns < 1e3) return fmt::format("{:.1f} ns", ns);
  if (ns < 1e6) return fmt::format("{:.2f} us", ns / 1e3);
  if (ns < 1e9) return fmt::format("{:.2f} ms", ns / 1e6);
  return fmt::format("{:.2f} s", ns / 1e9);
}

std::string rate_text(const PairedCase& what, double ns) {
  if (what.bytes > 0) return fmt::format(" ({:.2f} GB/s)", static_cast<double>(what.bytes) / ns);
  if (what.operations > 0) {
    return fmt::format(" ({} each)", time_text(ns / static_cast<double>(what.operations)));
  }
  return {};
}

}  // namespace

PairedBench::PairedBench(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind("--pairs=", 0) == 0) {
      const unsigned long asked = std::strtoul(argument.c_str() + 8, nullptr, 10);
      pairs_ = static_cast<unsigned>(std::clamp(asked, 1ul * kFewestPairs, 10'000ul));
    } else if (argument.rfind("--only=", 0) == 0) {
      only_ = argument.substr(7);
    } else if (argument == "--json") {
      is_json_ = true;
    } else {
      std::fprintf(stderr, "unknown option %s; there are --pairs=N --only=TEXT --json\n", argv[i]);
      std::exit(2);
    }
  }
}

bool PairedBench::wants(const std::string& name) const {
  return name.find(only_) != std::string::npos;
}

std::optional<PairedResult> PairedBench::compare(const PairedCase& what, const Side& ours,
                                                 const Side& peer) {
  if (!wants(what.name)) return {};
  ours(), peer();  // warm: page tables, caches, first-time costs
  std::vector<double> our_times, peer_times, ratios, controls;
  const Deadline enough = Deadline::after_ns(kAtLeastNs);
  for (unsigned round = 0; round < pairs_ || (round < kMostPairs && !enough.expired()); ++round) {
    // The order turns, so that neither side always runs on what the other left behind.
    double mine = 0, theirs = 0, again = 0;
    switch (round % 3) {
      case 0: mine = ours(), theirs = peer(), again = peer(); break;
      case 1: theirs = peer(), mine = ours(), again = peer(); break;
      default: theirs = peer(), again = peer(), mine = ours(); break;
    }
    our_times.push_back(mine);
    peer_times.push_back(theirs);
    ratios.push_back(mine / theirs);
    controls.push_back(again / theirs);
  }
  PairedResult result{what.name,
                      quantile(our_times, 0.5),
                      quantile(peer_times, 0.5),
                      quantile(ratios, 0.5),
                      quantile(ratios, 0.25),
                      quantile(ratios, 0.75),
                      quantile(controls, 0.5),
                      quantile(controls, 0.25),
                      quantile(controls, 0.75),
                      true};
  const auto& [ratio_goal, time_goal] = what.goal;
  result.is_goal_met =
      (!ratio_goal || result.ratio <= *ratio_goal) && (!time_goal || result.ours_ns <= *time_goal);
  results_.push_back(result);
  if (is_json_) {
    fmt::print(
        "{{\"name\":\"{}\",\"ours\":\"{}\",\"peer\":\"{}\",\"ours_ns\":{:.1f},\"peer_ns\":{:.1f},"
        "\"ratio\":{:.4f},"
        "\"ratio_low\":{:.4f},\"ratio_high\":{:.4f},\"control\":{:.4f},\"control_low\":{:.4f},"
        "\"control_high\":{:.4f},\"goal\":{},\"goal_ns\":{},\"met\":{},\"pairs\":{}}}\n",
        result.name, what.ours, what.peer, result.ours_ns, result.peer_ns, result.ratio,
        result.ratio_low, result.ratio_high, result.control, result.control_low,
        result.control_high, ratio_goal ? fmt::format("{:.4f}", *ratio_goal) : "null",
        time_goal ? fmt::format("{:.1f}", *time_goal) : "null", result.is_goal_met, ratios.size());
  } else {
    fmt::print("{}\n", what.name);
    fmt::print("  {:<12} {:>12}{}\n", what.ours, time_text(result.ours_ns),
               rate_text(what, result.ours_ns));
    fmt::print("  {:<12} {:>12}{}\n", what.peer, time_text(result.peer_ns),
               rate_text(what, result.peer_ns));
    fmt::print(
        "  ratio {:.3f} ({:.3f}..{:.3f}), {:.2f}x as fast; control {:.3f} ({:.3f}..{:.3f}); "
        "{} pairs",
        result.ratio, result.ratio_low, result.ratio_high, 1.0 / result.ratio, result.control,
        result.control_low, result.control_high, ratios.size());
    const char* const outcome = result.is_goal_met ? "met" : "MISSED";
    if (ratio_goal) fmt::print("; goal <= {:.3f} {}", *ratio_goal, outcome);
    if (time_goal) fmt::print("; goal <= {} {}", time_text(*time_goal), outcome);
    fmt::print("\n");
  }
  std::fflush(stdout);
  return result;
}

void PairedBench::note(const std::string& text) {
  if (is_json_) {
    fmt::print(stderr, "{}\n", text);
  } else {
    fmt::print("note: {}\n", text);
  }
}

int PairedBench::finish() {
  const auto met = std::count_if(results_.begin(), results_.end(),
                                 [](const PairedResult& each) { return each.is_goal_met; });
  if (!is_json_) {
    fmt::print("{} of {} within their goals; medians of ratios of times\n", met, results_.size());
  }
  return 0;
}

}  // namespace strata::inline v0_1
