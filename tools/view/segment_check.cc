#include "tools/view/segment_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "strata/base/bytes.h"
#include "strata/heap/heap.h"
#include "strata/heap/shared_dictionary.h"
#include "tools/view/heap_view.h"

namespace strata::inline v0_1::tools {
namespace {

constexpr int kLooks = 5;
constexpr std::uint64_t kBetweenLooksNs = 20'000'000;

void check_header(const Segment& segment, SegmentCheck& check) {
  const auto content = segment.content();
  if (!content) return check.add("header", content.error());
  if (!content->is_plain()) check.verified.push_back("payload: " + content->to_string());
}

void check_seal(const Segment& segment, SegmentCheck& check) {
  if (segment.state() != SegmentState::sealed) return;
  if (const auto verified = segment.verify(); !verified) {
    check.add("content", verified.error());
  } else {
    check.verified.push_back(
        fmt::format("content hash over {}", format_bytes(segment.payload_bytes())));
  }
}

void check_lock(const Segment& segment, SegmentCheck& check) {
  if (const auto sound = header_page_of(segment).lock.mutex.check(); !sound) {
    check.add("the segment's own lock", sound.error());
  } else {
    check.verified.emplace_back("the segment's own lock");
  }
}

bool is_harmless(const HeapFinding& finding) {
  return finding.kind == HeapFinding::Kind::hint || finding.kind == HeapFinding::Kind::dead_owner;
}

bool is_same(const HeapFinding& a, const HeapFinding& b) {
  return a.kind == b.kind && a.offset_bytes == b.offset_bytes && a.text == b.text;
}

// Takes away what `now` does not find any more.
void keep_lasting(std::vector<HeapFinding>& findings, const HeapReport& now) {
  std::erase_if(findings, [&](const HeapFinding& finding) {
    return std::none_of(now.findings.begin(), now.findings.end(),
                        [&](const HeapFinding& other) { return is_same(finding, other); });
  });
}

struct HeapLook {
  HeapReport report;
  CheckOutcome outcome = CheckOutcome::sound;
};

// A heap is seen exactly only while nobody allocates. What is wrong with it stays as it is from
// look to look; what is under way does not.
Result<HeapLook> look_at(Os& os, const Heap& heap) {
  HeapLook look;
  std::vector<HeapFinding> lasting;
  for (int i = 0; i < kLooks; ++i) {
    if (i > 0) os.sleep_ns(kBetweenLooksNs);
    STRATA_ASSIGN(look.report, heap.check());
    if (look.report.is_consistent()) return look;
    if (i == 0) lasting = look.report.findings;
    keep_lasting(lasting, look.report);
    // More than are listed is no coincidence.
    if (look.report.finding_count > look.report.findings.size()) lasting = look.report.findings;
  }
  const bool is_wrong = std::any_of(lasting.begin(), lasting.end(),
                                    [](const HeapFinding& each) { return !is_harmless(each); });
  look.outcome = is_wrong ? CheckOutcome::damaged : CheckOutcome::busy;
  look.report.findings = std::move(lasting);
  return look;
}

void add_heap(const HeapLook& look, SegmentCheck& check) {
  const HeapReport& report = look.report;
  check.verified.push_back(fmt::format(
      "heap: {} units, {} spans, {} blocks ({} allocated, {})", report.units, report.spans,
      report.blocks, report.allocated_blocks, format_bytes(report.allocated_bytes)));
  check.verified.push_back(fmt::format("{} named objects", report.names));
  if (report.log_slots != 0) {
    check.verified.push_back(fmt::format("transaction log: {} slots, {} records in use",
                                         report.log_slots, report.log_records));
  }
  for (const HeapFinding& finding : report.findings) {
    check.add({finding_kind_name(finding.kind),
               fmt::format("at 0x{:x}: {}", finding.offset_bytes, finding.text),
               is_harmless(finding) ? CheckOutcome::sound : CheckOutcome::damaged});
  }
  if (look.outcome == CheckOutcome::busy) {
    check.add({"heap", "others change it all the time, so that it was never seen whole",
               CheckOutcome::busy});
  }
  // The findings are cut off at some number, the verdict is not.
  check.verdict = worse_of(check.verdict, look.outcome);
}

void check_dictionary(Os& os, const Dictionary& dictionary, const std::string& name,
                      std::span<const std::byte> payload, SegmentCheck& check) {
  DictionaryReport report;
  auto seen = Dictionary::Peek::changed;
  for (int i = 0; i < kLooks && seen == Dictionary::Peek::changed; ++i) {
    if (i > 0) os.sleep_ns(kBetweenLooksNs);
    report = {};
    seen = dictionary.check(payload, report);
  }
  if (seen == Dictionary::Peek::changed) {
    return check.add({"dictionary",
                      name +
                          " is changed all the time, or whoever changed it died: the next change "
                          "completes what it was doing",
                      CheckOutcome::busy});
  }
  for (const std::string& finding : report.findings)
    check.add({"dictionary", name + ": " + finding});
  check.verified.push_back(fmt::format("dictionary {}: {} keys, {} buckets, longest chain {}", name,
                                       report.keys, report.buckets, report.longest_chain));
}

void check_dictionaries(Os& os, const Heap& heap, const Segment& segment, SegmentCheck& check) {
  const auto objects = heap.objects();
  const auto payload = segment.host_bytes();
  if (!objects || !payload) return;
  for (const ObjectInfo& object : *objects) {
    if (object.type != type_tag<SharedDictionaryRoot>().name) continue;
    // find() checks the layout too: one of another version is left out.
    const auto root = heap.find<SharedDictionaryRoot>(object.name);
    if (root) check_dictionary(os, (*root)->map, object.name, *payload, check);
  }
}

void check_heap(Os& os, Segment& segment, SegmentCheck& check) {
  if (!has_heap(segment)) {
    check.verified.push_back("no heap to check");
    return;
  }
  const auto heap = open_heap(segment);
  if (!heap) return check.add("heap", heap.error());
  const auto look = look_at(os, *heap);
  if (!look) return check.add("heap", look.error());
  add_heap(*look, check);
  const auto locks = named_locks(*heap);
  if (!locks) return check.add("lock", locks.error());
  for (const NamedLock& lock : *locks)
    if (!lock.is_intact) check.add({"lock", lock.name + " holds no state of a lock"});
  check.verified.push_back(fmt::format("{} named locks", locks->size()));
  check_dictionaries(os, *heap, segment, check);
}

}  // namespace

void SegmentCheck::add(Finding finding) {
  verdict = worse_of(verdict, finding.outcome);
  findings.push_back(std::move(finding));
}

void SegmentCheck::add(const std::string& part, const Status& failure) {
  add({part, failure.message(), outcome_of(failure.code())});
}

std::string_view finding_word(const SegmentCheck::Finding& finding) {
  switch (finding.outcome) {
    case CheckOutcome::sound: return "left over";
    case CheckOutcome::damaged: return "wrong";
    case CheckOutcome::busy: return "busy";
    case CheckOutcome::gone: return "gone";
    case CheckOutcome::unknown: break;
  }
  return "unknown";
}

SegmentCheck check_content(Os& os, Segment& segment) {
  SegmentCheck check;
  check_header(segment, check);
  check_seal(segment, check);
  check_lock(segment, check);
  check_heap(os, segment, check);
  return check;
}

}  // namespace strata::inline v0_1::tools
