#include "os/staged_os.h"

#include <filesystem>
#include <fstream>

namespace strata::inline v0_1 {

void StagedOs::put(const std::string& path, const std::string& text) {
  const std::filesystem::path staged(root_ + path);
  std::filesystem::create_directories(staged.parent_path());
  std::ofstream(staged) << text;
}

std::string StagedOs::text_path(const std::string& path) {
  std::error_code ignored;
  const std::string staged = root_ + path;
  return std::filesystem::exists(staged, ignored) ? staged : path;
}

}  // namespace strata::inline v0_1
