#include <fnmatch.h>

#include <algorithm>

#include "strata/base/bytes.h"
#include "tools/segment/segment_commands.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
namespace {

// "mesh*" or "shm:mesh*" or "pmem:/data/run.pool#*": what to list, and what to show of it.
struct Pattern {
  std::string scheme;  // empty: all
  std::string container;
  std::string glob = "*";
};

Pattern read_pattern(const std::string& text) {
  Pattern pattern;
  std::string rest = text;
  if (const std::size_t colon = rest.find(':'); colon != std::string::npos) {
    pattern.scheme = rest.substr(0, colon);
    rest = rest.substr(colon + 1);
    const std::size_t hash = rest.find('#');
    if (hash != std::string::npos) {
      pattern.container = rest.substr(0, hash);
      rest = rest.substr(hash + 1);
    } else if (rest.find('/') != std::string::npos) {
      pattern.container = std::exchange(rest, "");
    }
  }
  if (!rest.empty()) pattern.glob = rest;
  return pattern;
}

Result<SegmentList> find(Catalog& catalog, const Pattern& pattern) {
  if (!pattern.scheme.empty()) STRATA_TRY(catalog.backend(pattern.scheme));
  SegmentList found = catalog.list({.scheme = pattern.scheme, .container = pattern.container});
  // Of one pool that was asked for nothing else is left to show.
  if (!pattern.container.empty() && !found.problems.empty()) {
    return unexpected(found.problems.front().status);
  }
  std::erase_if(found.segments, [&](const SegmentStat& stat) {
    return fnmatch(pattern.glob.c_str(), stat.uri.name.c_str(), 0) != 0;
  });
  return found;
}

// There is a column for devices only where something is on one, and for content only where
// something is more than bytes.
Table to_table(const SegmentList& found) {
  constexpr std::size_t kContentColumn = 2;
  constexpr std::size_t kDeviceColumn = 5;
  const bool has_content = std::any_of(
      found.segments.begin(), found.segments.end(),
      [](const SegmentStat& stat) { return !stat.content || !stat.content->is_plain(); });
  const bool has_devices =
      std::any_of(found.segments.begin(), found.segments.end(), is_device_memory);
  std::vector<Column> columns = {{"SEGMENT"},
                                 {"STATE"},
                                 {"CONTENT"},
                                 {"SIZE", Align::right},
                                 {"IN MEMORY", Align::right},
                                 {"ON DEVICE", Align::right},
                                 {"PAGES"},
                                 {"PLACEMENT"},
                                 {"LIFETIME"},
                                 {"USED BY"},
                                 {"AGE", Align::right}};
  if (!has_devices) columns.erase(columns.begin() + kDeviceColumn);
  if (!has_content) columns.erase(columns.begin() + kContentColumn);
  Table table(std::move(columns));
  for (const SegmentStat& stat : found.segments) {
    const IdentityBlock& identity = stat.identity;
    std::vector<Cell> cells = {
        Cell(stat.uri.to_string(), Tone::strong),
        state_cell(stat.state),
        content_cell(stat),
        format_bytes(stat.payload_bytes),
        format_bytes(stat.committed_bytes),
        device_bytes_cell(stat),
        stat.device ? "-" : std::string(page_size_name(static_cast<PageSize>(identity.page_size))),
        placement_cell(stat),
        std::string(lifetime_name(static_cast<Lifetime>(identity.lifetime))),
        use_cell(stat),
        age(identity.created_unix_ns)};
    if (stat.problem) {
      cells = {stat.uri.to_string(),
               Cell(std::string(code_name(stat.problem->code())), Tone::bad),
               "-",
               "-",
               format_bytes(stat.committed_bytes),
               "-",
               "-",
               "-",
               "-",
               "-",
               "-"};
    }
    if (!has_devices) cells.erase(cells.begin() + kDeviceColumn);
    if (!has_content) cells.erase(cells.begin() + kContentColumn);
    table.add(std::move(cells));
  }
  return table;
}

Result<ExitCode> ls(Context& context, const std::string& text) {
  STRATA_ASSIGN(const SegmentList found, find(context.catalog(), read_pattern(text)));
  Output& output = context.output();
  Json list = Json::array();
  if (output.is_json())
    for (const SegmentStat& stat : found.segments)
      list.push_back(to_json(stat));
  output.json({{"segments", list}, {"problems", to_json(found.problems)}});
  if (found.segments.empty()) {
    output.note("no segments" + unseen_text(found.problems));
  } else {
    output.print(to_table(found));
  }
  for (const BackendProblem& problem : found.problems) {
    output.note("could not look into " + problem.where + ": " + problem.status.to_string());
  }
  return found.problems.empty() ? ExitCode::done : ExitCode::unknown;
}

}  // namespace

void add_ls(Commands& commands) {
  const auto pattern = std::make_shared<std::string>();
  commands
      .add({.name = "ls",
            .summary = "list segments",
            .description =
                "Those in shared memory and on devices, and those in the pools that you "
                "have used on this machine, or in the pool that is named. A pattern is a "
                "name with * and ?, with a kind of memory before it where that matters; "
                "quote it, so that the shell leaves it alone.\n\n"
                "What cannot be looked into is told on standard error (exit status 5), and "
                "keeps nothing else away.",
            .examples = "strata ls\n"
                        "strata ls 'shm:mesh*'\n"
                        "strata ls 'pmem:run.pool#*'\n"
                        "strata ls --json",
            .other_names = {"list", "dir"}},
           [pattern](Context& context) { return ls(context, *pattern); })
      .optional_word("PATTERN", *pattern, "names to show, with * and ?; a scheme before them");
}

}  // namespace strata::inline v0_1::tools
