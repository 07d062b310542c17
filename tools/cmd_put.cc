#include <fmt/format.h>

#include "base/bytes.h"
#include "copy.h"
#include "tools/commands.h"
#include "tools/create_flags.h"
#include "tools/segment_view.h"

namespace strata::tools {
namespace {

struct Options {
  std::string file;
  std::string uri;
  std::uint64_t bytes = 0;
  bool is_sealed = false;
  bool is_in_place = false;
  CreateFlags flags;
};

std::optional<std::uint64_t> length_of(const Options& options) {
  if (options.bytes == 0) return std::nullopt;
  return options.bytes;
}

// A new segment gets all bytes before anybody can see it, or does not come to exist. Of one that
// exists that cannot be had: it is overwritten only where its user says so.
Status already_there(const Options& options) {
  std::string other = fmt::format("`strata rm {}` first", options.uri);
  if (options.uri.starts_with("pmem:")) {
    other = "`strata pool import` makes a new version of it, whole or not at all";
  }
  return Status(Code::failed_precondition,
                fmt::format("put {}: {} exists, and its readers would see it change under them, "
                            "half of it if this were killed: {}; or say --in-place",
                            options.file, options.uri, other));
}

Result<CopyOptions> to_copy_options(Os& os, const Options& options) {
  CopyOptions how;
  STRATA_ASSIGN(how.create, options.flags.to_options(os));
  if (options.is_in_place && options.is_sealed) {
    return fail(Code::invalid_argument,
                "put: not --seal with --in-place, which may fail when all is overwritten: "
                "afterwards `strata seal " +
                    options.uri + "`");
  }
  if (options.is_in_place) how.if_exists = IfExists::overwrite;
  if (options.is_sealed) how.finish = CopyFinish::seal;
  return how;
}

Result<CopyReport> copy_file(Context& context, const Options& options) {
  STRATA_ASSIGN(CopyOptions how, to_copy_options(context.os(), options));
  const auto in_context = [&](const Status& status) {
    return unexpected(status.in("put " + options.file));
  };
  auto source = open_source(context.os(), options.file, length_of(options));
  if (!source) return in_context(source.error());
  if (options.is_in_place && context.catalog().stat(options.uri)) {
    context.output().note(options.uri +
                          ": whoever is attached sees it change byte by byte until this ends");
  }
  Progress kept(context.output(), "read", 0);
  Progress put(context.output(), "put", (*source)->bytes().value_or(0));
  how.keep_progress = [&](std::uint64_t bytes) { kept.add(bytes); };
  how.progress = [&](std::uint64_t bytes) { put.add(bytes); };
  auto copied = copy(context.catalog(), **source, options.uri, how);
  if (copied) return copied;
  if (copied.error().code() == Code::already_exists) return unexpected(already_there(options));
  return in_context(copied.error());
}

Result<ExitCode> put(Context& context, const Options& options) {
  const std::uint64_t started_ns = monotonic_ns();
  STRATA_ASSIGN(const CopyReport report, copy_file(context, options));
  const double seconds = static_cast<double>(monotonic_ns() - started_ns) / 1e9;
  const double rate = static_cast<double>(report.bytes) / seconds;
  const std::string_view state = state_name(report.state);
  context.output().json({{"uri", options.uri},
                         {"file", options.file},
                         {"payload_bytes", report.bytes},
                         {"created", report.was_created},
                         {"state", state},
                         {"seconds", seconds}});
  context.output().line(fmt::format("put {} into {} {}: {}, {} ({}/s)", options.file,
                                    report.was_created ? "new" : "existing", options.uri,
                                    format_bytes(report.bytes), state,
                                    format_bytes(static_cast<std::uint64_t>(rate))));
  return ExitCode::done;
}

}  // namespace

void add_put(Commands& commands) {
  const auto options = std::make_shared<Options>();
  Arguments arguments =
      commands.add("put",
                   "Copy a file, or what comes from a pipe, into a new segment, whole or "
                   "not at all.",
                   "strata put mesh.bin shm:mesh\n"
                   "strata put --seal weights.bin shm:weights --node 1\n"
                   "zcat mesh.gz | strata put - 'pmem:run.pool#mesh'\n"
                   "strata put mesh.bin shm:mesh && strata cat shm:mesh | cmp - mesh.bin\n"
                   "strata put --in-place mesh.bin shm:mesh    # readers see it change",
                   [options](Context& context) { return put(context, *options); });
  arguments.word("FILE", options->file, "what to copy; - is standard input")
      .word("URI", options->uri, "where to")
      .size("--size", options->bytes,
            "how much comes from a pipe: it then need not be kept in $TMPDIR first")
      .flag("--seal", options->is_sealed, "hash it and make it final");
  arguments.flag(
      "--in-place", options->is_in_place,
      "overwrite a segment that exists: whoever is attached sees it change byte by byte, "
      "and a put that is killed leaves a mixture");
  options->flags.add_placement(arguments);
  options->flags.add_lifetime(arguments);
}

}  // namespace strata::tools
