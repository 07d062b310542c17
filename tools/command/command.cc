#include "tools/command/command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <optional>

#include "tools/command/help.h"
#include "tools/command/help_commands.h"
#include "tools/command/suggest.h"

namespace strata::inline v0_1::tools {
namespace {

constexpr const char* kJson = "--json";

// --json means the same wherever it stands before "--"; so CLI11 never sees it.
bool take_json(std::vector<std::string>& arguments) {
  const auto end = std::find(arguments.begin(), arguments.end(), "--");
  const auto kept = std::remove(arguments.begin(), end, kJson);
  if (kept == end) return false;
  arguments.erase(kept, end);
  return true;
}

// What is wrong with the command line, in our words where CLI11 has none for it.
std::string complaint(const Walk& line, const CLI::ParseError& error) {
  if (line.unknown_command) {
    return fmt::format("unknown command `{} {}`{}", line.node->path(), *line.unknown_command,
                       did_you_mean(suggest_command(*line.node, *line.unknown_command)));
  }
  if (!line.unknown_options.empty()) {
    const std::string& option = line.unknown_options.front();
    return fmt::format("`{}` has no option `{}`{}", line.node->path(), option,
                       did_you_mean(suggest_option(*line.node, option)));
  }
  if (line.node->is_group()) return fmt::format("`{}` needs a command", line.node->path());
  if (line.needs_value != nullptr) {
    return fmt::format("{} needs a value: {}", line.needs_value->name, spelling(*line.needs_value));
  }
  for (const Parameter* const a : line.options) {
    for (const Parameter* const b : line.options) {
      if (a != b && !a->alternative_of.empty() && a->alternative_of == b->alternative_of) {
        return fmt::format("{} and {} exclude each other: at most one of {} may be given", a->name,
                           b->name, a->alternative_of);
      }
    }
  }
  std::size_t most = 0;
  for (const Parameter& each : line.node->parameters) {
    if (!each.is_word) continue;
    if (each.is_repeated) return error.what();
    ++most;
  }
  if (line.words.size() > most) {
    return fmt::format("`{}` takes {} word{}: '{}' is one too many", line.node->path(), most,
                       most == 1 ? "" : "s", line.words[most]);
  }
  return error.what();
}

// Shows what --help or --version asks for, or says what is wrong. CLI11's exceptions end here.
class CommandLine {
 public:
  CommandLine(CLI::App& app, const CommandNode& root, std::string version,
              const std::vector<std::string>& arguments)
      : app_(app), root_(root), version_(std::move(version)), arguments_(arguments) {}

  // Nothing: the action that was chosen may run.
  std::optional<ExitCode> parse(Output& output) {
    try {
      // CLI11 takes them from the back.
      app_.parse(std::vector<std::string>(arguments_.rbegin(), arguments_.rend()));
      return std::nullopt;
    } catch (const CLI::CallForHelp&) {
      const CommandNode& node = *walk(root_, arguments_).node;
      output.picture(help_text(node, output.painter()));
      output.json(help_json(node));
      return ExitCode::done;
    } catch (const CLI::CallForVersion&) {
      output.line(root_.text.name + " " + version_);
      output.json({{"version", version_}});
      return ExitCode::done;
    } catch (const CLI::ParseError& error) {
      const Walk line = walk(root_, arguments_);
      const bool is_bare =
          line.node->is_group() && !line.unknown_command && line.unknown_options.empty();
      // Who types a group alone wants to see what there is.
      if (is_bare && !output.is_json()) {
        std::fputs(help_text(*line.node, Painter(false)).c_str(), stderr);
        return ExitCode::usage;
      }
      output.error(Status(Code::invalid_argument, complaint(line, error)));
      output.note("usage: " + line.node->usage());
      output.note(fmt::format("`{}` explains it", help_command(*line.node)));
      return ExitCode::usage;
    }
  }

 private:
  CLI::App& app_;
  const CommandNode& root_;
  std::string version_;
  const std::vector<std::string>& arguments_;
};

ExitCode finish(Output& output, ExitCode code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  output.error(Status(Code::exhausted, "write to standard output failed"));
  return ExitCode::failed;
}

void add_common(CommandNode& node) {
  node.parameters.push_back(
      {.name = kJson, .help = "one JSON document instead of text", .is_common = true});
  node.parameters.push_back(
      {.name = "--help", .short_name = "-h", .help = "this help", .is_common = true});
}

}  // namespace

CLI::App& Commands::new_command(CommandText text, CommandNode*& node) {
  CLI::App* const command = app_.add_subcommand(text.name, text.summary);
  node = node_.commands.emplace_back(std::make_unique<CommandNode>()).get();
  node->text = std::move(text);
  node->section = section_;
  node->parent = &node_;
  add_common(*node);
  return *command;
}

Arguments Commands::add(CommandText text, Action action) {
  CommandNode* node = nullptr;
  CLI::App& command = new_command(std::move(text), node);
  command.callback([chosen = chosen_, action = std::move(action)] { *chosen = action; });
  return {command, *node};
}

Commands Commands::add_group(CommandText text) {
  CommandNode* node = nullptr;
  CLI::App& group = new_command(std::move(text), node);
  group.require_subcommand(1);
  return {group, *node, chosen_};
}

int run(int argc, char** argv, const CommandText& program, const std::string& version,
        void (*add_all)(Commands&)) {
  // Standard output can be a file, which may not become too long (ulimit -f): then a write fails.
  std::signal(SIGXFSZ, SIG_IGN);
  CLI::App app("", program.name);
  app.set_help_flag("-h,--help");
  app.set_version_flag("--version", version);
  app.require_subcommand(1);
  CommandNode root;
  root.text = program;
  add_common(root);
  root.parameters.push_back({.name = "--version", .help = "which Strata this is, in one line"});
  const auto chosen = std::make_shared<Action>();
  Commands commands(app, root, chosen);
  add_all(commands);

  Context context;
  Output& output = context.output();
  std::vector<std::string> arguments(argv + 1, argv + argc);
  // Its words are those of another command line.
  if (!arguments.empty() && arguments[0] == "__complete") {
    arguments.erase(arguments.begin());
    return static_cast<int>(answer_completion(context, root, arguments));
  }
  if (take_json(arguments)) output.use_json();
  CommandLine line(app, root, version, arguments);
  if (const std::optional<ExitCode> end = line.parse(output))
    return static_cast<int>(finish(output, *end));
  const Result<ExitCode> result = (*chosen)(context);
  if (result) return static_cast<int>(finish(output, *result));
  output.error(result.error());
  return static_cast<int>(finish(output, exit_code_of(result.error().code())));
}

}  // namespace strata::inline v0_1::tools
