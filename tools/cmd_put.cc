#include <fcntl.h>
#include <fmt/format.h>

#include "base/bytes.h"
#include "tools/commands.h"
#include "tools/create_flags.h"
#include "tools/parallel_copy.h"
#include "tools/segment_view.h"

namespace strata::tools {
namespace {

struct Options {
  std::string file;
  std::string uri;
  bool is_sealed = false;
  bool is_in_place = false;
  CreateFlags flags;
};

struct Source {
  Fd fd;
  std::uint64_t bytes;
};

Result<Source> open_source(Os& os, const std::string& path) {
  STRATA_ASSIGN(Fd fd, os.open(path, O_RDONLY));
  STRATA_ASSIGN(const struct stat facts, os.fstat(fd.get()));
  if (!S_ISREG(facts.st_mode)) {
    return fail(Code::invalid_argument, fmt::format("put {}: it is not a regular file", path));
  }
  if (facts.st_size == 0) {
    return fail(Code::invalid_argument,
                fmt::format("put {}: it is empty, and a segment holds at least one byte", path));
  }
  return Source{std::move(fd), static_cast<std::uint64_t>(facts.st_size)};
}

struct Target {
  Segment segment;
  bool is_new;
};

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

// It must come out with exactly the file's length: `cat` gives back all of it.
Result<Target> open_existing(Catalog& catalog, const Options& options, std::uint64_t bytes) {
  if (!options.is_in_place) return unexpected(already_there(options));
  STRATA_ASSIGN(Segment segment, catalog.attach(options.uri));
  const std::uint64_t now = segment.payload_bytes();
  if (now > bytes || segment.max_bytes() < bytes) {
    return fail(
        Code::failed_precondition,
        fmt::format("put {}: {} exists with {} and can{}; the file has {}: remove it first",
                    options.file, options.uri, format_bytes(now),
                    now > bytes ? "not shrink" : " grow to " + format_bytes(segment.max_bytes()),
                    format_bytes(bytes)));
  }
  if (now < bytes) STRATA_TRY(segment.grow(bytes));
  return Target{std::move(segment), false};
}

Result<Target> open_target(Catalog& catalog, const Options& options, std::uint64_t bytes) {
  STRATA_ASSIGN(CreateOptions how, options.flags.to_options());
  if (options.is_in_place && options.is_sealed) {
    return fail(Code::invalid_argument,
                "put: not --seal with --in-place, which may fail when all is overwritten: "
                "afterwards `strata seal " +
                    options.uri + "`");
  }
  if (how.lifetime == Lifetime::process || how.lifetime == Lifetime::last_detach) {
    return fail(Code::invalid_argument,
                "put: with this lifetime the segment would be gone when put ends");
  }
  how.payload_bytes = bytes;
  // Until all bytes are there attachers wait, and gc may reclaim what a killed put leaves.
  how.publish = Publish::by_creator;
  auto created = catalog.create(options.uri, how);
  if (created) return Target{std::move(*created), true};
  if (created.error().code() != Code::already_exists) return unexpected(created.error());
  return open_existing(catalog, options, bytes);
}

Result<void> fill(Context& context, const Options& options, const Source& source, Target& target) {
  STRATA_ASSIGN(const auto into, target.segment.writable_bytes());
  {
    Progress progress(context.output(), "put", source.bytes);
    STRATA_TRY(read_in_parallel(context.os(), source.fd.get(), into,
                                [&](std::uint64_t bytes) { progress.add(bytes); }));
  }
  if (options.is_sealed) return target.segment.seal();
  if (target.is_new) return target.segment.publish();
  if (target.segment.durability().is_volatile()) return {};
  return target.segment.persist(0, source.bytes);
}

Result<ExitCode> put(Context& context, const Options& options) {
  STRATA_ASSIGN(const Source source, open_source(context.os(), options.file));
  STRATA_ASSIGN(Target target, open_target(context.catalog(), options, source.bytes));
  if (!target.is_new) {
    context.output().note(options.uri +
                          ": whoever is attached sees it change byte by byte until this ends");
  }
  const std::uint64_t started_ns = monotonic_ns();
  if (auto filled = fill(context, options, source, target); !filled) {
    // Half a file under its name would be worse than none.
    if (target.is_new) (void)context.catalog().remove(options.uri, {.even_if_attached = true});
    const Status failure = filled.error().in("put " + options.file);
    if (target.is_new) return unexpected(failure);
    return unexpected(failure.in(options.uri + " may hold a part of the file by now"));
  }
  const double seconds = static_cast<double>(monotonic_ns() - started_ns) / 1e9;
  const double rate = static_cast<double>(source.bytes) / seconds;
  const std::string_view state = state_name(target.segment.state());
  context.output().json({{"uri", options.uri},
                         {"file", options.file},
                         {"payload_bytes", source.bytes},
                         {"created", target.is_new},
                         {"state", state},
                         {"seconds", seconds}});
  context.output().line(fmt::format("put {} into {} {}: {}, {} ({}/s)", options.file,
                                    target.is_new ? "new" : "existing", options.uri,
                                    format_bytes(source.bytes), state,
                                    format_bytes(static_cast<std::uint64_t>(rate))));
  return ExitCode::done;
}

}  // namespace

void add_put(Commands& commands) {
  const auto options = std::make_shared<Options>();
  Arguments arguments =
      commands.add("put", "Copy a file into a new segment, whole or not at all.",
                   "strata put mesh.bin shm:mesh\n"
                   "strata put --seal weights.bin shm:weights --node 1\n"
                   "strata put mesh.bin shm:mesh && strata cat shm:mesh | cmp - mesh.bin\n"
                   "strata put --in-place mesh.bin shm:mesh    # readers see it change",
                   [options](Context& context) { return put(context, *options); });
  arguments.word("FILE", options->file, "what to copy");
  arguments.word("URI", options->uri, "where to");
  arguments.flag("--seal", options->is_sealed, "hash it and make it final");
  arguments.flag(
      "--in-place", options->is_in_place,
      "overwrite a segment that exists: whoever is attached sees it change byte by byte, "
      "and a put that is killed leaves a mixture");
  options->flags.add_placement(arguments);
  options->flags.add_lifetime(arguments);
}

}  // namespace strata::tools
