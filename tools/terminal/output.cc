#include "tools/terminal/output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/printable.h"
#include "strata/base/bytes.h"
#include "strata/os/deadline.h"

namespace strata::inline v0_1::tools {
namespace {

constexpr std::uint64_t kRedrawNs = 80'000'000;
constexpr std::size_t kBarColumns = 32;
// JSON is often looked at on a terminal too: what is no ASCII is written as \u escapes. Names and
// messages can hold any byte, and JSON is UTF-8.
constexpr bool kAsciiOnly = true;
constexpr auto kReplaceNoUtf8 = Json::error_handler_t::replace;

bool wants_colours(bool is_terminal) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return is_terminal && (no_color == nullptr || *no_color == '\0') && term != nullptr &&
         std::string_view(term) != "dumb";
}

void write_to(std::FILE* file, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), file);
}

}  // namespace

Output::Output()
    : out_is_terminal_(isatty(STDOUT_FILENO) == 1),
      err_is_terminal_(isatty(STDERR_FILENO) == 1),
      painter_(wants_colours(out_is_terminal_)),
      error_painter_(wants_colours(err_is_terminal_)) {}

void Output::line(std::initializer_list<Cell> cells) {
  std::string text;
  for (const Cell& cell : cells)
    text += painter_.paint(cell.tone, cell.text);
  picture(text + "\n");
}

void Output::picture(std::string_view text) {
  if (!is_json_) write_to(stdout, text);
}

void Output::json(const Json& document) {
  if (is_json_) write_to(stdout, document.dump(2, ' ', kAsciiOnly, kReplaceNoUtf8) + "\n");
}

void Output::error(const Status& status) {
  std::fflush(stdout);
  if (is_json_) {
    const Json error = {
        {"error", {{"code", code_name(status.code())}, {"message", status.message()}}}};
    write_to(stderr, error.dump(-1, ' ', kAsciiOnly, kReplaceNoUtf8) + "\n");
  } else {
    write_to(stderr, error_painter_.paint(Tone::bad, "strata:") + " " +
                         printable(status.to_string()) + "\n");
  }
}

void Output::note(std::string_view text) {
  if (!is_json_) write_to(stderr, error_painter_.paint(Tone::dim, printable(text)) + "\n");
}

Progress::Progress(const Output& output, std::string label, std::uint64_t total_bytes)
    : is_shown_(output.has_error_terminal() && !output.is_json()),
      label_(std::move(label)),
      total_bytes_(total_bytes),
      started_ns_(monotonic_ns()) {}

Progress::~Progress() {
  // The bar leaves no trace: what was done is said by the command's result.
  if (is_shown_ && drawn_ns_.load() != 0) write_to(stderr, "\r\033[K");
}

void Progress::add(std::uint64_t bytes) {
  const std::uint64_t done = done_bytes_.fetch_add(bytes) + bytes;
  if (!is_shown_) return;
  const std::uint64_t now = monotonic_ns();
  std::uint64_t last = drawn_ns_.load();
  if (now - last < kRedrawNs || now - started_ns_ < kRedrawNs) return;
  // One thread draws; the others go on.
  if (drawn_ns_.compare_exchange_strong(last, now)) draw(done);
}

void Progress::draw(std::uint64_t done_bytes) {
  const double seconds = static_cast<double>(monotonic_ns() - started_ns_) / 1e9;
  const auto rate = static_cast<std::uint64_t>(static_cast<double>(done_bytes) / seconds);
  if (total_bytes_ == 0) {
    write_to(stderr, fmt::format("\r{} {}  {}/s\033[K", label_, format_bytes(done_bytes),
                                 format_bytes(rate)));
    return;
  }
  const double share = static_cast<double>(done_bytes) / static_cast<double>(total_bytes_);
  write_to(stderr, fmt::format("\r{} {} {:3.0f}%  {} of {}  {}/s\033[K", label_,
                               bar(share, kBarColumns), share * 100, format_bytes(done_bytes),
                               format_bytes(total_bytes_), format_bytes(rate)));
}

}  // namespace strata::inline v0_1::tools
