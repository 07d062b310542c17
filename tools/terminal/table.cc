#include "tools/terminal/table.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace strata::inline v0_1::tools {
namespace {

std::string_view escape_of(Tone tone) {
  switch (tone) {
    case Tone::plain: return "";
    case Tone::dim: return "\033[2m";
    case Tone::strong: return "\033[1m";
    case Tone::good: return "\033[32m";
    case Tone::warning: return "\033[33m";
    case Tone::bad: return "\033[31m";
    case Tone::accent: return "\033[36m";
  }
  return "";
}

void append_cell(std::string& line, const Painter& painter, const Cell& cell, Align align,
                 std::size_t width) {
  const std::string padding(width - std::min(width, display_width(cell.text)), ' ');
  if (align == Align::right) line += padding;
  line += painter.paint(cell.tone, cell.text);
  if (align == Align::left) line += padding;
}

// Neither tables nor facts end a line in blanks: they would wrap on narrow terminals.
void append_line(std::string& text, std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  text += line + "\n";
}

}  // namespace

std::string Painter::paint(Tone tone, std::string_view text) const {
  if (!has_colours_ || tone == Tone::plain || text.empty()) return std::string(text);
  return std::string(escape_of(tone)) + std::string(text) + "\033[0m";
}

void Table::add(std::vector<Cell> row) {
  row.resize(columns_.size(), Cell(""));
  rows_.push_back(std::move(row));
}

std::string Table::render(const Painter& painter) const {
  std::vector<std::size_t> widths;
  for (const Column& column : columns_)
    widths.push_back(display_width(column.title));
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], display_width(row[i].text));
  }

  std::string text;
  const auto append_row = [&](const std::vector<Cell>& row) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i > 0) line += "  ";
      append_cell(line, painter, row[i], columns_[i].align, widths[i]);
    }
    append_line(text, std::move(line));
  };
  std::vector<Cell> titles;
  for (const Column& column : columns_)
    titles.emplace_back(column.title, Tone::strong);
  const auto has_title = [](const Column& column) { return !column.title.empty(); };
  if (std::any_of(columns_.begin(), columns_.end(), has_title)) append_row(titles);
  for (const auto& row : rows_)
    append_row(row);
  return text;
}

void Facts::heading(const std::string& title) {
  lines_.push_back({true, Cell(title, Tone::strong), Cell("")});
}

void Facts::add(const std::string& name, Cell value) {
  lines_.push_back({false, Cell(name, Tone::dim), std::move(value)});
}

std::string Facts::render(const Painter& painter) const {
  std::size_t width = 0;
  for (const Line& line : lines_)
    if (!line.is_heading) width = std::max(width, display_width(line.name.text));

  std::string text;
  for (const Line& line : lines_) {
    if (line.is_heading) {
      append_line(text, painter.paint(line.name.tone, line.name.text));
      continue;
    }
    std::string out = "  ";
    append_cell(out, painter, line.name, Align::left, width);
    append_line(text, out + "  " + painter.paint(line.value.tone, line.value.text));
  }
  return text;
}

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) >> 6) != 2; }));
}

std::string bar(double share, std::size_t width) {
  static constexpr std::array<const char*, 8> kEighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  if (!(share > 0)) share = 0;
  const auto eighths =
      static_cast<std::size_t>(std::lround(std::min(share, 1.0) * static_cast<double>(width) * 8));
  std::string text;
  for (std::size_t i = 0; i < eighths / 8; ++i)
    text += "█";
  text += kEighths[eighths % 8];
  text.append(width - display_width(text), ' ');
  return text;
}

}  // namespace strata::inline v0_1::tools
