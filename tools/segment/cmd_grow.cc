#include <fmt/format.h>

#include "strata/base/bytes.h"
#include "tools/segment/segment_commands.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
namespace {

struct Options {
  std::string uri;
  std::uint64_t bytes = 0;
};

Result<ExitCode> grow(Context& context, const Options& options) {
  STRATA_TRY(require(context.catalog(), options.uri, Capability::grow));
  STRATA_ASSIGN(Segment segment, context.catalog().attach(options.uri));
  const std::uint64_t before = segment.payload_bytes();
  if (options.bytes < before) {
    return fail(Code::failed_precondition, fmt::format("grow {}: it holds {} and never shrinks",
                                                       options.uri, format_bytes(before)));
  }
  if (options.bytes > segment.max_bytes()) {
    return fail(Code::failed_precondition,
                fmt::format("grow {}: it was created to hold at most {}", options.uri,
                            format_bytes(segment.max_bytes())));
  }
  STRATA_TRY(segment.grow(options.bytes));
  context.output().json({{"uri", options.uri},
                         {"before_bytes", before},
                         {"payload_bytes", segment.payload_bytes()},
                         {"max_bytes", segment.max_bytes()}});
  context.output().line(fmt::format("grew {} from {} to {}", options.uri, format_bytes(before),
                                    format_bytes(segment.payload_bytes())));
  return ExitCode::done;
}

}  // namespace

void add_grow(Commands& commands) {
  const auto options = std::make_shared<Options>();
  commands
      .add({.name = "grow",
            .summary = "give a segment more bytes while others stay attached",
            .description =
                "Up to the --max-size that it was created with: until then its addresses "
                "stay as they are for everyone who is attached. The new bytes are zero. A "
                "segment never shrinks.",
            .examples = "strata create shm:mesh --size 64M --max-size 1G\n"
                        "strata grow shm:mesh 128M",
            .other_names = {"resize", "extend"}},
           [options](Context& context) { return grow(context, *options); })
      .word("URI", options->uri, "the segment")
      .required_size("SIZE", options->bytes, "its new size");
}

}  // namespace strata::inline v0_1::tools
