// strata.gpu's compiled part: the devices, and the timeline of a cuda: segment.
#include "python/core/gpu.h"

#include <nanobind/stl/string.h>

#include "python/core/segment.h"
#include "python/core/wait.h"
#include "strata/gpu/device.h"
#include "strata/gpu/near_node.h"
#include "strata/gpu/timeline.h"

namespace strata::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way

namespace {

// A CUstream as Python has it: a number, PyTorch's and CuPy's stream objects, or None for the
// legacy default stream.
cuda::CuStream stream_of(nb::handle stream) {
  if (stream.is_none()) return nullptr;
  nb::object number = nb::borrow(stream);
  for (const char* const name : {"cuda_stream", "ptr", "handle"}) {
    if (nb::hasattr(stream, name)) {
      number = stream.attr(name);
      break;
    }
  }
  return reinterpret_cast<cuda::CuStream>(nb::cast<std::uintptr_t>(nb::int_(number)));
}

Deadline deadline_of(nb::handle timeout) {
  constexpr std::uint64_t kAYearNs = 31'536'000'000'000'000;
  return Deadline::after_ns(Timeout::from(timeout).ns().value_or(kAYearNs));
}

cuda::Timeline open_timeline(PySegment& segment) {
  return take_without_gil([&] { return cuda::Timeline::open(segment.open()); });
}

nb::list devices() {
  const std::shared_ptr<cuda::Devices> all =
      take_without_gil([] { return cuda::Devices::load({}); });
  nb::list list;
  for (const auto& device : all->all()) {
    nb::dict one;
    one["number"] = device->ordinal();
    one["name"] = device->name();
    one["uuid"] = cuda::device_uuid_text(device->uuid());
    one["pci_address"] = device->pci_address();
    one["nbytes"] = device->total_bytes();
    const cuda::NearNode near = cuda::near_node(*device);
    one["node"] = near.node ? nb::object(nb::int_(*near.node)) : nb::none();
    list.append(one);
  }
  return list;
}

}  // namespace

void bind_gpu(nb::module_& module) {
  module.def("gpu_devices", &devices);

  nb::class_<cuda::Signaller>(module, "Signaller",
                              "The owner's side of a timeline's slot: this process alone signals.")
      .def(
          "signal",
          [](cuda::Signaller& self, std::uint64_t number, nb::handle stream) {
            const cuda::CuStream on = stream_of(stream);
            take_without_gil([&] { return self.signal(on, number); });
          },
          "number"_a, "stream"_a.none(),
          "Signals `number` once `stream` has done what was queued before. Numbers ascend.\n\n"
          "stream: a torch.cuda.Stream, a cupy.cuda.Stream, the number of a CUstream, or None for\n"
          "the legacy default stream.")
      .def(
          "signal_now",
          [](cuda::Signaller& self, std::uint64_t number) {
            take_without_gil([&] { return self.signal(number); });
          },
          "number"_a, "Signals `number` at once, from the host.");

  nb::class_<cuda::PendingWait>(module, "PendingWait", "What became of the wait of a stream.")
      .def(
          "result",
          [](cuda::PendingWait& self, nb::handle timeout) {
            const Timeout seconds = Timeout::from(timeout);
            take(wait(seconds, [&](Deadline deadline) -> Result<void> {
              Result<void> done = self.result(deadline);
              if (!done && done.error().code() == Code::not_ready)
                return fail(Code::timed_out, done.error().message());
              return done;
            }));
          },
          "timeout"_a = nb::none(),
          "Waits until the stream has passed the wait. Raises StateError or TimedOutError where "
          "the\n"
          "wait ended without a signal: what the stream did after it is then worth nothing.")
      .def(
          "is_reached", [](const cuda::PendingWait& self) { return take(self.is_reached()); },
          "Whether the stream has passed the wait by a signal.");

  nb::class_<cuda::Follower>(module, "Follower", "The side of those who wait for signals.")
      .def(
          "wait",
          [](const cuda::Follower& self, std::uint64_t number, nb::handle stream,
             nb::handle timeout) {
            const cuda::CuStream on = stream_of(stream);
            const Deadline deadline = deadline_of(timeout);
            return take_without_gil([&] { return self.wait(on, number, deadline); });
          },
          "number"_a, "stream"_a.none(), "timeout"_a,
          "Lets `stream` wait for the signal, and returns at once with a PendingWait. Where the\n"
          "owner dies, or `timeout` seconds pass, the wait ends, and PendingWait.result() raises.")
      .def(
          "wait_here",
          [](const cuda::Follower& self, std::uint64_t number, nb::handle timeout) {
            take(wait(Timeout::from(timeout),
                      [&](Deadline deadline) { return self.wait(number, deadline); }));
          },
          "number"_a, "timeout"_a = nb::none(), "Lets this thread wait for the signal.")
      .def(
          "is_reached",
          [](const cuda::Follower& self, std::uint64_t number) {
            return take(self.is_reached(number));
          },
          "number"_a, "Whether the signal has come.");

  nb::class_<cuda::Timeline>(
      module, "Timeline",
      "Orders the work of several processes on one cuda: segment: 64 slots,\n"
      "each of which one process signals and any number wait for.")
      .def_static("of", &open_timeline, "segment"_a)
      .def(
          "claim",
          [](cuda::Timeline& self, unsigned slot) {
            return take_without_gil([&] { return self.claim(slot); });
          },
          "slot"_a,
          "Makes this process the owner of a slot (0 to 63). Raises ExistsError while a living\n"
          "process has it.")
      .def(
          "follow",
          [](cuda::Timeline& self, unsigned slot, nb::handle timeout) {
            return take(
                wait(Timeout::from(timeout), [&](Deadline deadline) -> Result<cuda::Follower> {
                  Result<cuda::Follower> got = self.follow(slot, deadline);
                  if (!got && got.error().code() == Code::not_ready)
                    return fail(Code::timed_out, got.error().message());
                  return got;
                }));
          },
          "slot"_a, "timeout"_a = nb::none(),
          "Follows the owner of a slot. Raises TimedOutError where nobody has claimed it.");
}

}  // namespace strata::python
