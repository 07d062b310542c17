// Memory of the host that a device reads and writes in place, on a fake driver.
#include <optional>
#include <vector>

#include "strata/gpu/map_to_device.h"
#include "tests/catch.h"
#include "tests/gpu/move_testing.h"

using namespace strata;
using namespace strata::cuda;
using namespace strata::test;

TEST_CASE("a_view_gives_the_device_the_bytes_of_the_host_and_outlives_the_segment") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment target = self.on_device("x");
    const auto content = pattern(kBytes);
    const auto view = [&] {
      Segment segment = self.on_host("x");
      must(segment.write(0, content));
      return must(map_to_device(segment, self.device()));
    }();
    STRATA_CHECK(view.span().bytes == kBytes && view.span().device_uuid == self.device().uuid());
    const auto scope = must(self.device().enter());
    must(STRATA_CUDA(self.device().driver(), cuMemcpy, must(target.device_bytes()).address,
                     view.span().address, kBytes));
    STRATA_CHECK(must(self.shm.stat({"shm", {}, "x"})).is_attached);
    return bytes_of(target) == content;
  }));
}

TEST_CASE("views_of_one_attachment_share_its_registration") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_host("x");
    {
      const DeviceView first = must(map_to_device(segment, self.device()));
      const Segment shared = segment.share();
      const DeviceView second = must(map_to_device(shared, self.device(1)));
      STRATA_CHECK(registered() == 1 && first.span().address == second.span().address);
      // Another attachment is other pages of address space.
      const Segment again = must(self.shm.attach({"shm", {}, "x"}, {}));
      const DeviceView third = must(map_to_device(again, self.device()));
      STRATA_CHECK(registered() == 2);
    }
    return registered() == 0;
  }));
}

TEST_CASE("of_a_segment_that_grew_only_the_new_pages_are_registered") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_host("x", 10'000);
    const DeviceView before = must(map_to_device(segment, self.device()));
    must(segment.grow(12'000));
    const DeviceView same_page = must(map_to_device(segment, self.device()));
    STRATA_CHECK(registered() == 1 && same_page.span().bytes == 12'000);
    must(segment.grow(MiB(1)));
    const DeviceView after = must(map_to_device(segment, self.device()));
    return registered() == 2 && after.span().bytes == MiB(1) && before.span().bytes == 10'000;
  }));
}

TEST_CASE("a_registration_that_fails_at_any_piece_leaves_nothing_registered") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    const Segment segment = self.on_host("x", MiB(1));
    for (std::uint64_t n = 1; n <= 16; ++n) {
      fail_fake_call("cuMemHostRegister", n, kOutOfMemory);
      const std::int64_t before = registered();
      STRATA_CHECK(fails(HostRegistration::of(segment, self.device(), KiB(64)), Code::exhausted,
                         "pin 64 KiB"));
      forget_fake_failures();
      STRATA_CHECK(registered() == before + 1);  // the one that failed was counted as a call
    }
    STRATA_CHECK(HostRegistration::find(segment) == nullptr);
    const std::int64_t before = registered();
    const auto made = must(HostRegistration::of(segment, self.device(), KiB(64)));
    return registered() == before + 16 && made->bytes() == MiB(1);
  }));
}

TEST_CASE("a_mapping_that_fails_at_any_call_leaves_nothing_registered") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    const Segment segment = self.on_host("x", MiB(1));
    const int count = fail_each_call(
        [&]() -> Result<void> {
          STRATA_ASSIGN(const DeviceView view, map_to_device(segment, self.device()));
          forget_fake_failures();
          return {};
        },
        [&](const auto&) { STRATA_CHECK(HostRegistration::find(segment) == nullptr); });
    // The driver itself refuses what is registered already.
    must(map_to_device(segment, self.device()));
    return count >= 5;
  }));
}

TEST_CASE("read_only_memory_is_mapped_where_the_device_takes_it_and_else_refused_with_the_remedy") {
  for (const bool takes_it : {true, false}) {
    const Machine machine({.devices = 1, .more = {{"ATTRIBUTES", takes_it ? "113=1" : "113=0"}}});
    CHECK(child_says([&] {
      Process self(machine);
      self.on_host("x", MiB(1));
      const Segment reader = must(self.shm.attach({"shm", {}, "x"}, {.access = Access::read_only}));
      const auto view = map_to_device(reader, self.device());
      if (takes_it) return view.has_value();
      return fails(view, Code::unsupported, "attach it for writing");
    }));
  }
}

TEST_CASE("private_edits_and_device_memory_are_not_mapped") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    self.on_host("x", MiB(1));
    const Segment edits =
        must(self.shm.attach({"shm", {}, "x"}, {.access = Access::copy_on_write}));
    STRATA_CHECK(fails(map_to_device(edits, self.device()), Code::unsupported, "private edits"));
    return fails(map_to_device(self.on_device("x"), self.device()), Code::unsupported, "device");
  }));
}

TEST_CASE("pages_that_somebody_else_registered_are_refused") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_host("x", MiB(1));
    const auto scope = must(self.device().enter());
    must(STRATA_CUDA(self.device().driver(), cuMemHostRegister,
                     must(segment.writable_bytes()).data(), KiB(4), 0));
    return fails(map_to_device(segment, self.device()), Code::failed_precondition);
  }));
}

TEST_CASE("a_view_says_which_node_is_near_and_which_pages_are_not") {
  const Machine machine({.devices = 1, .more = {{"ATTRIBUTES", "134=7"}}});
  CHECK(child_says([&] {
    Process self(machine);
    const DeviceView view = must(map_to_device(self.on_host("x", MiB(1)), self.device()));
    STRATA_CHECK(view.near().node == 7 && view.near().source == "the driver");
    STRATA_CHECK(view.pages().pages_total == 256 && view.pages().pages_absent == 0);
    return view.caution().find("256 of its 256 pages are not on node 7") != std::string::npos;
  }));
}

TEST_CASE("ten_thousand_mappings_keep_nothing_registered") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    const Segment segment = self.on_host("x", KiB(64));
    for (int i = 0; i < 10'000; ++i) {
      const DeviceView view = must(map_to_device(segment, self.device()));
      STRATA_CHECK(registered() == 1);
    }
    return registered() == 0;
  }));
}

TEST_CASE("a_forked_child_may_drop_what_it_inherits") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_device("x");
    const auto content = pattern(kBytes);
    must(segment.write(0, content));
    auto view = std::optional(must(map_to_device(self.on_host("x"), self.device())));
    STRATA_CHECK(child_says([&] {
      view.reset();
      std::vector<std::byte> got(kBytes);
      return fails(segment.read(0, got), Code::failed_precondition, "forked");
    }));
    return registered() == 1 && bytes_of(segment) == content;
  }));
}
