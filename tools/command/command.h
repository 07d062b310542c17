// How a subcommand is written. Each stands in a cmd_*.cc of its own as one function that is
// declared in the *_commands.h of its folder and listed in main.cc:
//
//     void add_seal(Commands& commands) {
//       auto uri = std::make_shared<std::string>();
//       commands
//           .add({.name = "seal",
//                 .summary = "make a segment's content final",
//                 .description = "Nobody can write to it from then on. …",
//                 .examples = "strata seal shm:mesh"},
//                [uri](Context& context) -> Result<ExitCode> { … return ExitCode::done; })
//           .word("URI", *uri, "the segment");
//     }
//
//   Threads:  one.
//   Errors:   an action returns its Status; run() prints it and turns it into the exit code.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "os/os.h"
#include "strata/base/result.h"
#include "strata/segment/catalog.h"
#include "tools/command/arguments.h"
#include "tools/command/command_tree.h"
#include "tools/command/exit_code.h"
#include "tools/terminal/output.h"

namespace strata::inline v0_1::tools {

// What an action works with.
class Context {
 public:
  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Output& output() { return output_; }
  Os& os() { return os_; }
  // Made at the first call: many commands need none.
  Catalog& catalog();

 private:
  RealOs os_;
  Output output_;
  std::unique_ptr<Catalog> catalog_;
};

using Action = std::function<Result<ExitCode>(Context&)>;

// The subcommands of one level of the command line.
class Commands {
 public:
  Commands(CLI::App& app, CommandNode& node, std::shared_ptr<Action> chosen)
      : app_(app), node_(node), chosen_(std::move(chosen)) {}

  // Adds a subcommand, with --json and --help.
  Arguments add(CommandText text, Action action);
  // Adds a subcommand that only has subcommands, such as `strata pool`.
  Commands add_group(CommandText text);
  // The heading under which the next ones appear in the help.
  void section(std::string title) { section_ = std::move(title); }
  // The group itself, as it is when an action runs: with all that was added to it.
  const CommandNode& node() const { return node_; }

 private:
  CLI::App& new_command(CommandText text, CommandNode*& node);

  CLI::App& app_;
  CommandNode& node_;
  std::shared_ptr<Action> chosen_;
  std::string section_ = "Commands";
};

// Parses the command line, runs what it asks for, and returns the process's exit status.
// `version` is what --version prints.
int run(int argc, char** argv, const CommandText& program, const std::string& version,
        void (*add_all)(Commands&));

}  // namespace strata::inline v0_1::tools
