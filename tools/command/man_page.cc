#include "tools/command/man_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "tools/command/help.h"
#include "tools/terminal/wrap.h"

namespace strata::inline v0_1::tools {
namespace {

// For a line of text: nothing in it is taken for a request or an escape. A dash is one that can be
// copied into a shell, and `…` is set in bold.
std::string escaped(std::string_view text) {
  std::string out;
  bool is_code = false;
  for (const char c : text) {
    switch (c) {
      case '\\': out += "\\e"; break;
      case '-': out += "\\-"; break;
      case '\'': out += "\\(aq"; break;
      case '^': out += "\\(ha"; break;
      case '~': out += "\\(ti"; break;
      case '`':
        out += is_code ? "\\fR" : "\\fB";
        is_code = !is_code;
        break;
      case '.':
        if (out.empty()) out += "\\&";
        out += c;
        break;
      default: out += c;
    }
  }
  return out;
}

std::string bold(std::string_view text) { return "\\fB" + escaped(text) + "\\fR"; }
std::string italic(std::string_view text) { return "\\fI" + escaped(text) + "\\fR"; }

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

std::string definition(const std::string& term, std::string_view text) {
  return ".TP\n" + term + "\n" + escaped(text) + "\n";
}

std::string term_of(const Parameter& parameter) {
  if (parameter.is_word) return italic(spelling(parameter));
  std::string term = parameter.short_name.empty() ? "" : bold(parameter.short_name) + ", ";
  term += bold(parameter.name);
  if (parameter.value.empty()) return term;
  if (parameter.choices.empty()) return term + " " + italic(parameter.value);
  return term + fmt::format(" {}", bold(fmt::format("{}", fmt::join(parameter.choices, "|"))));
}

std::string synopsis(const CommandNode& node) {
  // The name of the command in bold, the rest as it is.
  const std::string path = node.path();
  return bold(path) + escaped(node.usage().substr(path.size())) + "\n";
}

std::string description(const CommandNode& node) {
  std::string text;
  for (const std::string& paragraph : paragraphs(node.text.description))
    text += (text.empty() ? "" : ".PP\n") + escaped(paragraph) + "\n";
  if (text.empty()) text = escaped(node.text.summary) + "\n";
  return text;
}

std::string commands(const CommandNode& group) {
  std::string text;
  for (const Section& section : sections_of(group)) {
    text += ".SS " + escaped(section.title) + "\n";
    for (const CommandNode* const each : section.commands)
      text += definition(bold(each->text.name), each->text.summary);
  }
  return text;
}

std::string words_and_options(const CommandNode& node) {
  std::string text;
  for (const Parameter& each : node.parameters)
    if (each.is_word) text += definition(term_of(each), meaning(each));
  for (const OptionGroup& group : option_groups(node)) {
    if (!group.title.empty())
      text += ".SS " + escaped(group.title) + "\nAt most one of these may be given.\n";
    for (const Parameter* const each : group.options)
      text += definition(term_of(*each), meaning(*each));
  }
  return text;
}

std::string examples(const CommandNode& node) {
  std::string text = ".nf\n.RS 4\n";
  for (const std::string& line : lines_of(node.text.examples))
    text += escaped(line) + "\n";
  return text + ".RE\n.fi\n";
}

// Of lines such as "0  done".
std::string definitions(std::string_view lines) {
  std::string text;
  for (const Definition& each : read_definitions(lines))
    text += definition(bold(each.term), each.meaning);
  return text;
}

std::string exit_status(const CommandNode& node) {
  return definitions(node.text.exit_status.empty() ? kExitStatusText : node.text.exit_status);
}

std::string see_also(const CommandNode& node) {
  std::vector<const CommandNode*> others;
  if (node.parent != nullptr) {
    others.push_back(node.parent);
    for (const auto& each : node.parent->commands) {
      if (each.get() != &node && !each->text.is_hidden && each->section == node.section)
        others.push_back(each.get());
    }
  }
  for (const auto& each : node.commands)
    if (!each->text.is_hidden) others.push_back(each.get());
  std::string text;
  for (const CommandNode* const each : others)
    text += fmt::format("{}{}(1)", text.empty() ? "" : ",\n", bold(each->path("-")));
  return text + "\n";
}

}  // namespace

std::string man_page_file(const CommandNode& node) { return node.path("-") + ".1"; }

std::string man_page(const CommandNode& node, const std::string& version) {
  std::string page = ".\\\" Made by `strata man`.\n";
  page += fmt::format(".TH {} 1 \"\" \"strata {}\" \"Strata\"\n", escaped(upper(node.path("-"))),
                      version);
  // No hyphenation and no justification: much of the text is names.
  page += ".nh\n.ad l\n";
  page += ".SH NAME\n" + escaped(node.path("-")) + " \\- " + escaped(node.text.summary) + "\n";
  page += ".SH SYNOPSIS\n" + synopsis(node);
  page += ".SH DESCRIPTION\n" + description(node);
  if (node.is_group()) page += ".SH COMMANDS\n" + commands(node);
  page += ".SH OPTIONS\n" + words_and_options(node);
  if (!node.text.environment.empty())
    page += ".SH ENVIRONMENT\n" + definitions(node.text.environment);
  if (!node.text.examples.empty()) page += ".SH EXAMPLES\n" + examples(node);
  page += ".SH \"EXIT STATUS\"\n" + exit_status(node);
  page += ".SH \"SEE ALSO\"\n" + see_also(node);
  return page;
}

std::vector<const CommandNode*> commands_with_pages(const CommandNode& node) {
  std::vector<const CommandNode*> found = {&node};
  for (const auto& each : node.commands) {
    if (each->text.is_hidden) continue;
    const auto below = commands_with_pages(*each);
    found.insert(found.end(), below.begin(), below.end());
  }
  return found;
}

}  // namespace strata::inline v0_1::tools
