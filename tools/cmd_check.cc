#include <fmt/format.h>

#include "tools/commands.h"
#include "tools/segment_check.h"

namespace strata::tools {
namespace {

Result<ExitCode> check(Context& context, const std::string& uri) {
  // The header is checked by attaching; what it finds wrong is the error.
  STRATA_ASSIGN(Segment segment, context.catalog().attach(uri, {.access = Access::read_only}));
  STRATA_ASSIGN(SegmentCheck found, check_content(segment));
  found.verified.insert(found.verified.begin(), "header: identity, checksum, bounds, state");

  Output& output = context.output();
  Json list = Json::array();
  for (const SegmentCheck::Finding& finding : found.findings) {
    list.push_back(
        {{"part", finding.part}, {"text", finding.text}, {"harmless", finding.is_harmless}});
  }
  output.json(
      {{"uri", uri}, {"sound", found.is_sound}, {"verified", found.verified}, {"findings", list}});
  for (const std::string& what : found.verified)
    output.line({Cell("verified", Tone::good), "  " + what});
  for (const SegmentCheck::Finding& finding : found.findings) {
    output.line({finding.is_harmless ? Cell("left over", Tone::warning) : Cell("wrong", Tone::bad),
                 "  " + finding.part + ": " + finding.text});
  }
  output.line(fmt::format("{}: {}", uri, found.is_sound ? "sound" : "not sound"));
  return found.is_sound ? ExitCode::done : ExitCode::failed;
}

}  // namespace

void add_check(Commands& commands) {
  const auto uri = std::make_shared<std::string>();
  commands
      .add("check",
           "Check a segment: header, sealed content, heap, objects, log, locks; changes nothing.",
           "strata check shm:mesh && echo sound",
           [uri](Context& context) { return check(context, *uri); })
      .word("URI", *uri, "the segment");
}

}  // namespace strata::tools
