// The flags that say how a segment is made: shared by create, put, plan and others.
//   Errors:   to_options() returns invalid_argument with the flag and the rule; not_found for a GPU
//             that is not there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "os/os.h"
#include "strata/base/result.h"
#include "strata/segment/options.h"
#include "tools/command/arguments.h"

namespace strata::inline v0_1::tools {

// Permission bits as the shell writes them: "0640". Errors: invalid_argument.
Result<std::uint32_t> parse_mode(std::string_view text);

class CreateFlags {
 public:
  // --node, --interleave, --weighted, --prefer, --tier, --near-pci, --near, --strict, --huge.
  void add_placement(Arguments& arguments);
  // --lifetime, --job, --mode, --max-size, --sparse.
  void add_lifetime(Arguments& arguments);

  // --dtype, --shape.
  void add_content(Arguments& arguments);
  // --device, --mechanism.
  void add_device(Arguments& arguments);

  // Everything but payload_bytes, content and publish. A command ends at once, and what it made
  // shall not end with it: without --lifetime a segment of any kind is until_removed. `topology` is
  // where
  // --near looks for a GPU: as
  // --topology, empty for this machine.
  Result<CreateOptions> to_options(Os& os, const std::string& topology = {}) const;
  // What the payload is: without --shape an array as long as `payload_bytes` are, unless they are
  // 0.
  Result<Content> content(std::uint64_t payload_bytes) const;

 private:
  Result<Placement> placement(Os& os, const std::string& topology) const;

  int node_ = -1;
  std::vector<int> interleave_;
  std::vector<int> split_;
  std::vector<int> prefer_;
  std::vector<std::string> weighted_;
  std::string tier_;
  std::string near_pci_;
  std::string near_gpu_;
  bool is_strict_ = false;
  std::string huge_;
  std::string lifetime_;  // empty: as the backend declares it
  std::string job_;
  std::string mode_ = "0600";
  std::uint64_t max_bytes_ = 0;
  bool is_sparse_ = false;
  std::string dtype_;
  std::string shape_;
  std::string device_;
  std::string mechanism_ = "auto";
};

}  // namespace strata::inline v0_1::tools
