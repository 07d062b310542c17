#include "tools/terminal/save.h"

#include <fcntl.h>

#include <span>

namespace strata::inline v0_1::tools {

Result<void> save_text(Os& os, const std::string& path, std::string_view text) {
  STRATA_ASSIGN(const Fd file, os.open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  std::span<const std::byte> left = std::as_bytes(std::span(text));
  std::uint64_t offset_bytes = 0;
  while (!left.empty()) {
    STRATA_ASSIGN(const std::size_t written, os.pwrite(file.get(), left, offset_bytes));
    left = left.subspan(written);
    offset_bytes += written;
  }
  return {};
}

}  // namespace strata::inline v0_1::tools
