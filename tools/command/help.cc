#include "tools/command/help.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/terminal/wrap.h"

namespace strata::inline v0_1::tools {
namespace {

constexpr std::size_t kWidth = 80;
constexpr std::size_t kTermColumn = 26;
constexpr std::size_t kCommandColumn = 14;
constexpr std::size_t kStatusColumn = 5;

std::string heading(const Painter& painter, const std::string& title) {
  return "\n" + painter.paint(Tone::strong, title + ":") + "\n";
}

std::string words_text(const CommandNode& node) {
  std::vector<Definition> words;
  for (const Parameter& each : node.parameters)
    if (each.is_word) words.push_back({spelling(each), meaning(each)});
  return render(words, kWidth, kTermColumn);
}

std::string options_text(const CommandNode& node, const Painter& painter) {
  std::string text;
  for (const OptionGroup& group : option_groups(node)) {
    std::vector<Definition> options;
    for (const Parameter* const each : group.options)
      options.push_back({spelling(*each), meaning(*each)});
    text +=
        heading(painter, group.title.empty() ? "Options" : group.title + " (at most one of these)");
    text += render(options, kWidth, kTermColumn);
  }
  return text;
}

std::string commands_text(const CommandNode& group, const Painter& painter) {
  std::string text;
  for (const Section& section : sections_of(group)) {
    std::vector<Definition> commands;
    for (const CommandNode* const each : section.commands)
      commands.push_back({each->text.name, each->text.summary});
    text += heading(painter, section.title) + render(commands, kWidth, kCommandColumn);
  }
  return text;
}

Json parameter_json(const Parameter& parameter) {
  Json json = {{"name", parameter.name}};
  if (!parameter.is_word) json["value"] = parameter.value;
  json["help"] = parameter.help;
  json["required"] = parameter.is_required;
  json["repeated"] = parameter.is_repeated;
  json["choices"] = parameter.choices;
  if (!parameter.is_word) {
    json["default"] = parameter.shown_default;
    json["alternative_of"] = parameter.alternative_of;
  }
  return json;
}

}  // namespace

std::string help_command(const CommandNode& node) {
  std::string path = node.path();
  const std::size_t blank = path.find(' ');
  return blank == std::string::npos ? path + " help" : path.insert(blank, " help");
}

std::string spelling(const Parameter& parameter) {
  std::string text = parameter.short_name.empty() ? "" : parameter.short_name + ", ";
  text += parameter.name;
  if (parameter.is_word) return parameter.is_repeated ? text + "..." : text;
  if (!parameter.choices.empty())
    return text + fmt::format(" {}", fmt::join(parameter.choices, "|"));
  return parameter.value.empty() ? text : text + " " + parameter.value;
}

std::string meaning(const Parameter& parameter) {
  std::string text = parameter.help;
  if (parameter.is_word && !parameter.choices.empty())
    text += fmt::format(": {}", fmt::join(parameter.choices, ", "));
  if (!parameter.is_word && parameter.is_required) text += " (required)";
  if (!parameter.is_word && parameter.is_repeated) text += " (may be given several times)";
  if (!parameter.shown_default.empty())
    text += fmt::format(" (default {})", parameter.shown_default);
  return text;
}

std::vector<Section> sections_of(const CommandNode& group) {
  std::vector<Section> sections;
  for (const auto& each : group.commands) {
    if (each->text.is_hidden) continue;
    auto found = std::find_if(sections.begin(), sections.end(), [&](const Section& section) {
      return section.title == each->section;
    });
    if (found == sections.end()) found = sections.insert(sections.end(), {each->section, {}});
    found->commands.push_back(each.get());
  }
  return sections;
}

std::vector<OptionGroup> option_groups(const CommandNode& node) {
  std::vector<OptionGroup> groups(1);
  for (const Parameter& each : node.parameters) {
    if (each.is_word || each.is_common) continue;
    auto found = std::find_if(groups.begin(), groups.end(), [&](const OptionGroup& group) {
      return group.title == each.alternative_of;
    });
    if (found == groups.end()) found = groups.insert(groups.end(), {each.alternative_of, {}});
    found->options.push_back(&each);
  }
  for (const Parameter& each : node.parameters)
    if (each.is_common) groups.front().options.push_back(&each);
  return groups;
}

std::string help_text(const CommandNode& node, const Painter& painter) {
  std::string text = wrap(node.path() + ": " + node.text.summary, kWidth) + "\n\n";
  text += painter.paint(Tone::strong, "Usage:") + " " +
          wrap(node.usage(), kWidth, std::string_view("Usage:  ").size()) + "\n";
  for (const std::string& paragraph : paragraphs(node.text.description))
    text += "\n" + wrap(paragraph, kWidth) + "\n";
  if (const std::string words = words_text(node); !words.empty())
    text += heading(painter, "Words") + words;
  text += commands_text(node, painter);
  text += options_text(node, painter);
  if (!node.text.examples.empty()) {
    text += heading(painter, "Examples");
    for (const std::string& line : lines_of(node.text.examples))
      text += "  " + line + "\n";
  }
  if (!node.text.exit_status.empty()) {
    text += heading(painter, "Exit status") +
            render(read_definitions(node.text.exit_status), kWidth, kStatusColumn);
  }
  if (!node.text.environment.empty()) {
    text += heading(painter, "Environment") +
            render(read_definitions(node.text.environment), kWidth, kTermColumn);
  }
  if (node.is_group())
    text += fmt::format("\n`{} COMMAND` explains one of them.\n", help_command(node));
  return text;
}

Json help_json(const CommandNode& node) {
  Json words = Json::array();
  Json options = Json::array();
  for (const Parameter& each : node.parameters)
    (each.is_word ? words : options).push_back(parameter_json(each));
  Json commands = Json::array();
  for (const auto& each : node.commands) {
    if (each->text.is_hidden) continue;
    commands.push_back({{"name", each->text.name}, {"summary", each->text.summary}});
  }
  return {{"command", node.path()},
          {"usage", node.usage()},
          {"summary", node.text.summary},
          {"description", paragraphs(node.text.description)},
          {"words", words},
          {"options", options},
          {"examples", lines_of(node.text.examples)},
          {"commands", commands}};
}

}  // namespace strata::inline v0_1::tools
