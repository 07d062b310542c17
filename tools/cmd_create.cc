#include <fmt/format.h>
#include <signal.h>

#include "base/bytes.h"
#include "tools/commands.h"
#include "tools/create_flags.h"
#include "tools/segment_view.h"

namespace strata::tools {
namespace {

struct Options {
  std::string uri;
  std::uint64_t bytes = 0;
  CreateFlags flags;
};

// Such a segment ends with this process, so this process stays.
bool needs_holding(Lifetime lifetime) {
  return lifetime == Lifetime::process || lifetime == Lifetime::last_detach;
}

void wait_for_interrupt() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGHUP);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  int received = 0;
  sigwait(&signals, &received);
}

Result<ExitCode> create(Context& context, const Options& options) {
  STRATA_ASSIGN(CreateOptions how, options.flags.to_options(context.os()));
  how.payload_bytes = options.bytes;
  STRATA_ASSIGN(const Segment segment, context.catalog().create(options.uri, how));
  STRATA_ASSIGN(const SegmentStat stat, context.catalog().stat(options.uri));
  const auto lifetime = static_cast<Lifetime>(segment.identity().lifetime);
  Output& output = context.output();
  output.json(to_json(stat));
  output.line(fmt::format("created {}: {}, {} pages, {}, {}", options.uri,
                          format_bytes(segment.payload_bytes()), page_size_name(how.page_size),
                          how.placement.to_string(), lifetime_name(lifetime)));
  if (needs_holding(lifetime)) {
    output.note("it ends with this process: Ctrl-C to let go");
    std::fflush(stdout);
    wait_for_interrupt();
  }
  return ExitCode::done;
}

}  // namespace

void add_create(Commands& commands) {
  const auto options = std::make_shared<Options>();
  Arguments arguments =
      commands.add("create", "Create a named segment, zero filled, placed and committed.",
                   "strata create shm:mesh --size 64M\n"
                   "strata create shm:mesh --size 64M --interleave 0,1 --strict\n"
                   "strata create shm:mesh --size 4G --huge thp --max-size 16G\n"
                   "strata create shm:scratch --size 1G --lifetime process    # until Ctrl-C",
                   [options](Context& context) { return create(context, *options); });
  arguments.word("URI", options->uri, "its name, such as shm:mesh");
  arguments.required_size("--size", options->bytes, "bytes of payload: 4096, 64M, 1.5G");
  options->flags.add_placement(arguments);
  options->flags.add_lifetime(arguments);
}

}  // namespace strata::tools
