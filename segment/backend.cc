#include "segment/backend.h"

#include <fmt/format.h>

namespace strata {

Result<Segment> Backend::create_anonymous(const CreateOptions&) {
  return fail(Code::unsupported, fmt::format("{}: has no anonymous segments", scheme()));
}

Result<Segment> Backend::attach_handle(const Handle&, std::vector<Fd>, const AttachOptions&) {
  return fail(Code::unsupported, fmt::format("{}: takes no handles", scheme()));
}

}  // namespace strata
