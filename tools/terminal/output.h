// Output is where a command prints: results to stdout as a table or as one JSON document, errors
// and progress to stderr. Much of it comes from outside (names of files, headers, the names of
// other people's processes): it is made printable here, so that nobody else need think of it.
//   Threads:  one, but for Progress::add, which any thread may call.
//   Errors:   write errors end the process as for any filter; main() checks at the end.
// Colours appear only on a terminal, and never where NO_COLOR is set (https://no-color.org).
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "strata/base/status.h"
#include "tools/terminal/table.h"

namespace strata::inline v0_1::tools {

// Keys stay in the order in which they were written.
using Json = nlohmann::ordered_json;

class Output {
 public:
  Output();

  void use_json() { is_json_ = true; }
  bool is_json() const { return is_json_; }
  const Painter& painter() const { return painter_; }
  // Whether somebody is watching, so that progress and live tables make sense.
  bool has_terminal() const { return out_is_terminal_; }
  bool has_error_terminal() const { return err_is_terminal_; }

  // For people; nothing under --json.
  void print(const Table& table) { picture(table.render(painter_)); }
  void print(const Facts& facts) { picture(facts.render(painter_)); }
  // One line, of one piece of text or of several in tones of their own. A newline within does not
  // end it.
  void line(const Cell& text) { line({text}); }
  void line(std::initializer_list<Cell> cells);
  // Text of any number of lines as it is: maps, hex rows, what moves the cursor. Nothing that comes
  // from outside.
  void picture(std::string_view text);
  // For programs; nothing without --json. One document a command.
  void json(const Json& document);
  // "strata: not_found: …" or {"error":{"code":…,"message":…}}, on stderr.
  void error(const Status& status);
  // A remark that is no result: on stderr, and nothing under --json.
  void note(std::string_view text);

 private:
  bool is_json_ = false;
  bool out_is_terminal_;
  bool err_is_terminal_;
  Painter painter_;
  Painter error_painter_;
};

// A bar on stderr while something long runs; without a bar where the total is not known, which is
// 0. Silent where stderr is no terminal.
class Progress {
 public:
  Progress(const Output& output, std::string label, std::uint64_t total_bytes);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void add(std::uint64_t bytes);

 private:
  void draw(std::uint64_t done_bytes);

  bool is_shown_;
  std::string label_;
  std::uint64_t total_bytes_;
  std::uint64_t started_ns_;
  std::atomic<std::uint64_t> done_bytes_{0};
  std::atomic<std::uint64_t> drawn_ns_{0};
};

}  // namespace strata::inline v0_1::tools
