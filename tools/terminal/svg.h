// Pictures as SVG: a small writer, and what all pictures of Strata have in common.
//   Threads:  a value.
//   Errors:   none; save_svg() reports what the file system refused.
// Light background, one sans-serif face, colours that stay apart for colour-blind readers and in
// grey. Coordinates are pixels, y grows downwards.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "os/os.h"
#include "strata/base/result.h"

namespace strata::inline v0_1::tools {

struct Point {
  double x;
  double y;
};

struct Box {
  double x;
  double y;
  double width;
  double height;
};

struct Shape {
  std::string fill = "none";
  std::string stroke = "none";
  double stroke_width = 1;
  double corner_radius = 0;
};

struct TextStyle {
  double size = 13;
  std::string fill = "#1f2933";
  const char* anchor = "start";  // start, middle or end
  bool is_bold = false;
  bool is_monospaced = false;
};

inline constexpr const char* kInk = "#1f2933";
inline constexpr const char* kFaintInk = "#66758a";
inline constexpr const char* kRule = "#d5dce4";
inline constexpr const char* kPaper = "#ffffff";
inline constexpr const char* kPanel = "#f5f7fa";

// The colour of NUMA node `node`; they repeat after eight.
const char* node_colour(int node);

class Svg {
 public:
  Svg(double width, double height);

  // Later shapes cover earlier ones. A `hint` is shown when the pointer rests on the shape.
  void rect(const Box& box, const Shape& shape, std::string_view hint = {});
  void line(Point from, Point to, const Shape& shape);
  void text(Point baseline, std::string_view text, const TextStyle& style = {});
  // A title in the top left corner, with a line of facts under it.
  void title(std::string_view title, std::string_view facts);

  std::string finish() const;

 private:
  double width_;
  double height_;
  std::string body_;
};

// One entry of a legend: a small square and what it means.
struct LegendEntry {
  std::string fill;
  std::string label;
  std::string stroke = "none";
};

// Draws entries from left to right, wrapping at `width`; returns the height that they took.
double draw_legend(Svg& svg, Point top_left, double width, const std::vector<LegendEntry>& entries);

// About how wide `text` is, for layout: exact widths depend on the reader's fonts.
double text_width(std::string_view text, double size);

Result<void> save_svg(Os& os, const std::string& path, const Svg& svg);

}  // namespace strata::inline v0_1::tools
