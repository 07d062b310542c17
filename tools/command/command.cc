#include "tools/command/command.h"

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace strata::inline v0_1::tools {
namespace {

bool asks_for_json(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (std::strcmp(argv[i], "--json") == 0) return true;
  return false;
}

// CLI11 throws; here its exceptions end.
std::optional<ExitCode> parse(CLI::App& app, int argc, char** argv, Output& output) {
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      app.exit(error);  // --help and --version print to stdout
      return ExitCode::done;
    }
    output.error(Status(Code::invalid_argument, error.what()));
    output.note("strata --help lists the commands, strata COMMAND --help explains one");
    return ExitCode::usage;
  }
}

ExitCode finish(Output& output, ExitCode code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  output.error(Status(Code::exhausted, "write to standard output failed"));
  return ExitCode::failed;
}

}  // namespace

Arguments Commands::add(const std::string& name, const std::string& summary,
                        const std::string& examples, Action action) {
  CLI::App* command = app_.add_subcommand(name, summary);
  command->group(section_);
  command->add_flag("--json", *is_json_, "one JSON document instead of text");
  std::string footer = "Examples:\n";
  for (std::size_t from = 0; from < examples.size();) {
    const std::size_t to = std::min(examples.find('\n', from), examples.size());
    footer += "  " + examples.substr(from, to - from) + "\n";
    from = to + 1;
  }
  command->footer(footer);
  command->callback([chosen = chosen_, action = std::move(action)] { *chosen = action; });
  return Arguments(*command);
}

Commands Commands::add_group(const std::string& name, const std::string& summary) {
  CLI::App* group = app_.add_subcommand(name, summary);
  group->group(section_);
  group->require_subcommand(1);
  return {*group, chosen_, is_json_};
}

int run(int argc, char** argv, void (*add_all)(Commands&)) {
  // Standard output can be a file, which may not become too long (ulimit -f): then a write fails.
  std::signal(SIGXFSZ, SIG_IGN);
  CLI::App app("Memory that processes share: named, placed, verified, and cleaned up.", "strata");
  app.set_help_flag("-h,--help", "this help");
  app.require_subcommand(1);
  app.footer(
      "Exit status: 0 done, 1 failed, 2 usage, 3 not found, 4 refused (in use, or not yours),\n"
      "5 could not look everywhere.\n"
      "Colours are left out where NO_COLOR is set.");
  const auto chosen = std::make_shared<Action>();
  const auto is_json = std::make_shared<bool>(false);
  Commands commands(app, chosen, is_json);
  add_all(commands);

  Context context;
  Output& output = context.output();
  if (asks_for_json(argc, argv)) output.use_json();
  if (argc == 1) {
    std::fputs(app.help().c_str(), stderr);
    return static_cast<int>(ExitCode::usage);
  }
  if (const std::optional<ExitCode> end = parse(app, argc, argv, output)) {
    return static_cast<int>(finish(output, *end));
  }
  const Result<ExitCode> result = (*chosen)(context);
  if (result) return static_cast<int>(finish(output, *result));
  output.error(result.error());
  return static_cast<int>(finish(output, exit_code_of(result.error().code())));
}

}  // namespace strata::inline v0_1::tools
