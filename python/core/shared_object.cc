#include "python/core/shared_object.h"

#include <nanobind/stl/string.h>

#include <array>
#include <vector>

#include "python/core/wait.h"
#include "strata/base/bytes.h"
#include "strata/segment/content.h"

namespace strata::python {

void check_type(const Segment& segment, std::string_view type) {
  const Content content = take(segment.content());
  if (content.type == type) return;
  raise(Code::invalid_argument, segment.uri().to_string() + " is no " + std::string(type) +
                                    ": it is " + content.to_string());
}

nb::bytes handle_of(const Segment& segment) {
  const std::vector<std::byte> bytes = take(encode(take(segment.handle())));
  return nb::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::string unique_uri(std::string_view type) {
  // Of /dev/urandom, as Python's uuid.uuid4() is.
  const auto text =
      nb::cast<std::string>(nb::module_::import_("os").attr("urandom")(12).attr("hex")());
  return "shm:" + std::string(type) + "." + text;
}

std::string uri_of(nb::handle where, std::string_view type) {
  if (nb::isinstance<nb::str>(where)) {
    std::string uri = nb::cast<std::string>(where);
    if (uri.empty()) raise(Code::invalid_argument, "the URI is empty: it is as \"shm:name\"");
    return uri;
  }
  PyErr_Format(PyExc_TypeError, "%s takes a URI as \"shm:name\", not %s", std::string(type).c_str(),
               nb::inst_name(where).c_str());
  throw nb::python_error();
}

SharedObject SharedObject::make(std::string_view type, const std::string& uri, std::uint64_t bytes,
                                const Format& format, nb::handle permissions) {
  CreateOptions create{.payload_bytes = bytes};
  create.content.type = type;
  if (!permissions.is_none()) create.mode = nb::cast<std::uint32_t>(permissions);
  if (uri.empty()) create.lifetime = Lifetime::last_detach;
  const std::string name = uri.empty() ? unique_uri(type) : uri;
  Catalog& catalog = catalog_for(name);
  const Catalog::Fill fill = [&](Segment& segment) -> Result<void> {
    if (!format) return {};
    STRATA_ASSIGN(const std::span<std::byte> payload, segment.writable_bytes());
    return format(payload);
  };
  constexpr std::uint64_t kTimeoutMs = 10'000;
  CreatedOrAttached made = take_without_gil(
      [&] { return catalog.create_or_attach(name, create, fill, {.timeout_ms = kTimeoutMs}); });
  check_type(made.segment, type);
  return SharedObject(std::move(made.segment));
}

SharedObject SharedObject::attach_handle(std::string_view type, const nb::bytes& handle) {
  Segment segment = attach_by_handle(handle, "r+", 1.0);
  check_type(segment, type);
  return SharedObject(std::move(segment));
}

SharedObject SharedObject::in(const Segment& segment) { return SharedObject(segment.share()); }

std::span<std::byte> SharedObject::payload(std::uint64_t bytes) {
  const std::span<std::byte> payload = take(segment_.writable_bytes());
  if (payload.size() < bytes) {
    raise(Code::corrupt, uri() + " has " + std::to_string(payload.size()) + " bytes, and needs " +
                             std::to_string(bytes));
  }
  return payload;
}

const SyncContext& SharedObject::join() {
  context_.reset();
  context_.emplace(take(segment_.sync_context()));
  return *context_;
}

nb::bytes SharedObject::handle() const { return handle_of(segment_); }

}  // namespace strata::python
