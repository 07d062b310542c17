#include <fmt/format.h>

#include "pmem/verified_reader.h"
#include "strata/pmem/checkpoint.h"
#include "tools/segment/segment_commands.h"
#include "tools/view/segment_check.h"
#include "tools/view/verdict.h"

namespace strata::inline v0_1::tools {
namespace {

// The checksums of a version in a pool: only pools know of them.
void check_blocks(Context& context, const SegmentUri& uri, SegmentCheck& check) {
  if (uri.scheme != "pmem") return;
  const auto reader = VerifiedReader::open(Pool::at(context.os(), uri.container), uri.name, 0);
  if (!reader) return check.add("checksums", reader.error());
  if (!reader->has_checksums()) return;
  const auto blocks = verify_blocks(*reader);
  if (!blocks) return check.add("checksums", blocks.error());
  check.verified.push_back(fmt::format("{} blocks", blocks->blocks_verified));
  for (const BadBlock& bad : blocks->bad_blocks) {
    check.add({"checksums", fmt::format("block {} ({} bytes at {}) differs from its checksum",
                                        bad.block, bad.bytes, bad.offset_bytes)});
  }
}

// The header is checked by attaching; what it finds wrong is the error.
SegmentCheck look(Context& context, const std::string& uri, Result<Segment>& segment) {
  SegmentCheck check;
  if (!segment) {
    check.add("header", segment.error());
    return check;
  }
  check = check_content(context.os(), *segment);
  check.verified.insert(check.verified.begin(), "header: identity, checksum, bounds, state");
  if (const auto parsed = SegmentUri::parse(uri)) check_blocks(context, *parsed, check);
  return check;
}

Result<ExitCode> check(Context& context, const std::string& uri) {
  auto segment = context.catalog().attach(uri, {.access = Access::read_only});
  if (!segment && (segment.error().code() == Code::not_found ||
                   segment.error().code() == Code::invalid_argument)) {
    return unexpected(segment.error());
  }
  const SegmentCheck found = look(context, uri, segment);

  Output& output = context.output();
  Json list = Json::array();
  for (const SegmentCheck::Finding& finding : found.findings) {
    list.push_back({{"part", finding.part},
                    {"text", finding.text},
                    {"outcome", outcome_name(finding.outcome)},
                    {"harmless", finding.outcome == CheckOutcome::sound}});
  }
  output.json({{"uri", uri},
               {"verdict", outcome_name(found.verdict)},
               {"sound", found.verdict == CheckOutcome::sound},
               {"verified", found.verified},
               {"findings", list}});
  for (const std::string& what : found.verified)
    output.line({Cell("verified", Tone::good), "  " + what});
  for (const SegmentCheck::Finding& finding : found.findings) {
    const Tone tone = finding.outcome == CheckOutcome::damaged ? Tone::bad : Tone::warning;
    output.line({Cell(fmt::format("{:<9}", finding_word(finding)), tone),
                 " " + finding.part + ": " + finding.text});
  }
  output.line(fmt::format("{}: {}", uri, verdict_word(found.verdict)));
  output.picture(verdict_advice(found.verdict));
  return exit_code_of(found.verdict);
}

}  // namespace

void add_check(Commands& commands) {
  const auto uri = std::make_shared<std::string>();
  commands
      .add({.name = "check",
            .summary = "look whether a segment is as it must be",
            .description =
                "Header, sealed content, checksums, heap, objects, log and locks; changes "
                "nothing. What is wrong with a heap that others use counts where it stays "
                "wrong from look to look. For all of a pool see `strata pool check`.",
            .examples = "strata check shm:mesh && echo sound\n"
                        "strata check --json shm:mesh",
            .exit_status =
                "0  sound: every part was looked at, and is as it must be\n"
                "1  damaged: some part is proved to be wrong\n"
                "2  usage: the command line cannot mean anything\n"
                "3  not found: nothing of that name\n"
                "4  busy: others use it, so that not all was checked; nothing that was is wrong\n"
                "5  unknown: some part could not be looked at; nothing that was is wrong",
            .other_names = {"fsck"}},
           [uri](Context& context) { return check(context, *uri); })
      .word("URI", *uri, "the segment");
}

}  // namespace strata::inline v0_1::tools
