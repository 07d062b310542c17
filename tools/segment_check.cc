#include "tools/segment_check.h"

#include <fmt/format.h>

#include "base/bytes.h"
#include "heap/heap.h"
#include "tools/heap_view.h"

namespace strata::tools {
namespace {

void check_seal(const Segment& segment, SegmentCheck& check) {
  if (segment.state() != SegmentState::sealed) return;
  if (const auto verified = segment.verify(); !verified) {
    check.add({"content", verified.error().message()});
  } else {
    check.verified.push_back(
        fmt::format("content hash over {}", format_bytes(segment.payload_bytes())));
  }
}

void add_heap(const HeapReport& report, SegmentCheck& check) {
  check.verified.push_back(fmt::format(
      "heap: {} units, {} spans, {} blocks ({} allocated, {})", report.units, report.spans,
      report.blocks, report.allocated_blocks, format_bytes(report.allocated_bytes)));
  check.verified.push_back(fmt::format("{} named objects", report.names));
  if (report.log_slots != 0) {
    check.verified.push_back(fmt::format("transaction log: {} slots, {} records in use",
                                         report.log_slots, report.log_records));
  }
  for (const HeapFinding& finding : report.findings) {
    const bool is_harmless =
        finding.kind == HeapFinding::Kind::hint || finding.kind == HeapFinding::Kind::dead_owner;
    check.add({finding_kind_name(finding.kind),
               fmt::format("at 0x{:x}: {}", finding.offset_bytes, finding.text), is_harmless});
  }
  // The findings are cut off at some number, the verdict is not.
  check.is_sound = check.is_sound && report.is_consistent();
}

Result<void> check_heap(Segment& segment, SegmentCheck& check) {
  if (!has_heap(segment)) {
    check.verified.push_back("no heap to check");
    return {};
  }
  const auto heap = open_heap(segment);
  if (!heap) {
    check.add({"heap", heap.error().message()});
    return {};
  }
  STRATA_ASSIGN(const HeapReport report, heap->check());
  add_heap(report, check);
  const auto locks = named_locks(*heap);
  if (!locks) {
    check.add({"lock", locks.error().message()});
    return {};
  }
  for (const NamedLock& lock : *locks)
    if (!lock.is_intact) check.add({"lock", lock.name + " holds no state of a lock"});
  check.verified.push_back(fmt::format("{} named locks", locks->size()));
  return {};
}

}  // namespace

void SegmentCheck::add(Finding finding) {
  is_sound = is_sound && finding.is_harmless;
  findings.push_back(std::move(finding));
}

Result<SegmentCheck> check_content(Segment& segment) {
  SegmentCheck check;
  check_seal(segment, check);
  STRATA_TRY(check_heap(segment, check));
  return check;
}

}  // namespace strata::tools
