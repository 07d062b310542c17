// What the audience sees: numbered steps, results beside them, commands and what they print.
#pragma once

#include <string>
#include <string_view>

#include "strata/base/status.h"
#include "tools/terminal/table.h"

namespace demo {

class Story {
 public:
  Story();

  void title(std::string_view text);
  void step(std::string_view text);
  void say(std::string_view text);
  // A check mark or a cross, and whether all checks so far held.
  void check(bool holds, std::string_view text);
  bool all_held() const { return all_held_; }
  void table(const strata::tools::Table& table);
  // Runs `strata ARGUMENTS` and shows the command and its output.
  void strata(const std::string& arguments);
  // Likewise any other program.
  void command(const std::string& program, const std::string& arguments);
  void failure(const strata::Status& status);

 private:
  void run(const std::string& shown, const std::string& command);
  void indented(const std::string& text);

  strata::tools::Painter painter_;
  std::string strata_path_;
  int steps_ = 0;
  bool all_held_ = true;
};

}  // namespace demo
