#include <fmt/format.h>

#include "tools/command/help.h"
#include "tools/command/help_commands.h"
#include "tools/command/suggest.h"

namespace strata::inline v0_1::tools {

Result<const CommandNode*> find_command(const CommandNode& root,
                                        const std::vector<std::string>& words) {
  const CommandNode* node = &root;
  for (const std::string& word : words) {
    const CommandNode* const next = node->find(word);
    if (next == nullptr) {
      return fail(Code::invalid_argument,
                  fmt::format("unknown command `{} {}`{}", node->path(), word,
                              did_you_mean(suggest_command(*node, word))));
    }
    node = next;
  }
  return node;
}

void add_help(Commands& commands) {
  const auto words = std::make_shared<std::vector<std::string>>();
  const CommandNode* const root = &commands.node();
  commands
      .add(
          {.name = "help",
           .summary = "explain a command, with examples",
           .description = "The same as COMMAND --help. Without a command: the list of all of them.",
           .examples = "strata help\nstrata help ls\nstrata help pool check"},
          [=](Context& context) -> Result<ExitCode> {
            STRATA_ASSIGN(const CommandNode* const node, find_command(*root, *words));
            context.output().picture(help_text(*node, context.output().painter()));
            context.output().json(help_json(*node));
            return ExitCode::done;
          })
      .optional_words("COMMAND", *words, "the command, such as `ls` or `pool check`");
}

}  // namespace strata::inline v0_1::tools
