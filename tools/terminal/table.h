// Text for people: aligned tables and lists of facts, coloured only where a Painter says so.
// A Cell holds what can be shown: whatever comes from outside is made printable in it.
//   Threads:  values.
//   Cost:     everything is kept until render(): columns are as wide as their widest cell.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/printable.h"

namespace strata::inline v0_1::tools {

// What a piece of text means; the Painter decides how that looks.
enum class Tone { plain, dim, strong, good, warning, bad, accent };

class Painter {
 public:
  explicit Painter(bool has_colours) : has_colours_(has_colours) {}
  std::string paint(Tone tone, std::string_view text) const;
  bool has_colours() const { return has_colours_; }

 private:
  bool has_colours_;
};

struct Cell {
  Cell(const char* text) : Cell(text, Tone::plain) {}         // NOLINT(google-explicit-constructor)
  Cell(const std::string& text) : Cell(text, Tone::plain) {}  // NOLINT(google-explicit-constructor)
  Cell(std::string_view text, Tone tone) : text(printable(text)), tone(tone) {}

  std::string text;
  Tone tone = Tone::plain;
};

enum class Align { left, right };

struct Column {
  std::string title;
  Align align = Align::left;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // Short rows are filled with empty cells.
  void add(std::vector<Cell> row);
  bool empty() const { return rows_.empty(); }
  std::string render(const Painter& painter) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// "  state      ready" line by line, under optional headings.
class Facts {
 public:
  void heading(const std::string& title);
  void add(const std::string& name, Cell value);
  std::string render(const Painter& painter) const;

 private:
  struct Line {
    bool is_heading;
    Cell name;
    Cell value;
  };
  std::vector<Line> lines_;
};

// Columns that the UTF-8 text takes on a terminal, for text of single-width characters.
std::size_t display_width(std::string_view text);

// "███▌    " : `share` (0 to 1) of `width` columns.
std::string bar(double share, std::size_t width);

}  // namespace strata::inline v0_1::tools
