#include <fmt/format.h>

#include "strata/version.h"
#include "tools/command/help_commands.h"
#include "tools/command/man_page.h"
#include "tools/terminal/save.h"

namespace strata::inline v0_1::tools {
namespace {

struct Options {
  std::vector<std::string> words;
  std::string folder;
};

Result<void> save_pages(Os& os, const std::vector<const CommandNode*>& commands,
                        const std::string& folder) {
  const Result<void> made = os.mkdir(folder, 0755);
  if (!made && made.error().code() != Code::already_exists) return made;
  for (const CommandNode* const each : commands) {
    STRATA_TRY(
        save_text(os, folder + "/" + man_page_file(*each), man_page(*each, STRATA_VERSION_STRING)));
  }
  return {};
}

Result<ExitCode> man(Context& context, const CommandNode& root, const Options& options) {
  STRATA_ASSIGN(const CommandNode* const node, find_command(root, options.words));
  Output& output = context.output();
  if (options.folder.empty()) {
    const std::string page = man_page(*node, STRATA_VERSION_STRING);
    output.picture(page);
    output.json({{"file", man_page_file(*node)}, {"page", page}});
    return ExitCode::done;
  }
  const auto commands = commands_with_pages(*node);
  STRATA_TRY(save_pages(context.os(), commands, options.folder));
  Json files = Json::array();
  for (const CommandNode* const each : commands)
    files.push_back(options.folder + "/" + man_page_file(*each));
  output.line(fmt::format("wrote {} pages into {}", commands.size(), options.folder));
  output.json({{"files", files}});
  return ExitCode::done;
}

}  // namespace

void add_man(Commands& commands) {
  const auto options = std::make_shared<Options>();
  const CommandNode* const root = &commands.node();
  commands
      .add({.name = "man",
            .summary = "print a manual page, or write all of them into a folder",
            .description =
                "The page is in the man macros of troff. It says what `strata help` says.",
            .examples = "strata man pool check | man -l -\nstrata man --into share/man/man1",
            .is_hidden = true},
           [=](Context& context) { return man(context, *root, *options); })
      .optional_words("COMMAND", options->words, "the command; without one: strata itself")
      .option("--into", options->folder,
              "write the page, and those of all commands below, into this folder", "FOLDER");
}

}  // namespace strata::inline v0_1::tools
