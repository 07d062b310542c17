#include "python/core/catalog.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "python/core/pmdk.h"
#include "python/core/segment.h"
#include "python/core/shared_object.h"
#include "strata/base/bytes.h"
#include "strata/numa/placement_text.h"
#include "strata/segment/content.h"
#include "strata/strata.h"

namespace strata::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way

namespace {

Catalog& the_catalog() {
  // Never destroyed: segments and threads may outlive the interpreter's own end.
  static Catalog* const catalog = new Catalog(open_catalog());
  return *catalog;
}

Lifetime parse_lifetime(std::string_view text) {
  if (text == "process") return Lifetime::process;
  if (text == "last_detach") return Lifetime::last_detach;
  if (text == "job") return Lifetime::job;
  if (text == "until_removed") return Lifetime::until_removed;
  raise(Code::invalid_argument, "lifetime \"" + std::string(text) +
                                    "\": it is \"process\", \"last_detach\", \"job\" or "
                                    "\"until_removed\"");
}

std::string_view lifetime_name(std::uint32_t lifetime) {
  switch (static_cast<Lifetime>(lifetime)) {
    case Lifetime::process: return "process";
    case Lifetime::last_detach: return "last_detach";
    case Lifetime::job: return "job";
    case Lifetime::until_removed: return "until_removed";
  }
  return "unknown";
}

PageSize parse_pages(std::string_view text) {
  if (text == "4K") return PageSize::base;
  if (text == "thp") return PageSize::thp;
  if (text == "2M") return PageSize::huge_2m;
  if (text == "1G") return PageSize::huge_1g;
  raise(Code::invalid_argument,
        "pages \"" + std::string(text) + "\": it is \"4K\", \"thp\", \"2M\" or \"1G\"");
}

DeviceMechanism parse_mechanism(std::string_view text) {
  for (const auto mechanism : {DeviceMechanism::automatic, DeviceMechanism::vmm_fd,
                               DeviceMechanism::legacy_ipc, DeviceMechanism::fabric}) {
    if (text == mechanism_name(mechanism)) return mechanism;
  }
  raise(Code::invalid_argument, "mechanism \"" + std::string(text) + "\" is none");
}

// What create() and create_or_attach() are asked for; strata/_segments.py makes it of what people
// write.
CreateOptions create_options(const nb::dict& asked) {
  CreateOptions options;
  for (const auto [name_object, value] : asked) {
    const auto name = nb::cast<std::string>(name_object);
    if (name == "size") {
      options.payload_bytes = nb::cast<std::uint64_t>(value);
    } else if (name == "max_size") {
      options.max_bytes = nb::cast<std::uint64_t>(value);
    } else if (name == "type") {
      options.content.type = nb::cast<std::string>(value);
    } else if (name == "element") {
      options.content.element = nb::cast<std::string>(value);
    } else if (name == "shape") {
      options.content.shape = nb::cast<std::vector<std::uint64_t>>(value);
    } else if (name == "placement") {
      options.placement = take(parse_placement(nb::cast<std::string>(value)));
    } else if (name == "pages") {
      options.page_size = parse_pages(nb::cast<std::string>(value));
    } else if (name == "sparse") {
      options.commit = nb::cast<bool>(value) ? Commit::sparse : Commit::up_front;
    } else if (name == "publish") {
      options.publish = nb::cast<bool>(value) ? Publish::at_once : Publish::by_creator;
    } else if (name == "lifetime") {
      options.lifetime = parse_lifetime(nb::cast<std::string>(value));
    } else if (name == "permissions") {
      options.mode = nb::cast<std::uint32_t>(value);
    } else if (name == "job") {
      options.job_id = nb::cast<std::string>(value);
    } else if (name == "device") {
      options.device.device = nb::cast<std::string>(value);
    } else if (name == "mechanism") {
      options.device.mechanism = parse_mechanism(nb::cast<std::string>(value));
    } else {
      raise(Code::internal, "create: no option is called \"" + name + "\"");
    }
  }
  return options;
}

nb::object wrapped(Segment segment) {
  return nb::cast(new PySegment(std::move(segment)), nb::rv_policy::take_ownership);
}

nb::object create(std::string uri, const nb::dict& asked) {
  const CreateOptions options = create_options(asked);
  Catalog& catalog = catalog_for(uri);
  return wrapped(take_without_gil([&] { return catalog.create(uri, options); }));
}

AttachOptions attach_options(std::string_view mode, std::uint64_t timeout_ms, bool populate,
                             std::string device) {
  return {.access = parse_mode(mode),
          .timeout_ms = timeout_ms,
          .populate = populate,
          .device = std::move(device)};
}

nb::object attach(const std::string& uri, std::string_view mode, double timeout, bool populate,
                  std::string device) {
  return wrapped(attach_by_uri(uri, attach_options(mode, 0, populate, std::move(device)), timeout));
}

Handle decoded(const nb::bytes& bytes) {
  return take(decode(std::as_bytes(std::span(bytes.c_str(), bytes.size()))));
}

// The uuid that a handle leads to.
std::string handle_uuid(const nb::bytes& bytes) { return uuid_text(decoded(bytes).uuid); }

nb::object attach_handle(const nb::bytes& bytes, std::string_view mode, double timeout) {
  return wrapped(attach_by_handle(bytes, mode, timeout));
}

nb::tuple create_or_attach(const std::string& uri, const nb::dict& asked, nb::object fill,
                           std::string_view mode, double timeout) {
  const CreateOptions options = create_options(asked);
  const auto timeout_ms = static_cast<std::uint64_t>(std::clamp(timeout, 0.0, 1e9) * 1000);
  const AttachOptions attach = attach_options(mode, timeout_ms, false, {});
  Catalog& catalog = catalog_for(uri);
  std::optional<nb::python_error> raised;
  const Catalog::Fill call = [&](Segment& segment) -> Result<void> {
    if (fill.is_none()) return {};
    const nb::gil_scoped_acquire acquire;
    try {
      const nb::object view = wrapped(segment.share());
      fill(view);
      nb::cast<PySegment&>(view).close();
      return {};
    } catch (nb::python_error& error) {
      raised.emplace(std::move(error));
      return fail(Code::internal, "fill raised an exception");
    }
  };
  Result<CreatedOrAttached> got =
      without_gil([&] { return catalog.create_or_attach(uri, options, call, attach); });
  if (raised) throw std::move(*raised);
  CreatedOrAttached made = take(std::move(got));
  return nb::make_tuple(wrapped(std::move(made.segment)), made.was_created);
}

nb::dict stat_of(const SegmentStat& stat) {
  nb::dict found;
  found["uri"] = stat.uri.to_string();
  if (stat.problem) {
    found["problem"] = stat.problem->to_string();
    return found;
  }
  found["uuid"] = uuid_text(stat.identity.uuid);
  found["state"] = state_name(stat.state);
  found["lifetime"] = lifetime_name(stat.identity.lifetime);
  found["nbytes"] = stat.payload_bytes;
  found["max_nbytes"] = stat.identity.max_bytes;
  found["committed_nbytes"] = stat.committed_bytes;
  found["owner_uid"] = stat.owner_uid;
  found["permissions"] = stat.mode & 0777U;
  found["is_attached"] = stat.is_attached;
  found["creator_pid"] = stat.identity.creator_pid;
  found["is_creator_alive"] = stat.is_creator_alive;
  found["created_unix_s"] = static_cast<double>(stat.identity.created_unix_ns) / 1e9;
  if (stat.content && !stat.content->is_plain()) {
    found["type"] = stat.content->type;
    found["dtype"] = stat.content->element;
    found["shape"] = nb::tuple(nb::cast(stat.content->shape));
  }
  return found;
}

nb::dict list_all(std::string scheme, std::string container) {
  Catalog& catalog = whole_catalog();
  const SegmentList list = without_gil([&] {
    return catalog.list({.scheme = std::move(scheme), .container = std::move(container)});
  });
  nb::list segments;
  for (const SegmentStat& stat : list.segments)
    segments.append(stat_of(stat));
  nb::list problems;
  for (const BackendProblem& problem : list.problems)
    problems.append(nb::make_tuple(problem.where, problem.status.to_string()));
  nb::dict found;
  found["segments"] = segments;
  found["problems"] = problems;
  return found;
}

nb::list reclaim(bool dry_run) {
  Catalog& catalog = whole_catalog();
  const ReclaimReport report = without_gil([&] { return catalog.reclaim({.dry_run = dry_run}); });
  nb::list decisions;
  for (const ReclaimDecision& decision : report.decisions) {
    nb::dict one;
    one["uri"] = decision.uri.to_string();
    one["is_orphan"] = decision.is_orphan;
    one["was_reclaimed"] = decision.was_reclaimed;
    one["nbytes"] = decision.bytes;
    one["evidence"] = decision.evidence;
    decisions.append(one);
  }
  return decisions;
}

}  // namespace

Catalog& catalog_for(std::string_view uri) {
  if (uri.starts_with("pmem:")) load_pmdk();
  return the_catalog();
}

Catalog& whole_catalog() {
  load_pmdk();
  return the_catalog();
}

Access parse_mode(std::string_view mode) {
  if (mode == "r") return Access::read_only;
  if (mode == "r+") return Access::read_write;
  if (mode == "c") return Access::copy_on_write;
  raise(Code::invalid_argument,
        "mode \"" + std::string(mode) +
            "\": it is \"r\" (read), \"r+\" (read and write) or \"c\" (write privately)");
}

std::string_view mode_name(Access access) {
  return access == Access::read_only ? "r" : access == Access::read_write ? "r+" : "c";
}

Segment attach_by_uri(const std::string& uri, AttachOptions options, double timeout) {
  constexpr std::uint64_t kSliceMs = 50;
  Catalog& catalog = catalog_for(uri);
  const Deadline end = Deadline::after_ns(
      timeout <= 0 ? 0 : static_cast<std::uint64_t>(std::min(timeout, 1e9) * 1e9));
  for (;;) {
    options.timeout_ms = std::min<std::uint64_t>(end.remaining_ns() / 1'000'000, kSliceMs);
    Result<Segment> segment = without_gil([&] { return catalog.attach(uri, options); });
    const bool is_waiting = !segment && (segment.error().code() == Code::not_ready ||
                                         segment.error().code() == Code::timed_out);
    if (!is_waiting || end.expired()) return take(std::move(segment));
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  }
}

Segment attach_by_handle(const nb::bytes& bytes, std::string_view mode, double timeout) {
  const Handle handle = decoded(bytes);
  if (handle.locator.empty() || handle.locator.starts_with("socket:")) {
    raise(
        Code::unsupported,
        "a segment without a name goes to another process by a socket, and not by pickle: give it "
        "a name");
  }
  const AttachOptions options = attach_options(mode, 0, false, {});
  if (handle.access == Access::read_only && options.access == Access::read_write) {
    raise(Code::permission_denied,
          handle.locator + ": the handle grants mode \"r\" and \"c\" alone");
  }
  Segment segment = attach_by_uri(handle.locator, options, timeout);
  if (segment.identity().uuid != handle.uuid) {
    raise(Code::not_found, handle.locator +
                               ": the segment that the handle was made of is gone, and another one "
                               "has its name (uuid " +
                               uuid_text(segment.identity().uuid) + ", not " +
                               uuid_text(handle.uuid) + ")");
  }
  return segment;
}

void bind_catalog(nb::module_& module) {
  module.def("create", &create,
             nb::sig("def create(uri: str, options: dict[str, typing.Any], /) -> Segment"));
  module.def("attach", &attach,
             nb::sig("def attach(uri: str, mode: str, timeout: float, populate: bool, "
                     "device: str, /) -> Segment"));
  module.def("attach_handle", &attach_handle,
             nb::sig("def attach_handle(handle: bytes, mode: str, timeout: float, /) -> Segment"));
  module.def("handle_uuid", &handle_uuid);
  module.def("create_or_attach", &create_or_attach,
             nb::sig("def create_or_attach(uri: str, options: dict[str, typing.Any], "
                     "fill: collections.abc.Callable[[Segment], object] | None, mode: str, "
                     "timeout: float, /) -> tuple[Segment, bool]"));
  module.def("remove", [](const std::string& uri, bool force) {
    Catalog& catalog = catalog_for(uri);
    take_without_gil([&] { return catalog.remove(uri, {.even_if_attached = force}); });
  });
  module.def(
      "stat",
      [](const std::string& uri) {
        Catalog& catalog = catalog_for(uri);
        return stat_of(take_without_gil([&] { return catalog.stat(uri); }));
      },
      nb::sig("def stat(uri: str, /) -> dict[str, typing.Any]"));
  module.def("list_all", &list_all,
             nb::sig("def list_all(scheme: str, container: str, /) -> dict[str, typing.Any]"));
  module.def("reclaim", &reclaim,
             nb::sig("def reclaim(dry_run: bool, /) -> list[dict[str, typing.Any]]"));
  module.def("parse_bytes", [](std::string_view text) { return take(parse_bytes(text)); });
  module.def("format_bytes", &format_bytes);
  module.def("spell_element", [](std::string_view text) { return take(spell_element(text)); });
}

}  // namespace strata::python
