#include "examples/demo/story.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "examples/demo/process.h"

namespace demo {
namespace {

using strata::tools::Tone;

// ./demo says where it built the command; else it is where Bazel puts it beside this program.
std::string find_strata() {
  if (const char* given = std::getenv("STRATA")) return given;
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return (self.parent_path().parent_path().parent_path() / "tools/strata").string();
}

void print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

}  // namespace

Story::Story()
    : painter_(isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr),
      strata_path_(find_strata()) {}

void Story::title(std::string_view text) {
  steps_ = 0;
  print("\n" + painter_.paint(Tone::strong, text) + "\n");
}

void Story::step(std::string_view text) {
  print("\n" + painter_.paint(Tone::accent, std::to_string(++steps_)) + "  " +
        painter_.paint(Tone::strong, text) + "\n");
}

void Story::say(std::string_view text) { print("   " + std::string(text) + "\n"); }

void Story::check(bool holds, std::string_view text) {
  all_held_ = all_held_ && holds;
  print("   " + painter_.paint(holds ? Tone::good : Tone::bad, holds ? "✓ " : "✗ ") +
        std::string(text) + "\n");
}

void Story::table(const strata::tools::Table& table) { indented(table.render(painter_)); }

void Story::strata(const std::string& arguments) {
  run("strata " + arguments, shell_quoted(strata_path_) + " " + arguments);
}

void Story::command(const std::string& program, const std::string& arguments) {
  run(program + " " + arguments, program + " " + arguments);
}

void Story::run(const std::string& shown, const std::string& command) {
  say(painter_.paint(Tone::dim, "$ " + shown));
  const CommandOutput output = run_command(command + " 2>&1");
  indented(output.text);
  if (output.status != 0) check(false, "exit status " + std::to_string(output.status));
}

void Story::failure(const strata::Status& status) { check(false, status.to_string()); }

void Story::indented(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    say(line);
}

}  // namespace demo
