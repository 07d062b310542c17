#include "examples/demo/worker.h"

#include <cstdlib>
#include <vector>

#include "examples/demo/corpus.h"
#include "examples/demo/shares.h"
#include "os/os.h"
#include "segment/lease.h"

namespace demo {
namespace {

using strata::KiB;
using strata::Result;

// A share takes microseconds. This pause, between taking one and counting it, is there for the
// audience: without it all would be over before anybody could be killed half way.
constexpr std::uint64_t kPauseNs = 4'000'000;
constexpr std::uint64_t kTimeoutMs = 30'000;

std::uint64_t kib_of(const std::string& text, const std::string& key) {
  const std::size_t at = text.find(key);
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + key.size(), nullptr, 10);
}

Result<void> work_through(strata::Os& os, Work& work, const strata::Participant& self,
                          const std::vector<std::string_view>& texts, WorkerRecord& record) {
  const strata::Deadline deadline = strata::Deadline::after_ms(kTimeoutMs);
  while (work.shares_done.load() < work.share_count) {
    STRATA_ASSIGN(Share* const share, take_share(work, self));
    os.sleep_ns(kPauseNs);
    if (deadline.expired()) return strata::fail(strata::Code::timed_out, "shares are left over");
    if (share == nullptr) continue;
    if (share->text >= texts.size()) return strata::fail(strata::Code::corrupt, "no such text");
    finish_share(work, *share, count(texts[share->text], share->offset_bytes, share->bytes));
    ++record.shares;
    if (share->taken_from.load() != 0) ++record.shares_taken_over;
  }
  return {};
}

}  // namespace

std::uint64_t private_bytes(strata::Os& os) {
  const auto rollup = os.read_file("/proc/self/smaps_rollup");
  if (!rollup) return 0;
  return (kib_of(*rollup, "Private_Clean:") + kib_of(*rollup, "Private_Dirty:")) * 1024;
}

Result<void> run_worker(strata::Catalog& catalog, strata::Os& os, const WorkerOptions& options) {
  const std::uint64_t before = private_bytes(os);
  STRATA_ASSIGN(const strata::Segment corpus,
                catalog.attach(options.corpus_uri, {.access = strata::Access::read_only}));
  STRATA_ASSIGN(const std::vector<std::string_view> texts, texts_of(corpus));
  STRATA_ASSIGN(strata::Segment work_segment, catalog.attach(options.work_uri));
  STRATA_ASSIGN(Work* const work, work_of(work_segment));
  STRATA_ASSIGN(const strata::Participant* const self, work_segment.participant());
  // Where a worker would keep what only it needs; when it is killed, gc has something to find.
  STRATA_ASSIGN(const strata::Segment scratch,
                catalog.create(options.scratch_uri,
                               {.payload_bytes = KiB(16), .lifetime = strata::Lifetime::process}));

  WorkerRecord& record = work->workers[options.index];
  record.private_bytes_before = before;
  record.token.store(self->token());
  STRATA_TRY(work_through(os, *work, *self, texts, record));
  record.private_bytes_after = private_bytes(os);
  return {};
}

}  // namespace demo
