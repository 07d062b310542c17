// migrate(): moves the pages of a live range.
#include <fmt/format.h>
#include <linux/mempolicy.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "numa/page_walk.h"
#include "numa/place.h"
#include "os/os.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1 {
namespace {

// A page that another process is just using is passed over. The tries are further and further
// apart, together about a second: long enough for one to be free in, while others write.
constexpr int kRounds = 10;
constexpr std::uint64_t kFirstPauseNs = 2'000'000;

// Where each page of a range has to go.
class Targets {
 public:
  Targets(const Plan& plan, std::span<std::byte> range)
      : plan_(plan), start_(range.data()), extents_(extents(plan)) {}

  int of(const std::byte* page) const {
    const auto offset_bytes = static_cast<std::uint64_t>(page - start_);
    if (plan_.mode == Plan::Mode::interleave) {
      return plan_.nodes[offset_bytes / plan_.page_bytes % plan_.nodes.size()];
    }
    const auto next = std::upper_bound(extents_.begin(), extents_.end(), offset_bytes,
                                       [](std::uint64_t offset, const NodeExtent& extent) {
                                         return offset < extent.offset_bytes;
                                       });
    return next == extents_.begin() ? plan_.nodes.front() : std::prev(next)->node;
  }

 private:
  const Plan& plan_;
  const std::byte* start_;
  std::vector<NodeExtent> extents_;
};

// One pass over the range; what it found in the wrong place and could not move, by errno.
class Round {
 public:
  Round(Os& os, const Targets& targets, int flags) : os_(os), targets_(targets), flags_(flags) {}

  Result<void> run(const std::vector<Stretch>& stretches) {
    for (const Stretch& stretch : stretches) {
      Result<void> moved;
      STRATA_TRY(ask_nodes(os_, stretch, [&](std::byte* page, std::uint64_t bytes, int node) {
        if (targets_.of(page) == node || !moved) return;
        pages_.push_back(page);
        nodes_.push_back(targets_.of(page));
        page_bytes_ = bytes;
        if (pages_.size() == kPagesPerCall) moved = flush();
      }));
      STRATA_TRY(moved);
      STRATA_TRY(flush());
    }
    return {};
  }

  std::uint64_t stayed_pages() const {
    std::uint64_t sum = 0;
    for (const auto& [error, pages] : stayed_)
      sum += pages;
    return sum;
  }

  std::string reasons() const {
    std::string text;
    for (const auto& [error, pages] : stayed_) {
      const char* const why =
          error == EACCES   ? "mapped by other processes too: only CAP_SYS_NICE may move these"
          : error == ENOMEM ? "no free memory on the node they should go to"
          : error == EBUSY || error == EAGAIN ? "in use by the kernel, or pinned"
                                              : "refused by the kernel";
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", pages, why);
    }
    return text;
  }

 private:
  Result<void> flush() {
    if (pages_.empty()) return {};
    auto results = os_.move_pages(pages_, nodes_, flags_);
    if (!results) return unexpected(results.error());
    for (std::size_t i = 0; i < results->size(); ++i) {
      // A page that has gone needs no place any more.
      const int got = (*results)[i];
      if (got != nodes_[i] && got != -ENOENT) {
        stayed_[got < 0 ? -got : EBUSY] += page_bytes_ / kPageBytes;
      }
    }
    pages_.clear();
    nodes_.clear();
    return {};
  }

  Os& os_;
  const Targets& targets_;
  int flags_;
  std::vector<void*> pages_;
  std::vector<int> nodes_;
  std::uint64_t page_bytes_ = kPageBytes;  // of one stretch, all alike
  std::map<int, std::uint64_t> stayed_;
};

// Whether there is nothing to move: a plan without a choice says where new pages go, and that alone
// does not tell where those are that are there.
bool lies_as_planned(const Plan& plan, const PlacementReport& report) {
  return !plan.has_choice() &&
         report.pages_on(plan.nodes.front()) + report.pages_absent == report.pages_total;
}

Result<PlacementReport> verified_report(Os& os, std::span<std::byte> range, const Plan& plan) {
  STRATA_ASSIGN(PlacementReport got, report(os, range));
  if (auto checked = verify(plan, got); !checked) return unexpected(checked.error().in("migrate"));
  return got;
}

}  // namespace

Result<PlacementReport> migrate(Os& os, std::span<std::byte> range, const Plan& plan) {
  if (plan.nodes.empty()) {
    return fail(Code::invalid_argument, "migrate: the plan names no node to move to");
  }
  if (!plan.has_choice()) {
    STRATA_ASSIGN(PlacementReport before, report(os, range));
    if (lies_as_planned(plan, before)) return before;
  }
  // First the policy, so that pages which are made meanwhile are right from the start.
  if (auto set = set_policy(os, range, plan); !set) {
    return unexpected(set.error().in("migrate: set the memory policy"));
  }
  const std::span<std::byte> pages(range.data(), align_up(range.size(), kPageBytes));
  const Targets targets(plan, pages);
  int flags = MPOL_MF_MOVE_ALL;
  std::string reasons;
  std::uint64_t stayed_pages = 0;
  for (int tries = 0; tries < kRounds; ++tries) {
    if (tries > 0) os.sleep_ns(kFirstPauseNs << (tries - 1));
    STRATA_ASSIGN(const MappedStretches mapped, map_and_look(os, pages));
    Round round(os, targets, flags);
    auto done = round.run(mapped.stretches);
    if (!done && done.error().sys_errno() == EPERM && flags == MPOL_MF_MOVE_ALL) {
      flags = MPOL_MF_MOVE;  // what only this process has mapped may be moved by anybody
      continue;
    }
    if (!done) return unexpected(done.error().in("migrate"));
    stayed_pages = round.stayed_pages();
    reasons = round.reasons();
    if (stayed_pages == 0) return verified_report(os, range, plan);
  }
  return fail(Code::failed_precondition,
              fmt::format("migrate: {} of {} pages of 4 KiB stayed behind: {}", stayed_pages,
                          pages.size() / kPageBytes, reasons));
}

}  // namespace strata::inline v0_1
