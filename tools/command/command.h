// How a subcommand is written. Each stands in a cmd_*.cc of its own as one function that is
// declared in commands.h and listed in main.cc:
//
//     void add_seal(Commands& commands) {
//       auto uri = std::make_shared<std::string>();
//       commands
//           .add("seal", "Make a segment's content final.", "strata seal shm:mesh",
//                [uri](Context& context) -> Result<ExitCode> { … return ExitCode::done; })
//           .word("URI", *uri, "the segment");
//     }
//
//   Threads:  one.
//   Errors:   an action returns its Status; run() prints it and turns it into the exit code.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "os/os.h"
#include "strata/base/result.h"
#include "strata/segment/catalog.h"
#include "tools/command/arguments.h"
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
  Commands(CLI::App& app, std::shared_ptr<Action> chosen, std::shared_ptr<bool> is_json)
      : app_(app), chosen_(std::move(chosen)), is_json_(std::move(is_json)) {}

  // Adds a subcommand with --json and --help. `examples` are the lines under its help.
  Arguments add(const std::string& name, const std::string& summary, const std::string& examples,
                Action action);
  // Adds a subcommand that only has subcommands, such as `strata pool`.
  Commands add_group(const std::string& name, const std::string& summary);
  // The heading under which the next ones appear in `strata --help`.
  void section(std::string title) { section_ = std::move(title); }

 private:
  CLI::App& app_;
  std::shared_ptr<Action> chosen_;
  std::shared_ptr<bool> is_json_;
  std::string section_ = "Commands";
};

// Parses the command line, runs what it asks for, and returns the process's exit status.
int run(int argc, char** argv, void (*add_all)(Commands&));

}  // namespace strata::inline v0_1::tools
