// `strata pool info|ls|check|repair|dump`: what looks at a pool, and what mends it.
#include <fmt/format.h>

#include "base/bytes.h"
#include "pmem/check.h"
#include "pmem/checkpoint.h"
#include "pmem/repair.h"
#include "tools/pool_commands.h"
#include "tools/pool_view.h"

namespace strata::tools {
namespace {

constexpr std::uint64_t kDumpRowBytes = 16;

struct InfoFlags {
  std::string path;
  std::string svg;
};

Result<ExitCode> info(Context& context, const InfoFlags& flags) {
  STRATA_ASSIGN(const PoolInfo facts, inspect(context.os(), flags.path));
  if (!flags.svg.empty()) {
    if (facts.kind != "strata" || !facts.problem.empty()) {
      return fail(Code::unsupported, flags.path + ": only a sound Strata pool can be drawn");
    }
    STRATA_TRY(save_svg(context.os(), flags.svg, draw_pool(facts)));
  }
  context.output().json(to_json(facts));
  context.output().print(pool_facts(facts));
  if (!facts.segments.empty()) context.output().print(segment_table(facts));
  return facts.problem.empty() ? ExitCode::done : ExitCode::failed;
}

Result<ExitCode> list(Context& context, const std::string& path) {
  STRATA_ASSIGN(const PoolInfo facts, inspect(context.os(), path));
  if (facts.kind != "strata") return fail(Code::invalid_argument, path + ": is no Strata pool");
  if (!facts.problem.empty()) return fail(Code::corrupt, path + ": " + facts.problem);
  Json segments = Json::array();
  for (const PoolSegmentInfo& segment : facts.segments)
    segments.push_back(to_json(segment));
  context.output().json({{"path", path}, {"segments", segments}});
  if (facts.segments.empty()) {
    context.output().note("no segments");
  } else {
    context.output().print(segment_table(facts));
  }
  return ExitCode::done;
}

struct CheckFlags {
  std::string path;
  bool is_quick = false;
};

Result<ExitCode> check(Context& context, const CheckFlags& flags) {
  STRATA_ASSIGN(const CheckReport report,
                check_pool(context.os(), flags.path, {.read_blocks = !flags.is_quick}));
  context.output().json(to_json(report));
  context.output().print(check_table(report));
  context.output().print(fmt::format("{}: {}, {} segment versions, {} blocks verified\n",
                                     report.path, report.is_sound() ? "sound" : "DAMAGED",
                                     report.segments_checked, report.blocks_verified));
  return report.is_sound() ? ExitCode::done : ExitCode::failed;
}

Result<ExitCode> repair(Context& context, const std::string& path, const RepairOptions& options) {
  STRATA_ASSIGN(const RepairReport report, repair_pool(context.os(), path, options));
  Json json = {{"path", report.path},
               {"versions_kept", report.versions_kept},
               {"directory_was_rebuilt", report.directory_was_rebuilt},
               {"lost", report.lost},
               {"check", to_json(report.check)}};
  json["damaged_path"] = report.damaged_path.empty() ? Json(nullptr) : Json(report.damaged_path);
  context.output().json(json);
  context.output().print(fmt::format("{}: {} segment versions kept; it opens and is sound\n",
                                     report.path, report.versions_kept));
  for (const std::string& lost : report.lost)
    context.output().print(fmt::format("  lost: {}\n", lost));
  if (!report.damaged_path.empty()) {
    context.output().print(fmt::format("  the damaged pool is {}\n", report.damaged_path));
  }
  return ExitCode::done;
}

struct DumpFlags {
  std::string path;
  std::string name;
  std::uint64_t version = 0;
  std::uint64_t offset_bytes = 0;
  std::uint64_t bytes = 256;
};

std::string hex_rows(std::span<const std::byte> bytes, std::uint64_t first_offset) {
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += kDumpRowBytes) {
    const auto row = bytes.subspan(at, std::min<std::size_t>(kDumpRowBytes, bytes.size() - at));
    std::string hex, plain;
    for (const std::byte each : row) {
      const auto value = static_cast<unsigned char>(each);
      hex += fmt::format("{:02x} ", value);
      plain += value >= 32 && value < 127 ? static_cast<char>(value) : '.';
    }
    text += fmt::format("{:012x}  {:<48} {}\n", first_offset + at, hex, plain);
  }
  return text;
}

Result<ExitCode> dump(Context& context, const DumpFlags& flags) {
  const Pool pool = Pool::at(context.os(), flags.path);
  STRATA_ASSIGN(const VerifiedReader reader, VerifiedReader::open(pool, flags.name, flags.version));
  if (flags.offset_bytes > reader.bytes()) {
    return fail(Code::invalid_argument,
                fmt::format("offset {}: it has {} bytes", flags.offset_bytes, reader.bytes()));
  }
  std::vector<std::byte> bytes(std::min(flags.bytes, reader.bytes() - flags.offset_bytes));
  if (reader.has_checksums()) {
    STRATA_TRY(reader.read(flags.offset_bytes, bytes));
  } else {
    const auto from = reader.unverified().subspan(flags.offset_bytes, bytes.size());
    std::copy(from.begin(), from.end(), bytes.begin());
  }
  std::string hex;
  for (const std::byte each : bytes)
    hex += fmt::format("{:02x}", static_cast<unsigned char>(each));
  context.output().json({{"path", flags.path},
                         {"name", flags.name},
                         {"version", reader.version()},
                         {"payload_bytes", reader.bytes()},
                         {"is_verified", reader.has_checksums()},
                         {"offset_bytes", flags.offset_bytes},
                         {"hex", hex}});
  context.output().print(hex_rows(bytes, flags.offset_bytes));
  return ExitCode::done;
}

CLI::Option* add_path(CLI::App& app, std::string& path) {
  return app.add_option("PATH", path, "the pool's file")->required()->type_name("");
}

}  // namespace

void add_pool_looking(Commands& pool) {
  const auto info_flags = std::make_shared<InfoFlags>();
  CLI::App& info_app =
      pool.add("info", "Say what a pool is and what is in it; knows other PMDK pools too.",
               "strata pool info run.pool\nstrata pool info run.pool --svg run.svg",
               [info_flags](Context& context) { return info(context, *info_flags); });
  add_path(info_app, info_flags->path);
  info_app.add_option("--svg", info_flags->svg, "draw what lies where in its file")
      ->type_name("FILE");

  const auto list_path = std::make_shared<std::string>();
  add_path(pool.add("ls", "List all versions of all segments.", "strata pool ls run.pool",
                    [list_path](Context& context) { return list(context, *list_path); }),
           *list_path);

  const auto check_flags = std::make_shared<CheckFlags>();
  CLI::App& check_app =
      pool.add("check", "Check header, heap, directory, segments and checksums; changes nothing.",
               "strata pool check run.pool",
               [check_flags](Context& context) { return check(context, *check_flags); });
  add_path(check_app, check_flags->path);
  check_app.add_flag("--quick", check_flags->is_quick, "do not read the blocks");

  const auto repair_path = std::make_shared<std::string>();
  const auto repair_options = std::make_shared<RepairOptions>();
  CLI::App& repair_app =
      pool.add("repair", "Write a sound copy of what can be read, and prove that it opens.",
               "strata pool repair run.pool\nstrata pool repair run.pool --in-place",
               [=](Context& context) { return repair(context, *repair_path, *repair_options); });
  add_path(repair_app, *repair_path);
  repair_app.add_option("--to", repair_options->to, "the copy; default PATH.repaired")
      ->type_name("FILE");
  repair_app.add_flag("--in-place", repair_options->in_place,
                      "then put it in the place of the damaged one, which is kept");

  const auto dump_flags = std::make_shared<DumpFlags>();
  CLI::App& dump_app =
      pool.add("dump", "Print bytes of a segment, verified where they can be.",
               "strata pool dump run.pool mesh --offset 4096 --bytes 64",
               [dump_flags](Context& context) { return dump(context, *dump_flags); });
  add_path(dump_app, dump_flags->path);
  dump_app.add_option("NAME", dump_flags->name, "the segment")->required()->type_name("");
  dump_app.add_option("--version", dump_flags->version, "an older version");
  add_size(dump_app, "--offset", dump_flags->offset_bytes, "where to begin");
  add_size(dump_app, "--bytes", dump_flags->bytes, "how many; default 256");
}

void add_pool(Commands& commands) {
  Commands pool = commands.add_group("pool", "Pools: files of segments that survive.");
  add_pool_looking(pool);
  add_pool_making(pool);
  add_pool_transfers(pool);
}

}  // namespace strata::tools
