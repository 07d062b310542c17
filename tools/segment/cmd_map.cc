#include <fmt/format.h>

#include "strata/base/bytes.h"
#include "tools/segment/segment_commands.h"
#include "tools/view/page_map.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
namespace {

constexpr std::size_t kTextCells = 512;
constexpr std::size_t kPictureCells = 2048;
constexpr std::size_t kBarColumns = 24;

struct Options {
  std::string uri;
  std::string svg_path;
};

Json to_json(const Options& options, const Segment& segment, const PageMap& map) {
  Json nodes = Json::array();
  for (const NodePages& share : map.report.pages_on_node)
    nodes.push_back({{"node", share.node}, {"bytes", share.pages * kPageBytes}});
  Json cells = Json::array();
  for (const PageCell& cell : map.cells) {
    Json on = Json::object();
    for (const NodePages& share : cell.on_node)
      on[std::to_string(share.node)] = share.pages;
    cells.push_back(
        {{"absent", cell.absent_pages}, {"huge_bytes", cell.huge_bytes}, {"on_node", on}});
  }
  return {{"uri", options.uri},
          {"payload_bytes", map.payload_bytes},
          {"asked", padded_text(segment.identity().placement)},
          {"nodes", nodes},
          {"absent_bytes", map.report.pages_absent * kPageBytes},
          {"huge_bytes", map.report.huge_bytes},
          {"notes", map.report.notes},
          {"cell_bytes", map.cell_bytes},
          {"cells", cells}};
}

void add_share(Table& table, const PageMap& map, const std::string& name, std::uint64_t bytes) {
  if (bytes == 0) return;
  const double share =
      static_cast<double>(bytes) /
      static_cast<double>(std::max<std::uint64_t>(map.report.pages_total, 1) * kPageBytes);
  table.add({name, format_bytes(bytes), fmt::format("{:.1f}%", share * 100),
             Cell(bar(share, kBarColumns), Tone::accent)});
}

void print(Output& output, const Options& options, const Segment& segment, const PageMap& map) {
  const PlacementReport& report = map.report;
  Facts facts;
  facts.heading(fmt::format("{}: {}", options.uri, format_bytes(map.payload_bytes)));
  facts.add("asked",
            fmt::format("{}, {} pages", padded_text(segment.identity().placement),
                        page_size_name(static_cast<PageSize>(segment.identity().page_size))));
  for (const std::string& note : report.notes)
    facts.add("note", Cell(note, Tone::warning));
  output.print(facts);
  output.line("");

  Table table({{"PAGES"}, {"MEMORY", Align::right}, {"", Align::right}, {""}});
  for (const NodePages& share : report.pages_on_node)
    add_share(table, map, fmt::format("node {}", share.node), share.pages * kPageBytes);
  add_share(table, map, "not in memory", report.pages_absent * kPageBytes);
  const std::uint64_t present = (report.pages_total - report.pages_absent) * kPageBytes;
  const std::uint64_t huge = std::min(report.huge_bytes, present);
  add_share(table, map, "huge pages", huge);
  add_share(table, map, "4 KiB pages", present - huge);
  output.print(table);
  output.line("");
  output.picture(text_map(map, output.painter()));
  output.line(fmt::format("{:>10}  one character is {}: its node, ~ several, · not in memory", "",
                          format_bytes(map.cell_bytes)));
}

Result<ExitCode> show(Context& context, const Options& options) {
  STRATA_TRY(require(context.catalog(), options.uri, Capability::host_bytes));
  STRATA_ASSIGN(const Segment segment,
                context.catalog().attach(options.uri, {.access = Access::read_only}));
  STRATA_ASSIGN(const auto bytes, segment.host_bytes());
  // Asking writes nothing; the interface is shared with those who move pages.
  const std::span payload(const_cast<std::byte*>(bytes.data()), bytes.size());
  STRATA_ASSIGN(const PageMap map, read_page_map(context.os(), payload, kPictureCells));
  if (!options.svg_path.empty()) {
    STRATA_TRY(
        save_svg(context.os(), options.svg_path,
                 draw_page_map(map, options.uri, padded_text(segment.identity().placement))));
  }
  context.output().json(to_json(options, segment, map));
  print(context.output(), options, segment, coarsen(map, kTextCells));
  return ExitCode::done;
}

}  // namespace

void add_map(Commands& commands) {
  const auto options = std::make_shared<Options>();
  commands
      .add({.name = "map",
            .summary = "show on which memory nodes a segment's pages are",
            .description =
                "By node and by size of the pages, as the kernel tells it now. With --svg "
                "as a picture of every page.",
            .examples = "strata map shm:mesh\n"
                        "strata map shm:mesh --svg mesh.svg",
            .other_names = {"pages"}},
           [options](Context& context) { return show(context, *options); })
      .word("URI", options->uri, "the segment")
      .option("--svg", options->svg_path, "draw it into this file", "FILE");
}

}  // namespace strata::inline v0_1::tools
