#include "numa/place.h"

#include <fmt/format.h>
#include <linux/mempolicy.h>

#include <algorithm>

#include "base/bytes.h"
#include "os/os.h"

namespace strata {
namespace {

// A page that another process is just using is passed over. The tries are further and further
// apart, together about a second: long enough for one to be free in, while others write.
constexpr int kMoveTries = 10;
constexpr std::uint64_t kFirstWaitNs = 2'000'000;

bool is_refused(const Status& status) {
  const int error = status.sys_errno();
  return error == EPERM || error == EACCES || error == ENOSYS;
}

// Applies the plan's policy to the range; `flags` as in mbind(2).
Result<void> apply(Os& os, std::span<std::byte> range, const Plan& plan, unsigned flags) {
  if (plan.mode == Plan::Mode::interleave) {
    return os.mbind(range.data(), range.size(), MPOL_INTERLEAVE, plan.nodes, flags);
  }
  const bool is_bound = plan.mode == Plan::Mode::bind || plan.is_strict;
  const int mode = is_bound ? MPOL_BIND : MPOL_PREFERRED;
  const std::vector<Extent> ranges = extents(plan);
  if (ranges.size() <= 1) {
    return os.mbind(range.data(), range.size(), mode, std::span(plan.nodes).first(1), flags);
  }
  for (std::size_t i = 0; i < ranges.size() && ranges[i].offset_bytes < range.size(); ++i) {
    const std::uint64_t rest = range.size() - ranges[i].offset_bytes;
    const bool is_last = i + 1 == ranges.size();
    const std::uint64_t bytes = is_last ? rest : std::min(ranges[i].bytes, rest);
    STRATA_TRY(os.mbind(range.data() + ranges[i].offset_bytes, bytes, mode,
                        std::span(&ranges[i].node, 1), flags));
  }
  return {};
}

// Pages that are not on any node of the plan, or more than its share on one.
std::uint64_t stayed_behind(const Plan& plan, const PlacementReport& got) {
  const std::uint64_t tolerance = 2 * plan.page_bytes / kPageBytes;
  std::uint64_t pages = 0;
  for (const NodePages& each : got.pages_on_node) {
    const auto share =
        std::find_if(plan.expected.begin(), plan.expected.end(),
                     [&](const NodePages& expected) { return expected.node == each.node; });
    if (share == plan.expected.end()) {
      pages += each.pages;
    } else if (plan.expected.size() > 1 && each.pages > share->pages + tolerance) {
      pages += each.pages - share->pages;
    }
  }
  return pages;
}

std::string counts_text(const PlacementReport& report) {
  std::string text;
  for (const NodePages& each : report.pages_on_node)
    text += fmt::format("{}{} on node {}", text.empty() ? "" : ", ", each.pages, each.node);
  return text;
}

// Moves what other processes have mapped too, where that is allowed; tells whether it was.
Result<bool> move_by_policy(Os& os, std::span<std::byte> range, const Plan& plan) {
  const auto all = apply(os, range, plan, MPOL_MF_MOVE_ALL);
  if (all) return true;
  if (!is_refused(all.error())) return unexpected(all.error().in("migrate"));
  if (auto own = apply(os, range, plan, MPOL_MF_MOVE); !own) {
    return unexpected(own.error().in("migrate"));
  }
  return false;
}

}  // namespace

Result<Notes> bind_pages(Os& os, std::span<std::byte> range, const Plan& plan) {
  // With one node there is nothing to choose, and no reason to fail where policies are refused.
  if (range.empty() || plan.nodes.empty() || !plan.has_choice()) return Notes{};
  if (auto bound = apply(os, range, plan, 0); !bound) {
    if (plan.is_strict || !is_refused(bound.error())) {
      return unexpected(bound.error().in("set the memory policy of the segment"));
    }
    return Notes{
        "the kernel refuses memory policies, so pages go where their first toucher runs: " +
        bound.error().message()};
  }
  return Notes{};
}

Result<PlacementReport> place(Os& os, std::span<std::byte> range, const Plan& plan,
                              const CommitOptions& options) {
  STRATA_ASSIGN(Notes notes, bind_pages(os, range, plan));
  STRATA_ASSIGN(const Notes more, commit(os, range, plan, options));
  notes.insert(notes.end(), more.begin(), more.end());
  auto got = report(os, range);
  if (!got) {
    if (plan.is_strict) return unexpected(got.error());
    PlacementReport unknown;
    unknown.pages_total = range.size() / kPageBytes;
    notes.push_back("where the pages are is not known: " + got.error().message());
    got = std::move(unknown);
  }
  got->notes.insert(got->notes.begin(), notes.begin(), notes.end());
  STRATA_TRY(verify(plan, *got));
  return got;
}

Result<PlacementReport> migrate(Os& os, std::span<std::byte> range, const Plan& plan) {
  if (plan.nodes.empty()) {
    return fail(Code::invalid_argument, "migrate: the plan names no node to move to");
  }
  // Asking maps all pages into this process: only those can be moved.
  STRATA_ASSIGN(PlacementReport got, report(os, range));
  if (!plan.has_choice()) return got;
  bool moves_all = true;
  for (int tries = 0; tries < kMoveTries; ++tries) {
    if (tries > 0) os.sleep_ns(kFirstWaitNs << (tries - 1));
    STRATA_ASSIGN(moves_all, move_by_policy(os, range, plan));
    STRATA_ASSIGN(got, report(os, range));
    if (stayed_behind(plan, got) == 0) return got;
  }
  const std::uint64_t stayed = stayed_behind(plan, got);
  return fail(Code::failed_precondition,
              fmt::format("migrate: {} of {} pages of 4 KiB stayed behind ({}); {}", stayed,
                          got.pages_total, counts_text(got),
                          moves_all ? "the target nodes are full, or the pages are pinned"
                                    : "pages that other processes have mapped move only with "
                                      "CAP_SYS_NICE"));
}

}  // namespace strata
