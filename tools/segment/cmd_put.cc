#include <fmt/format.h>

#include "gpu/fake_device.h"
#include "strata/base/bytes.h"
#include "strata/copy.h"
#include "tools/command/create_flags.h"
#include "tools/segment/segment_commands.h"
#include "tools/terminal/stay.h"
#include "tools/view/gpu_view.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
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
  STRATA_ASSIGN(how.create.content, options.flags.content(options.bytes));
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

// Copies into a new segment that ends with its users, of which this process is the first: it is
// given to the caller.
Result<Segment> copy_and_keep(Context& context, ByteSource& source, const Options& options,
                              const CopyOptions& how) {
  if (options.is_in_place) {
    return fail(Code::invalid_argument, "put --in-place: the segment has its lifetime already");
  }
  STRATA_TRY(source.find_length(ByteSource::kAsMemory, how.keep_progress));
  CreateOptions create = how.create;
  create.payload_bytes = *source.bytes();
  create.publish = Publish::by_creator;
  STRATA_ASSIGN(Segment segment, context.catalog().create(options.uri, create));
  STRATA_TRY(copy(source, segment, {.progress = how.progress}));
  if (options.is_sealed) {
    STRATA_TRY(segment.seal());
  } else {
    STRATA_TRY(segment.publish());
  }
  return segment;
}

struct Done {
  CopyReport report;
  std::optional<Segment> segment;  // where this process has to keep it
};

Result<Done> copy_file(Context& context, const Options& options, CopyOptions how,
                       const Stay& stay) {
  STRATA_ASSIGN(const auto source, open_source(context.os(), options.file, length_of(options)));
  if (options.is_in_place && context.catalog().stat(options.uri)) {
    context.output().note(options.uri +
                          ": whoever is attached sees it change byte by byte until this ends");
  }
  Progress kept(context.output(), "read", 0);
  Progress put(context.output(), "put", source->bytes().value_or(0));
  how.keep_progress = [&](std::uint64_t bytes) { kept.add(bytes); };
  how.progress = [&](std::uint64_t bytes) { put.add(bytes); };
  if (!stay.is_needed()) {
    STRATA_ASSIGN(const CopyReport report, copy(context.catalog(), *source, options.uri, how));
    return Done{report, {}};
  }
  STRATA_ASSIGN(Segment segment, copy_and_keep(context, *source, options, how));
  const CopyReport report{
      .bytes = segment.payload_bytes(), .was_created = true, .state = segment.state()};
  return Done{report, std::move(segment)};
}

// " (1.2 GiB/s)", where it says something of the memory: what a driver of tests copies in a second
// says nothing of any device, and of few bytes it is the time that a process takes to start.
std::string rate_text(Context& context, const std::string& uri, std::uint64_t bytes,
                      double seconds) {
  constexpr std::uint64_t kLeastBytes = MiB(1);
  const auto stat = context.catalog().stat(uri);
  if (stat && stat->device && cuda::is_fake(stat->device->uuid))
    return " (on a FAKE device: no rate)";
  if (bytes < kLeastBytes) return {};
  const double rate = static_cast<double>(bytes) / seconds;
  return fmt::format(" ({}/s)", format_bytes(static_cast<std::uint64_t>(rate)));
}

Result<ExitCode> put(Context& context, const Options& options) {
  const std::uint64_t started_ns = monotonic_ns();
  STRATA_ASSIGN(const CopyOptions how, to_copy_options(context.os(), options));
  Stay stay(*how.create.lifetime);
  const auto done = copy_file(context, options, how, stay);
  if (!done && done.error().code() == Code::already_exists) {
    return unexpected(already_there(options));
  }
  if (!done) return unexpected(done.error().in("put " + options.file));
  const CopyReport& report = done->report;
  const double seconds = static_cast<double>(monotonic_ns() - started_ns) / 1e9;
  const std::string_view state = state_name(report.state);
  context.output().json({{"uri", options.uri},
                         {"file", options.file},
                         {"payload_bytes", report.bytes},
                         {"created", report.was_created},
                         {"state", state},
                         {"seconds", seconds}});
  context.output().line(fmt::format("put {} into {} {}: {}, {}{}", options.file,
                                    report.was_created ? "new" : "existing", options.uri,
                                    format_bytes(report.bytes), state,
                                    rate_text(context, options.uri, report.bytes, seconds)));
  stay.until_interrupted(context.output());
  return ExitCode::done;
}

}  // namespace

void add_put(Commands& commands) {
  const auto options = std::make_shared<Options>();
  Arguments arguments = commands.add(
      {.name = "put",
       .summary = "copy a file into a new segment, whole or not at all",
       .description =
           "Nobody can attach before all bytes are there. In a pool nothing has the "
           "name before they are whole and durable; elsewhere a put that is killed "
           "leaves something that `strata gc` reclaims.\n\n"
           "What comes from a pipe is first kept in an unnamed file in $TMPDIR, as its "
           "length is not known. With --size it goes straight in, and must end there.\n\n"
           "A segment that exists is left as it is (exit status 4). With --in-place "
           "one that can hold exactly as much is overwritten; then readers see it "
           "change byte by byte, and a put that is killed or fails leaves a mixture. "
           "In a pool `strata pool import` makes a new version instead, whole or not "
           "at all.",
       .examples = "strata put mesh.bin shm:mesh\n"
                   "strata put mesh.f8 shm:mesh --dtype f8 --shape 1000x1000\n"
                   "strata put --seal weights.bin shm:weights --node 1\n"
                   "zcat mesh.gz | strata put - 'pmem:run.pool#mesh'\n"
                   "strata put mesh.bin shm:mesh && strata cat shm:mesh | cmp - mesh.bin\n"
                   "strata put weights.bin cuda:weights --device 0\n"
                   "strata put --in-place mesh.bin shm:mesh    # readers see it change",
       .other_names = {"write", "copy"}},
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
  options->flags.add_content(arguments);
  options->flags.add_placement(arguments);
  options->flags.add_lifetime(arguments);
  options->flags.add_device(arguments);
}

}  // namespace strata::inline v0_1::tools
