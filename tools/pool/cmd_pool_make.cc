// `strata pool create|grow|rm|snapshot|rollback`: what makes and changes pools.
#include <fmt/format.h>

#include "pmem/pool_access.h"
#include "pmem/pool_registry.h"
#include "strata/base/bytes.h"
#include "strata/pmem/pool.h"
#include "strata/pmem/snapshot.h"
#include "tools/command/create_flags.h"
#include "tools/pool/pool_commands.h"

namespace strata::inline v0_1::tools {
namespace {

struct MakeFlags {
  std::string path;
  PoolCreateOptions options;
  std::string mode = "0600";
};

// Where a pool got another size than was asked for.
void note_size(Context& context, std::uint64_t wanted_bytes, std::uint64_t bytes) {
  if (bytes == wanted_bytes) return;
  context.output().note(
      fmt::format("{} bytes, not {}: with what is between, libpmemobj's last zone "
                  "would be larger than it can manage",
                  bytes, wanted_bytes));
}

Result<ExitCode> create(Context& context, const MakeFlags& flags) {
  PoolCreateOptions options = flags.options;
  STRATA_ASSIGN(options.mode, parse_mode(flags.mode));
  STRATA_TRY(Pool::create(context.os(), flags.path, options));
  PoolRegistry(context.os(), user_pool_registry()).record(flags.path);
  STRATA_ASSIGN(const auto facts, context.os().stat(flags.path));
  const auto bytes = static_cast<std::uint64_t>(facts.st_size);
  context.output().json({{"path", flags.path}, {"bytes", bytes}, {"created", true}});
  context.output().line(fmt::format("created {}, {}", flags.path, format_bytes(bytes)));
  note_size(context, options.bytes, bytes);
  return ExitCode::done;
}

struct GrowFlags {
  std::string path;
  std::uint64_t bytes = 0;
};

Result<ExitCode> grow(Context& context, const GrowFlags& flags) {
  STRATA_ASSIGN(const Pool pool, Pool::open(context.os(), flags.path));
  STRATA_ASSIGN(const GrowReport report, grow_pool(pool, flags.bytes));
  context.output().json({{"path", flags.path},
                         {"old_bytes", report.old_bytes},
                         {"new_bytes", report.new_bytes},
                         {"segment_versions", report.segments}});
  context.output().line(fmt::format("{}: {} to {}, {}", flags.path, format_bytes(report.old_bytes),
                                    format_bytes(report.new_bytes),
                                    count_of(report.segments, "segment version")));
  note_size(context, flags.bytes, report.new_bytes);
  return ExitCode::done;
}

struct RemoveFlags {
  std::string path;
  std::string name;
  bool even_if_attached = false;
};

Result<ExitCode> remove(Context& context, const RemoveFlags& flags) {
  const Pool pool = Pool::at(context.os(), flags.path);
  STRATA_TRY(pool.remove({.name = flags.name, .even_if_attached = flags.even_if_attached}));
  context.output().json({{"path", flags.path}, {"name", flags.name}, {"removed", true}});
  context.output().line(fmt::format("removed {} from {}", flags.name, flags.path));
  return ExitCode::done;
}

struct SnapshotFlags {
  std::string path;
  std::string to;
  SnapshotOptions options;
};

Result<ExitCode> snapshot(Context& context, const SnapshotFlags& flags) {
  STRATA_ASSIGN(const Pool pool, Pool::open(context.os(), flags.path));
  STRATA_ASSIGN(const SnapshotReport report, snapshot_pool(pool, flags.to, flags.options));
  const char* method = report.method == CopyMethod::reflink ? "reflink" : "copy";
  context.output().json(
      {{"path", flags.path}, {"to", flags.to}, {"method", method}, {"bytes", report.bytes}});
  context.output().line(
      fmt::format("{}: {} of {} ({})", flags.to, method, flags.path, format_bytes(report.bytes)));
  return ExitCode::done;
}

struct RollbackFlags {
  std::string path;
  std::string name;
  std::uint64_t version = 0;
};

Result<ExitCode> rollback(Context& context, const RollbackFlags& flags) {
  const Pool pool = Pool::at(context.os(), flags.path);
  STRATA_TRY(pool.rollback(flags.name, flags.version));
  STRATA_ASSIGN(const auto now, pool.look_up(flags.name, Deadline::after_ms(1000)));
  const std::uint64_t version = now.found.entry.version;
  context.output().json({{"path", flags.path}, {"name", flags.name}, {"version", version}});
  context.output().line(fmt::format("{}#{} is version {} again", flags.path, flags.name, version));
  return ExitCode::done;
}

}  // namespace

void add_pool_making(Commands& pool) {
  const auto created = std::make_shared<MakeFlags>();
  pool.add({.name = "create",
            .summary = "make a pool",
            .description =
                "A standard libpmemobj pool file of that size, in which segments survive "
                "restarts, kills and power failures. It is made under no name and gets its "
                "own when it is whole.",
            .examples = "strata pool create run.pool --size 4G\n"
                        "strata pool create shared.pool --size 4G --mode 0660",
            .other_names = {"new", "make"}},
           [created](Context& context) { return create(context, *created); })
      .word("PATH", created->path, "the pool's file")
      .required_size("--size", created->options.bytes, "of the file, at least 8M")
      .option("--slots", created->options.slots,
              "segments and old versions that it can hold (default 2944)")
      .option_with_default("--mode", created->mode, "permission bits, octal", "MODE");

  const auto grown = std::make_shared<GrowFlags>();
  pool.add({.name = "grow",
            .summary = "put a larger pool with the same content in its place",
            .description =
                "Refused (exit status 4) while others use the pool. It needs room for both "
                "files while it runs.",
            .examples = "strata pool grow run.pool --size 8G",
            .other_names = {"resize", "extend"}},
           [grown](Context& context) { return grow(context, *grown); })
      .word("PATH", grown->path, "the pool's file")
      .required_size("--size", grown->bytes, "of the file from then on");

  const auto removed = std::make_shared<RemoveFlags>();
  pool.add(
          {.name = "rm",
           .summary = "remove a segment with all its versions from a pool",
           .description = "Refused (exit status 4) while it is in use; with --force its users keep "
                          "their memory until they let go. The pool itself is a file: remove it as "
                          "any other.",
           .examples = "strata pool rm run.pool mesh",
           .other_names = {"remove", "delete", "del"}},
          [removed](Context& context) { return remove(context, *removed); })
      .word("PATH", removed->path, "the pool's file")
      .word("NAME", removed->name, "the segment")
      .flag("--force", removed->even_if_attached,
            "although it is in use: its users keep their memory");

  const auto copied = std::make_shared<SnapshotFlags>();
  pool.add({.name = "snapshot",
            .summary = "copy a pool as it is at one moment",
            .description = "By reflink where the file system can, which takes no time and no room; "
                           "else byte by byte.",
            .examples = "strata pool snapshot run.pool before.pool",
            .other_names = {"clone", "copy"}},
           [copied](Context& context) { return snapshot(context, *copied); })
      .word("PATH", copied->path, "the pool's file")
      .word("TO", copied->to, "the copy")
      .flag("--replace", copied->options.replace, "an existing file");

  const auto rolled = std::make_shared<RollbackFlags>();
  pool.add({.name = "rollback",
            .summary = "make an older version of a segment the current one",
            .description = "Without --version the newest of the older ones. `strata pool ls` lists "
                           "them. What was current is kept as an older version.",
            .examples = "strata pool rollback run.pool model\n"
                        "strata pool rollback run.pool model --version 3",
            .other_names = {"revert", "undo"}},
           [rolled](Context& context) { return rollback(context, *rolled); })
      .word("PATH", rolled->path, "the pool's file")
      .word("NAME", rolled->name, "the segment")
      .option("--version", rolled->version, "default: the newest of the older ones");
}

}  // namespace strata::inline v0_1::tools
