#include <fmt/format.h>

#include "strata/base/bytes.h"
#include "tools/command/create_flags.h"
#include "tools/segment/segment_commands.h"
#include "tools/terminal/stay.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
namespace {

struct Options {
  std::string uri;
  std::uint64_t bytes = 0;
  CreateFlags flags;
};

std::string made_text(const SegmentStat& stat, const CreateOptions& how) {
  const std::string where =
      stat.device
          ? fmt::format("on GPU {}, shared by {}", stat.device->pci_address,
                        mechanism_name(stat.device->mechanism))
          : fmt::format("{} pages, {}", page_size_name(how.page_size), how.placement.to_string());
  const std::string what =
      how.content.is_plain() ? std::string() : ", " + stat.content.value_or(Content()).to_string();
  return fmt::format("created {}: {}{}, {}, {}", stat.uri.to_string(),
                     format_bytes(stat.payload_bytes), what, where, lifetime_name(*how.lifetime));
}

Result<ExitCode> create(Context& context, const Options& options) {
  STRATA_ASSIGN(CreateOptions how, options.flags.to_options(context.os()));
  STRATA_ASSIGN(how.content, options.flags.content(options.bytes));
  how.payload_bytes = options.bytes;
  if (options.bytes == 0 && how.content.is_plain()) {
    return fail(Code::invalid_argument,
                "create: how large? Say --size 64M, or --dtype f8 --shape 1000x1000");
  }
  Stay stay(*how.lifetime);
  STRATA_ASSIGN(const Segment segment, context.catalog().create(options.uri, how));
  STRATA_ASSIGN(const SegmentStat stat, context.catalog().stat(options.uri));
  Output& output = context.output();
  output.json(to_json(stat));
  output.line(made_text(stat, how));
  stay.until_interrupted(output);
  return ExitCode::done;
}

}  // namespace

void add_create(Commands& commands) {
  const auto options = std::make_shared<Options>();
  Arguments arguments = commands.add(
      {.name = "create",
       .summary = "make a named segment, zero filled and placed",
       .description = "Its memory is committed and placed before anybody can attach to it, unless "
                      "--sparse says "
                      "otherwise. It stays until `strata rm` "
                      "unless --lifetime says otherwise; with process or last-detach this command "
                      "stays too, as its first user, until Ctrl-C.\n\n"
                      "The name begins with the kind of memory: shm:NAME is shared memory, "
                      "pmem:PATH#NAME a segment in a pool, cuda:NAME memory of a GPU. NAME is 1 "
                      "to 200 of A-Z a-z 0-9 . _ -, and does not begin with a dot or a dash. "
                      "Quote what has a # in it.\n\n"
                      "With --dtype the segment is an array, whose element type and shape its "
                      "header keeps; its size follows from them, or its length from its size.\n\n"
                      "Sizes are bytes or have a unit: 4096, 64K, 64M, 1.5G, in powers of 1024.",
       .examples = "strata create shm:mesh --size 64M\n"
                   "strata create shm:mesh --dtype f8 --shape 1000x1000\n"
                   "strata create shm:mesh --size 64M --interleave 0,1 --strict\n"
                   "strata create shm:mesh --size 4G --huge thp --max-size 16G\n"
                   "strata create shm:scratch --size 1G --lifetime process    # until Ctrl-C\n"
                   "strata create cuda:weights --size 8G --device 0    # kept until `strata rm`",
       .other_names = {"new", "make"}},
      [options](Context& context) { return create(context, *options); });
  arguments.word("URI", options->uri, "its name, such as shm:mesh");
  arguments.size("--size", options->bytes, "bytes of payload: 4096, 64M, 1.5G");
  options->flags.add_content(arguments);
  options->flags.add_placement(arguments);
  options->flags.add_lifetime(arguments);
  options->flags.add_device(arguments);
}

}  // namespace strata::inline v0_1::tools
