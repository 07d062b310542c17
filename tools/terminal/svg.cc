#include "tools/terminal/svg.h"

#include <fmt/format.h>

#include <array>
#include <span>

#include "tools/terminal/save.h"
#include "tools/terminal/table.h"

namespace strata::inline v0_1::tools {
namespace {

std::string escape(std::string_view text) {
  std::string safe;
  // Control characters are not allowed in XML, whatever they stand for.
  for (const char c : printable(text)) {
    switch (c) {
      case '&': safe += "&amp;"; break;
      case '<': safe += "&lt;"; break;
      case '>': safe += "&gt;"; break;
      case '"': safe += "&quot;"; break;
      default: safe += c;
    }
  }
  return safe;
}

// At most two decimals, so that files stay small and compare well.
std::string number(double value) {
  std::string text = fmt::format("{:.2f}", value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

std::string attributes(const Shape& shape) {
  std::string text = fmt::format(R"( fill="{}")", shape.fill);
  if (shape.stroke != "none") {
    text +=
        fmt::format(R"( stroke="{}" stroke-width="{}")", shape.stroke, number(shape.stroke_width));
  }
  if (shape.corner_radius > 0) text += fmt::format(R"( rx="{}")", number(shape.corner_radius));
  return text;
}

}  // namespace

const char* node_colour(int node) {
  // After Okabe and Ito, reordered so that the first two differ most.
  static constexpr std::array<const char*, 8> kColours = {
      "#2f7ebc", "#e08214", "#1b9e77", "#c2578f", "#62b6e2", "#b8a11a", "#7561b5", "#8c5a3c"};
  return kColours[static_cast<std::size_t>(node) % kColours.size()];
}

Svg::Svg(double width, double height) : width_(width), height_(height) {
  rect({.x = 0, .y = 0, .width = width, .height = height}, {.fill = kPaper, .stroke = "none"});
}

void Svg::rect(const Box& box, const Shape& shape, std::string_view hint) {
  body_ += fmt::format(R"(<rect x="{}" y="{}" width="{}" height="{}"{})", number(box.x),
                       number(box.y), number(box.width), number(box.height), attributes(shape));
  body_ += hint.empty() ? "/>\n" : fmt::format("><title>{}</title></rect>\n", escape(hint));
}

void Svg::line(Point from, Point to, const Shape& shape) {
  body_ += fmt::format(R"(<line x1="{}" y1="{}" x2="{}" y2="{}"{}/>)", number(from.x),
                       number(from.y), number(to.x), number(to.y), attributes(shape)) +
           "\n";
}

void Svg::text(Point baseline, std::string_view text, const TextStyle& style) {
  body_ +=
      fmt::format(R"(<text x="{}" y="{}" font-size="{}" fill="{}" text-anchor="{}"{}{}>{}</text>)",
                  number(baseline.x), number(baseline.y), number(style.size), style.fill,
                  style.anchor, style.is_bold ? R"( font-weight="600")" : "",
                  style.is_monospaced ? R"( class="m")" : "", escape(text));
  body_ += "\n";
}

void Svg::title(std::string_view title, std::string_view facts) {
  text({24, 38}, title, {.size = 20, .is_bold = true});
  text({24, 60}, facts, {.size = 13, .fill = kFaintInk});
}

std::string Svg::finish() const {
  return fmt::format(R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" )"
                     R"(viewBox="0 0 {0} {1}" font-family="Inter, 'Helvetica Neue', Arial, )"
                     R"('DejaVu Sans', sans-serif">)",
                     number(width_), number(height_)) +
         "\n<style>.m{font-family:'JetBrains Mono','DejaVu Sans Mono',monospace}</style>\n" +
         body_ + "</svg>\n";
}

double text_width(std::string_view text, double size) {
  return static_cast<double>(display_width(text)) * size * 0.56;
}

double draw_legend(Svg& svg, Point top_left, double width,
                   const std::vector<LegendEntry>& entries) {
  constexpr double kRowHeight = 22;
  constexpr double kSquare = 13;
  double x = top_left.x;
  double y = top_left.y;
  for (const LegendEntry& entry : entries) {
    const double entry_width = kSquare + 8 + text_width(entry.label, 13) + 22;
    if (x > top_left.x && x + entry_width > top_left.x + width) {
      x = top_left.x;
      y += kRowHeight;
    }
    svg.rect({.x = x, .y = y, .width = kSquare, .height = kSquare},
             {.fill = entry.fill, .stroke = entry.stroke, .corner_radius = 2});
    svg.text({x + kSquare + 8, y + kSquare - 2}, entry.label);
    x += entry_width;
  }
  return y + kRowHeight - top_left.y;
}

Result<void> save_svg(Os& os, const std::string& path, const Svg& svg) {
  return save_text(os, path, svg.finish());
}

}  // namespace strata::inline v0_1::tools
