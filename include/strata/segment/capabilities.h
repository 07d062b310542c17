// What a kind of memory can do, declared by its backend and checked in one place: whoever asks for
// more is told `unsupported`, and why.
//   Threads:  a value.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "strata/base/result.h"
#include "strata/segment/options.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

enum class Capability : std::uint8_t {
  host_bytes,     // the host can address the payload
  device_bytes,   // a device can
  grow,           // up to max_bytes
  migrate,        // to other nodes, while processes stay attached
  placement,      // on the nodes that are asked for
  huge_pages,     // from the pool of hugetlb pages
  persist,        // the payload survives a restart
  heap,           // objects, locks and transactions inside
  copy_on_write,  // private edits
  anonymous,      // without a name, handed over by descriptor
};
inline constexpr std::size_t kCapabilityCount = 10;
std::string_view capability_name(Capability capability);

class Capabilities {
 public:
  // Takes one away. `why` is for people: what the memory is that it cannot. It is not copied.
  Capabilities& without(Capability capability, std::string_view why);
  Capabilities& with_lifetime(Lifetime lifetime);

  bool has(Capability capability) const { return why_not(capability).empty(); }
  // Empty where it can.
  std::string_view why_not(Capability capability) const {
    return why_not_[static_cast<std::size_t>(capability)];
  }
  // Of a segment whose creator does not say.
  Lifetime default_lifetime() const { return default_lifetime_; }

  // Errors: unsupported, with what is asked for and why not.
  Result<void> require(Capability capability) const;
  Result<void> check(const CreateOptions& options) const;
  Result<void> check(const AttachOptions& options) const;

 private:
  std::array<std::string_view, kCapabilityCount> why_not_{};
  Lifetime default_lifetime_ = Lifetime::until_removed;
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
