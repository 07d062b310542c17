// StagedOs is the real kernel on a machine that a test makes up: files of /proc and /sys that were
// put there are read instead of the real ones.
//   Threads:  any, after the last put().
//   Errors:   as RealOs.
#pragma once

#include <string>

#include "os/os.h"

namespace strata::inline v0_1 {

class StagedOs final : public Os {
 public:
  // `root` is an empty directory, and stays the caller's.
  explicit StagedOs(std::string root) : root_(std::move(root)) {}

  void put(const std::string& path, const std::string& text);

 protected:
  std::string text_path(const std::string& path) override;

 private:
  std::string root_;
};

}  // namespace strata::inline v0_1
