// What a subcommand takes. Each value is written to the variable given with it, which must live
// until the command line has been parsed. What is told of it here is what help, man pages and
// completion show.
//
//     commands.add({.name = "rm", …}, …)
//         .word("URI", *uri, "the segment")
//         .flag("--force", *force, "although …");
//
//   Threads:  one.
//   Errors:   a command line that does not fit ends in a usage error before any action runs.
// CLI11 does the work. Its header takes longer to compile than a command, so it stays out of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/command/command_tree.h"

namespace CLI {
class App;
}

namespace strata::inline v0_1::tools {

class Arguments {
 public:
  Arguments(CLI::App& app, CommandNode& node) : app_(app), node_(node) {}

  // A word that has to be there. A vector takes one or more.
  template <typename T>
  Arguments& word(const std::string& name, T& value, const std::string& help);
  Arguments& optional_word(const std::string& name, std::string& value, const std::string& help);
  // None, one or more.
  Arguments& optional_words(const std::string& name, std::vector<std::string>& values,
                            const std::string& help);
  // One of `choices`, which has to be there.
  Arguments& chosen_word(const std::string& name, std::string& value,
                         const std::vector<std::string>& choices, const std::string& help);
  Arguments& flag(const std::string& name, bool& value, const std::string& help);
  // `type` stands for the value in the help. Numbers are whole, from 0 or for `int` also below it.
  template <typename T>
  Arguments& option(const std::string& name, T& value, const std::string& help,
                    const std::string& type = "N");
  // The same, and the help shows the value that it has now.
  template <typename T>
  Arguments& option_with_default(const std::string& name, T& value, const std::string& help,
                                 const std::string& type = "N");
  Arguments& seconds(const std::string& name, double& value, double least, double most,
                     const std::string& help);
  // A size such as 64M, parsed by parse_bytes.
  Arguments& size(const std::string& name, std::uint64_t& bytes, const std::string& help);
  // The same, and it has to be there; a word where the name does not begin with "--".
  Arguments& required_size(const std::string& name, std::uint64_t& bytes, const std::string& help);
  // Several values with commas between them, as one argument.
  template <typename T>
  Arguments& list(const std::string& name, std::vector<T>& values, const std::string& help,
                  const std::string& type);
  // One value each time that the option is given.
  Arguments& repeated(const std::string& name, std::vector<std::string>& values,
                      const std::string& help, const std::string& type);
  // One of `choices`.
  Arguments& choice(const std::string& name, std::string& value,
                    const std::vector<std::string>& choices, const std::string& help);

  // Of what is added to it at most one may be given.
  Arguments alternatives(const std::string& title);

 private:
  Parameter& describe(const std::string& name, const std::string& help);

  CLI::App& app_;
  CommandNode& node_;
  std::string alternative_of_;
};

}  // namespace strata::inline v0_1::tools
