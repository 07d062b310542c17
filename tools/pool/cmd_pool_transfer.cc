// `strata pool import|export|backup|restore|checkpoint`: what goes into pools and comes out.
#include <fmt/format.h>

#include "pmem/export_file.h"
#include "pmem/pool_registry.h"
#include "strata/base/bytes.h"
#include "strata/copy.h"
#include "strata/pmem/backup.h"
#include "strata/pmem/checkpoint.h"
#include "tools/command/create_flags.h"
#include "tools/pool/pool_commands.h"
#include "tools/terminal/stay.h"

namespace strata::inline v0_1::tools {
namespace {

struct Flags {
  std::string path;
  std::string name;
  std::string file;
  std::string uri;
  std::uint64_t version = 0;
  std::uint64_t bytes = 0;
  std::uint32_t keep_versions = 2;
  bool replace = false;
};

Result<ExitCode> show(Context& context, const Flags& flags, const CheckpointReport& report) {
  context.output().json({{"path", flags.path},
                         {"name", flags.name},
                         {"version", report.version},
                         {"blocks", report.blocks},
                         {"blocks_written", report.blocks_written},
                         {"bytes_written", report.bytes_written},
                         {"is_incremental", report.is_incremental}});
  context.output().line(fmt::format("{}#{} version {}: {} of {} blocks written ({})", flags.path,
                                    flags.name, report.version, report.blocks_written,
                                    report.blocks, format_bytes(report.bytes_written)));
  return ExitCode::done;
}

Result<ExitCode> import(Context& context, const Flags& flags) {
  STRATA_ASSIGN(const Pool pool, Pool::open(context.os(), flags.path));
  const SegmentUri to{"pmem", pool.path(), flags.name};
  const auto in_context = [&](const Status& status) {
    return unexpected(
        status.in(fmt::format("import {} into {}#{}", flags.file, pool.path(), flags.name)));
  };
  auto source =
      open_source(context.os(), flags.file,
                  flags.bytes == 0 ? std::nullopt : std::optional<std::uint64_t>(flags.bytes));
  if (!source) return in_context(source.error());
  Progress kept(context.output(), "read", 0);
  Progress imported(context.output(), "import", (*source)->bytes().value_or(0));
  const auto copied = copy(context.catalog(), **source, to,
                           {.if_exists = IfExists::new_version,
                            .keep_versions = flags.keep_versions,
                            .progress = [&](std::uint64_t bytes) { imported.add(bytes); },
                            .keep_progress = [&](std::uint64_t bytes) { kept.add(bytes); }});
  if (!copied) return in_context(copied.error());
  return show(context, flags, copied->checkpoint);
}

Result<ExitCode> checkpoint_segment(Context& context, const Flags& flags) {
  STRATA_ASSIGN(const Pool pool, Pool::open(context.os(), flags.path));
  STRATA_ASSIGN(const Segment segment,
                context.catalog().attach(flags.uri, {.access = Access::read_only}));
  Progress progress(context.output(), "checkpoint", segment.payload_bytes());
  STRATA_ASSIGN(const CheckpointReport report,
                checkpoint(segment, pool, flags.name,
                           {.keep_versions = flags.keep_versions,
                            .progress = [&](std::uint64_t bytes) { progress.add(bytes); }}));
  return show(context, flags, report);
}

Result<ExitCode> export_segment(Context& context, const Flags& flags) {
  STRATA_ASSIGN(const Pool pool, Pool::open(context.os(), flags.path));
  STRATA_ASSIGN(const LoadReport report, export_file(pool, flags.name, flags.version, flags.file,
                                                     {.replace = flags.replace}));
  context.output().json({{"path", flags.path},
                         {"name", flags.name},
                         {"file", flags.file},
                         {"version", report.version},
                         {"bytes", report.bytes},
                         {"blocks_verified", report.blocks_verified}});
  context.output().line(fmt::format("{}: {} of {}#{} version {}, {} verified", flags.file,
                                    format_bytes(report.bytes), flags.path, flags.name,
                                    report.version, count_of(report.blocks_verified, "block")));
  return ExitCode::done;
}

void show(Context& context, const Flags& flags, const BackupReport& report) {
  context.output().json({{"path", flags.path},
                         {"file", flags.file},
                         {"segment_versions", report.versions},
                         {"payload_bytes", report.payload_bytes},
                         {"file_bytes", report.file_bytes},
                         {"pool_bytes", report.pool_bytes}});
}

Result<ExitCode> backup(Context& context, const Flags& flags) {
  STRATA_ASSIGN(const Pool pool, Pool::open(context.os(), flags.path));
  STRATA_ASSIGN(const BackupReport report,
                backup_pool(pool, flags.file, {.replace = flags.replace}));
  show(context, flags, report);
  context.output().line(fmt::format("{}: {} of {}, {}", flags.file,
                                    count_of(report.versions, "segment version"), flags.path,
                                    format_bytes(report.file_bytes)));
  return ExitCode::done;
}

struct LoadFlags : Flags {
  bool is_new = false;
  CreateFlags create;
};

// A new segment of the version's size, which nobody can attach before all of it is there.
Result<Segment> create_for(Context& context, const Pool& pool, const LoadFlags& flags,
                           CreateOptions how) {
  STRATA_ASSIGN(const auto version, open_version(pool, flags.name, flags.version, {}));
  how.payload_bytes = *version->bytes();
  STRATA_ASSIGN(const Content* const content, version->content());
  if (content != nullptr) how.content = *content;
  how.publish = Publish::by_creator;
  return context.catalog().create(flags.uri, how);
}

Result<LoadReport> load_new(Context& context, const Pool& pool, const LoadFlags& flags,
                            Segment& segment) {
  auto report = load_version(pool, flags.name, flags.version, segment);
  const auto published = report ? segment.publish() : Result<void>();
  if (report && published) return report;
  (void)context.catalog().remove(flags.uri,
                                 {.even_if_attached = true, .uuid = segment.identity().uuid});
  return unexpected(report ? published.error() : report.error());
}

Result<ExitCode> load(Context& context, const LoadFlags& flags) {
  const Pool pool = Pool::at(context.os(), flags.path);
  STRATA_ASSIGN(const CreateOptions how, flags.create.to_options(context.os()));
  Stay stay(flags.is_new ? *how.lifetime : Lifetime::until_removed);
  auto opened =
      flags.is_new ? create_for(context, pool, flags, how) : context.catalog().attach(flags.uri);
  if (!opened) return unexpected(opened.error());
  Segment segment = *std::move(opened);
  STRATA_ASSIGN(const LoadReport report,
                flags.is_new ? load_new(context, pool, flags, segment)
                             : load_version(pool, flags.name, flags.version, segment));
  context.output().json({{"path", flags.path},
                         {"name", flags.name},
                         {"uri", flags.uri},
                         {"version", report.version},
                         {"bytes", report.bytes},
                         {"blocks_verified", report.blocks_verified}});
  context.output().line(fmt::format("{}: {} of {}#{} version {}, {} verified", flags.uri,
                                    format_bytes(report.bytes), flags.path, flags.name,
                                    report.version, count_of(report.blocks_verified, "block")));
  stay.until_interrupted(context.output());
  return ExitCode::done;
}

Result<ExitCode> restore_backup(Context& context, const Flags& flags) {
  STRATA_ASSIGN(const BackupReport report,
                restore_pool(context.os(), flags.file, flags.path, {.bytes = flags.bytes}));
  PoolRegistry(context.os(), user_pool_registry()).record(flags.path);
  show(context, flags, report);
  context.output().line(fmt::format("{}: {} from {}", flags.path,
                                    count_of(report.versions, "segment version"), flags.file));
  if (flags.bytes == 0 && report.pool_bytes > report.old_pool_bytes) {
    context.output().note(
        fmt::format("{}, not the {} that it was backed up from: into that its "
                    "versions do not fit when they are laid anew",
                    format_bytes(report.pool_bytes), format_bytes(report.old_pool_bytes)));
  }
  return ExitCode::done;
}

}  // namespace

void add_pool_transfers(Commands& pool) {
  const auto add = [&](CommandText text, Result<ExitCode> (*run)(Context&, const Flags&)) {
    const auto flags = std::make_shared<Flags>();
    Arguments arguments =
        pool.add(std::move(text), [flags, run](Context& context) { return run(context, *flags); });
    arguments.word("PATH", flags->path, "the pool's file");
    return std::pair<Arguments, Flags&>(arguments, *flags);
  };
  const auto keep_help = "older versions to keep (default 2)";
  {
    auto [arguments, flags] = add(
        {.name = "import",
         .summary = "make a file's bytes a new version of a segment in a pool",
         .description = "Whole or not at all, with checksums, and durable when it ends. Readers of "
                        "the version before keep it. What comes from a pipe is first kept in an "
                        "unnamed file in $TMPDIR, unless --size says how much it is.",
         .examples = "strata pool import run.pool weights weights.bin\n"
                     "zcat weights.gz | strata pool import run.pool weights -",
         .other_names = {"put", "add"}},
        import);
    arguments.word("NAME", flags.name, "the segment")
        .word("FILE", flags.file, "what to read; - is standard input")
        .size("--size", flags.bytes,
              "how much comes from a pipe: it then need not be kept in $TMPDIR first")
        .option("--keep", flags.keep_versions, keep_help);
  }
  {
    auto [arguments, flags] = add(
        {.name = "export",
         .summary = "write a version of a segment, verified, to a file",
         .description = "Every block is compared with its checksum; where one differs nothing is "
                        "written under that name.",
         .examples = "strata pool export run.pool weights weights.bin\n"
                     "strata pool export run.pool weights old.bin --version 3",
         .other_names = {"get", "cat"}},
        export_segment);
    arguments.word("NAME", flags.name, "the segment")
        .word("FILE", flags.file, "what to write")
        .option("--version", flags.version, "an older version")
        .flag("--replace", flags.replace, "an existing file");
  }
  {
    auto [arguments, flags] =
        add({.name = "checkpoint",
             .summary = "make a segment's content a new version in a pool",
             .description =
                 "Of a segment of any kind, which must hold still meanwhile. Whole or not at "
                 "all, and durable when it ends. `strata pool load` brings it back.",
             .examples = "strata pool checkpoint run.pool model shm:model\n"
                         "strata pool checkpoint run.pool weights cuda:weights --keep 5",
             .other_names = {"save"}},
            checkpoint_segment);
    arguments.word("NAME", flags.name, "the segment in the pool")
        .word("URI", flags.uri, "the segment to copy, which must hold still")
        .option("--keep", flags.keep_versions, keep_help);
  }
  {
    const auto flags = std::make_shared<LoadFlags>();
    Arguments arguments = pool.add(
        {.name = "load",
         .summary = "copy a version from a pool, verified, into a segment",
         .description = "Into one that is there and large enough, or with --create into a new one, "
                        "made as `strata create` makes it.",
         .examples = "strata pool load run.pool model shm:model\n"
                     "strata pool load --create run.pool model cuda:model --device 0"},
        [flags](Context& context) { return load(context, *flags); });
    arguments.word("PATH", flags->path, "the pool's file")
        .word("NAME", flags->name, "the segment in the pool")
        .word("URI", flags->uri, "the segment to fill")
        .option("--version", flags->version, "an older version")
        .flag("--create", flags->is_new, "make the segment, with the flags below");
    flags->create.add_placement(arguments);
    flags->create.add_lifetime(arguments);
    flags->create.add_device(arguments);
  }
  {
    auto [arguments, flags] = add(
        {.name = "backup",
         .summary = "write all versions of all segments of a pool to one file",
         .description = "With their checksums, on any file system. `strata pool restore` makes a "
                        "pool of it. A pool with objects that are no segments is refused, since "
                        "they would be left behind.",
         .examples = "strata pool backup run.pool run.backup"},
        backup);
    arguments.word("FILE", flags.file, "the backup")
        .flag("--replace", flags.replace, "an existing file");
  }
  {
    auto [arguments, flags] =
        add({.name = "restore",
             .summary = "make a new pool of a backup",
             .description = "PATH is the pool that is made; one that exists is left as it is.",
             .examples = "strata pool restore new.pool run.backup"},
            restore_backup);
    arguments.word("FILE", flags.file, "the backup")
        .size("--size", flags.bytes, "of the new pool (default: as it was, or what it takes)");
  }
}

}  // namespace strata::inline v0_1::tools
