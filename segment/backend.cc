#include "segment/backend.h"

#include <fmt/format.h>

namespace strata {

std::vector<std::string> Backend::containers(const std::vector<std::string>&, GoneRecords) {
  return {""};
}

Result<Segment> Backend::create_anonymous(const CreateOptions&) {
  return fail(Code::unsupported, fmt::format("{}: has no anonymous segments", scheme()));
}

Result<Segment> Backend::attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                       const AttachOptions& options) {
  if (!descriptors.empty() || handle.name.empty()) {
    return fail(Code::unsupported, fmt::format("{}: has no anonymous segments", scheme()));
  }
  return attach({std::string(scheme()), {}, handle.name}, options);
}

}  // namespace strata
