#include <fmt/format.h>

#include "strata/base/bytes.h"
#include "strata/segment/content_hash.h"
#include "tools/segment/segment_commands.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
namespace {

Result<ExitCode> report(Context& context, const Segment& segment, const char* verb) {
  STRATA_ASSIGN(const SealBlock seal, read_seal_block(header_page_of(segment)));
  const std::string uri = segment.uri().to_string();
  context.output().json({{"uri", uri},
                         {verb, true},
                         {"payload_bytes", seal.sealed_bytes},
                         {"xxh3", hash_text(seal.hash)}});
  context.output().line(fmt::format("{} {}: {}, xxh3 {}", verb, uri,
                                    format_bytes(seal.sealed_bytes), hash_text(seal.hash)));
  return ExitCode::done;
}

Result<ExitCode> seal(Context& context, const std::string& uri) {
  STRATA_ASSIGN(Segment segment, context.catalog().attach(uri));
  STRATA_TRY(segment.seal());
  return report(context, segment, "sealed");
}

Result<ExitCode> verify(Context& context, const std::string& uri) {
  STRATA_ASSIGN(const Segment segment,
                context.catalog().attach(uri, {.access = Access::read_only}));
  STRATA_TRY(segment.verify());
  return report(context, segment, "verified");
}

}  // namespace

void add_seal(Commands& commands) {
  const auto uri = std::make_shared<std::string>();
  commands
      .add({.name = "seal",
            .summary = "make a segment's content final, and record its hash",
            .description =
                "Nobody can write to it from then on, and that is not undone. Refused (exit "
                "status 4) while others may write. `strata verify` compares its bytes with "
                "the hash at any time.",
            .examples = "strata seal shm:mesh\n"
                        "strata put --seal mesh.bin shm:mesh    # in one step"},
           [uri](Context& context) { return seal(context, *uri); })
      .word("URI", *uri, "the segment");
}

void add_verify(Commands& commands) {
  const auto uri = std::make_shared<std::string>();
  commands
      .add({.name = "verify",
            .summary = "compare a sealed segment's bytes with its hash",
            .description =
                "Reads all of it. Exit status 1 where a byte is not as it was sealed, 4 "
                "where the segment is not sealed. For everything else that can be checked "
                "see `strata check`.",
            .examples = "strata verify shm:mesh && echo as it was sealed"},
           [uri](Context& context) { return verify(context, *uri); })
      .word("URI", *uri, "the segment");
}

}  // namespace strata::inline v0_1::tools
