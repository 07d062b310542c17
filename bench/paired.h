// Compares two ways of doing one thing in one run: ours beside a peer's, turn and turn about.
// Each round measures ours, the peer, and the peer again as a control; what counts is the median
// of the ratios within rounds, so that a machine that slows down half way slows both.
//
//     PairedBench bench(argc, argv);
//     bench.compare({.name = "attach", .goal = at_most(3.0)},
//                   [&] { return timed_ns([&] { attach_ours(); }); },
//                   [&] { return timed_ns([&] { attach_raw(); }); });
//     return bench.finish();
//
//   Threads:  one.
//   Errors:   none: a bench whose goal is missed says so in its row. Tests assert no times.
//   Options:  --pairs=N (at least 11; default 15; more where they are cheap), --only=TEXT (of the
//   name), --json.
// A side returns its own time in nanoseconds, so that setting up and clearing away stay out.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "strata/os/deadline.h"

namespace strata::inline v0_1 {

// What the ratio of times, ours over the peer's, should be; or our time by itself.
struct Goal {
  std::optional<double> time_ratio_at_most;
  std::optional<double> our_ns_at_most;
};
inline Goal no_goal() { return {}; }
inline Goal at_most(double time_ratio) { return {time_ratio, {}}; }
inline Goal at_most_us(double our_us) { return {{}, our_us * 1e3}; }
// "Ours is at least `factor` times as fast."
inline Goal faster_by(double factor) { return {1.0 / factor, {}}; }

struct PairedCase {
  std::string name;
  std::string ours = "strata";
  std::string peer = "peer";
  Goal goal = no_goal();
  // What one call moves or does, for a rate beside the time: bytes, or operations.
  std::uint64_t bytes = 0;
  std::uint64_t operations = 0;
};

struct PairedResult {
  std::string name;
  double ours_ns = 0;  // medians
  double peer_ns = 0;
  double ratio = 0;      // of times, ours over the peer's
  double ratio_low = 0;  // quartiles
  double ratio_high = 0;
  double control = 0;  // the peer over itself
  double control_low = 0;
  double control_high = 0;
  bool is_goal_met = true;
};

class PairedBench {
 public:
  using Side = std::function<double()>;

  PairedBench(int argc, char** argv);

  // Runs one comparison, prints its row, and returns it; nothing where --only leaves it out.
  std::optional<PairedResult> compare(const PairedCase& what, const Side& ours, const Side& peer);
  // A line for people that is not a comparison: why one was left out, what the machine allows.
  void note(const std::string& text);
  // Prints the closing line. Returns the exit status: 0 even where goals are missed.
  int finish();

  bool wants(const std::string& name) const;
  unsigned pairs() const { return pairs_; }

 private:
  unsigned pairs_ = 15;
  std::string only_;
  bool is_json_ = false;
  std::vector<PairedResult> results_;
};

template <typename Body>
double timed_ns(const Body& body) {
  const std::uint64_t start = monotonic_ns();
  body();
  return static_cast<double>(monotonic_ns() - start);
}

// The mean of `count` calls, for what is too short to time alone.
template <typename Body>
double timed_ns_each(std::uint64_t count, const Body& body) {
  const std::uint64_t start = monotonic_ns();
  for (std::uint64_t i = 0; i < count; ++i)
    body();
  return static_cast<double>(monotonic_ns() - start) / static_cast<double>(count);
}

// Keeps the compiler from dropping a value that nobody reads.
template <typename T>
inline void keep(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

}  // namespace strata::inline v0_1
