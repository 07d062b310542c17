#include "numa/place.h"

#include <fmt/format.h>
#include <linux/mempolicy.h>

#include <algorithm>

#include "os/os.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1 {
namespace {

bool is_refused(const Status& status) {
  const int error = status.sys_errno();
  return error == EPERM || error == EACCES || error == ENOSYS;
}

}  // namespace

Result<void> set_policy(Os& os, std::span<std::byte> range, const Plan& plan) {
  if (plan.mode == Plan::Mode::interleave) {
    return os.mbind(range.data(), range.size(), MPOL_INTERLEAVE, plan.nodes, 0);
  }
  const bool is_bound = plan.mode == Plan::Mode::bind || plan.is_strict;
  const int mode = is_bound ? MPOL_BIND : MPOL_PREFERRED;
  const std::vector<NodeExtent> ranges = extents(plan);
  if (ranges.size() <= 1) {
    return os.mbind(range.data(), range.size(), mode, std::span(plan.nodes).first(1), 0);
  }
  for (std::size_t i = 0; i < ranges.size() && ranges[i].offset_bytes < range.size(); ++i) {
    const std::uint64_t rest = range.size() - ranges[i].offset_bytes;
    const bool is_last = i + 1 == ranges.size();
    const std::uint64_t bytes = is_last ? rest : std::min(ranges[i].bytes, rest);
    STRATA_TRY(os.mbind(range.data() + ranges[i].offset_bytes, bytes, mode,
                        std::span(&ranges[i].node, 1), 0));
  }
  return {};
}

Result<Notes> bind_pages(Os& os, std::span<std::byte> range, const Plan& plan) {
  // With one node there is nothing to choose, and no reason to fail where policies are refused.
  if (range.empty() || plan.nodes.empty() || !plan.has_choice()) return Notes{};
  if (auto bound = set_policy(os, range, plan); !bound) {
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

}  // namespace strata::inline v0_1
