#include <fmt/format.h>

#include "tools/machine/machine_commands.h"
#include "tools/view/gpu_facts.h"
#include "tools/view/machine_facts.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
namespace {

struct Group {
  const char* key;
  const char* title;
  std::vector<DoctorFact> facts;
};

Json to_json(const std::vector<Group>& groups) {
  Json json = Json::object();
  for (const Group& group : groups) {
    Json facts = Json::array();
    for (const DoctorFact& fact : group.facts) {
      facts.push_back({{"name", fact.name},
                       {"value", fact.value},
                       {"fine", fact.is_fine},
                       {"remedy", fact.remedy}});
    }
    json[group.key] = facts;
  }
  return json;
}

// Backend by capability: what can be asked of each kind of memory, or why not.
Json capabilities_json(Catalog& catalog) {
  Json json = Json::object();
  for (const auto& backend : catalog.backends()) {
    const Capabilities& all = backend->capabilities();
    Json one = {{"default_lifetime", lifetime_name(all.default_lifetime())}};
    for (std::size_t i = 0; i < kCapabilityCount; ++i) {
      const auto capability = static_cast<Capability>(i);
      one[std::string(capability_name(capability))] = {{"can", all.has(capability)},
                                                       {"why_not", all.why_not(capability)}};
    }
    json[std::string(backend->scheme())] = one;
  }
  return json;
}

void print_capabilities(Output& output, Catalog& catalog) {
  std::vector<Column> columns = {{"  can"}};
  for (const auto& backend : catalog.backends())
    columns.push_back({std::string(backend->scheme()) + ":"});
  Table table(columns);
  for (std::size_t i = 0; i < kCapabilityCount; ++i) {
    const auto capability = static_cast<Capability>(i);
    std::vector<Cell> cells = {Cell(fmt::format("  {}", capability_name(capability)))};
    for (const auto& backend : catalog.backends()) {
      const Capabilities& all = backend->capabilities();
      cells.push_back(all.has(capability) ? Cell("yes", Tone::good)
                                          : Cell(std::string(all.why_not(capability)), Tone::dim));
    }
    table.add(cells);
  }
  output.line(Cell("Kinds of memory", Tone::strong));
  output.print(table);
  output.line("");
}

Result<ExitCode> examine(Context& context) {
  Os& os = context.os();
  const std::vector<Group> groups = {{"memory", "Memory", memory_facts(os)},
                                     {"kernel", "Kernel", kernel_facts(os)},
                                     {"persistence", "Persistent memory", persistence_facts(os)},
                                     {"gpu", "GPU", gpu_facts(context)}};
  Output& output = context.output();
  Json json = to_json(groups);
  json["capabilities"] = capabilities_json(context.catalog());
  output.json(json);
  std::size_t in_the_way = 0;
  for (const Group& group : groups) {
    Table table({{""}, {""}, {""}});
    for (const DoctorFact& fact : group.facts) {
      in_the_way += fact.is_fine ? 0 : 1;
      table.add({fact.is_fine ? Cell("  ok", Tone::good) : Cell("  !!", Tone::warning), fact.name,
                 fact.value});
      if (!fact.remedy.empty())
        table.add({"", "", Cell("→ " + fact.remedy, fact.is_fine ? Tone::dim : Tone::warning)});
    }
    output.line(Cell(group.title, Tone::strong));
    output.print(table);
    output.line("");
  }
  print_capabilities(output, context.catalog());
  output.line(in_the_way == 0 ? std::string("nothing is in the way")
                              : fmt::format("{} thing{} could be better: see the arrows",
                                            in_the_way, in_the_way == 1 ? "" : "s"));
  return ExitCode::done;
}

}  // namespace

void add_doctor(Commands& commands) {
  commands.add(
      {.name = "doctor",
       .summary = "show what shared memory can do on this machine",
       .description = "Memory, kernel, persistent memory and GPUs, each fact tried where it can "
                      "be tried, with an arrow to what would help where something is in the way. "
                      "Also what can be asked of each kind of memory. Exit status 0 whatever it "
                      "finds.",
       .examples = "strata doctor\n"
                   "strata doctor --json",
       .other_names = {"diagnose"}},
      examine);
}

}  // namespace strata::inline v0_1::tools
