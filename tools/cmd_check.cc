#include <fmt/format.h>

#include "base/bytes.h"
#include "heap/heap.h"
#include "tools/commands.h"
#include "tools/heap_view.h"
#include "tools/segment_view.h"

namespace strata::tools {
namespace {

struct Findings {
  std::vector<std::string> verified;
  Json list = Json::array();
  bool is_sound = true;

  void add(const std::string& part, const std::string& text, bool is_harmless) {
    list.push_back({{"part", part}, {"text", text}, {"harmless", is_harmless}});
    is_sound = is_sound && is_harmless;
  }
};

Result<void> check_seal(const Segment& segment, Findings& findings) {
  if (segment.state() != SegmentState::sealed) return {};
  if (const auto verified = segment.verify(); !verified) {
    findings.add("content", verified.error().message(), false);
  } else {
    findings.verified.push_back(
        fmt::format("content hash over {}", format_bytes(segment.payload_bytes())));
  }
  return {};
}

Result<void> check_heap(Segment& segment, Findings& findings) {
  if (!has_heap(segment)) {
    findings.verified.push_back("no heap to check");
    return {};
  }
  const auto heap = open_heap(segment);
  if (!heap) {
    findings.add("heap", heap.error().message(), false);
    return {};
  }
  STRATA_ASSIGN(const HeapReport report, heap->check());
  findings.verified.push_back(fmt::format(
      "heap: {} units, {} spans, {} blocks ({} allocated, {})", report.units, report.spans,
      report.blocks, report.allocated_blocks, format_bytes(report.allocated_bytes)));
  findings.verified.push_back(fmt::format("{} named objects", report.names));
  for (const HeapFinding& finding : report.findings) {
    const bool is_harmless =
        finding.kind == HeapFinding::Kind::hint || finding.kind == HeapFinding::Kind::dead_owner;
    findings.add(finding_kind_name(finding.kind),
                 fmt::format("at 0x{:x}: {}", finding.offset_bytes, finding.text), is_harmless);
  }
  // The findings are cut off at some number, the verdict is not.
  findings.is_sound = findings.is_sound && report.is_consistent();
  STRATA_ASSIGN(const std::vector<NamedLock> locks, named_locks(*heap));
  for (const NamedLock& lock : locks)
    if (!lock.is_intact) findings.add("lock", lock.name + " holds no state of a lock", false);
  findings.verified.push_back(fmt::format("{} named locks", locks.size()));
  return {};
}

Result<ExitCode> check(Context& context, const std::string& uri) {
  // The header is checked by attaching; what it finds wrong is the error.
  STRATA_ASSIGN(Segment segment, context.catalog().attach(uri, {.access = Access::read_only}));
  Findings findings;
  findings.verified.push_back("header: identity, checksum, bounds, state");
  STRATA_TRY(check_seal(segment, findings));
  STRATA_TRY(check_heap(segment, findings));

  Output& output = context.output();
  output.json({{"uri", uri},
               {"sound", findings.is_sound},
               {"verified", findings.verified},
               {"findings", findings.list}});
  for (const std::string& what : findings.verified)
    output.print(output.painter().paint(Tone::good, "verified") + "  " + what + "\n");
  for (const Json& finding : findings.list) {
    const bool is_harmless = finding["harmless"].get<bool>();
    output.print(output.painter().paint(is_harmless ? Tone::warning : Tone::bad,
                                        is_harmless ? "left over" : "wrong   ") +
                 "  " + finding["part"].get<std::string>() + ": " +
                 finding["text"].get<std::string>() + "\n");
  }
  output.print(fmt::format("{}: {}\n", uri, findings.is_sound ? "sound" : "not sound"));
  return findings.is_sound ? ExitCode::done : ExitCode::failed;
}

}  // namespace

void add_check(Commands& commands) {
  const auto uri = std::make_shared<std::string>();
  CLI::App& app = commands.add(
      "check", "Check a segment: header, sealed content, heap, objects, locks; changes nothing.",
      "strata check shm:mesh && echo sound",
      [uri](Context& context) { return check(context, *uri); });
  app.add_option("URI", *uri, "the segment")->required()->type_name("");
}

}  // namespace strata::tools
