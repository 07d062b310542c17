// Holders of segments that no driver has made: a header, and any descriptor for the memory.

#include "gpu/holder.h"

#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <thread>

#include "gpu/exchange_testing.h"
#include "os/staged_os.h"
#include "segment/named_files.h"
#include "segment/new_identity.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::cuda;
using Catch::Matchers::Contains;
using test::in_two_minutes;
using test::marked;
using test::Peer;

namespace {

const SegmentUri kUri{"cuda", {}, "kept"};

// What the creator of a device segment leaves in host memory, and its lease.
struct Creation {
  Os& os;
  NamedFiles files;
  IdentityBlock identity{};
  std::unique_ptr<HeaderPlane> plane;

  Creation(Os& door, const std::string& directory,
           DeviceMechanism mechanism = DeviceMechanism::vmm_fd)
      : os(door), files(door, {"cuda", directory, "strata-cuda"}) {
    const CreateOptions options{.payload_bytes = 1 << 20, .lifetime = Lifetime::until_removed};
    identity = make_identity(os, SegmentKind::cuda, kUri.name, options).value();
    identity.payload_is_apart = 1;
    identity.payload_offset_bytes = 0;
    sign(identity);
    Fd file = files.create_unnamed(0600).value();
    REQUIRE(os.ftruncate(file.get(), kDeviceHeaderFileBytes));
    os.pwrite(file.get(), make_header_page(identity), 0).value();
    ExportBlock block{};
    block.mechanism = static_cast<std::uint32_t>(mechanism);
    block.allocation_bytes = 1 << 20;
    std::memcpy(block.pci_address.data(), "0000:3B:00.0", 12);
    sign(block);
    os.pwrite(file.get(), std::as_bytes(std::span(&block, 1)), offsetof(HeaderPage, backend))
        .value();
    plane = std::make_unique<HeaderPlane>(os, std::move(file), Access::read_write);
    REQUIRE(plane->lease_as_creator());
    REQUIRE(files.link(plane->fd(), kUri));
  }

  void publish() {
    const auto ready = static_cast<std::uint32_t>(SegmentState::ready);
    os.pwrite(plane->fd(), std::as_bytes(std::span(&ready, 1)),
              offsetof(HeaderPage, live) + offsetof(LiveBlock, state))
        .value();
  }
};

struct Held {
  RealOs os;
  test::TempDir folder{"/dev/shm"};
  const std::string directory = folder.path();
  const std::vector<std::string> command = {"gpu/holder_fixture", directory, directory};

  // A process that creates the segment, publishes it, and stays.
  Peer::Body creator(bool is_published = true) {
    return [this, is_published](const std::function<void()>& stay) {
      Creation creation(os, directory);
      DescriptorServer server(os, directory);
      const auto served =
          server
              .serve({.uuid = creation.identity.uuid, .generation = 1, .fd = marked("the memory")})
              .value();
      if (is_published) creation.publish();
      stay();
    };
  }
  NamedFiles files() { return {os, {"cuda", directory, "strata-cuda"}}; }
  SegmentStat stat() { return files().stat(kUri).value(); }
  std::vector<Consumer> pinning() { return consumers(os, {directory}).value(); }
  Result<Fd> ask() {
    return ask_for_descriptor(os, {directory}, {.uuid = stat().identity.uuid, .generation = 1},
                              in_two_minutes());
  }
  Result<void> start() { return start_holder(command, kUri, in_two_minutes()); }
  // Until nobody pins anything and the directory of entries is gone.
  void await_nobody() {
    while (!pinning().empty())
      os.sleep_ns(1'000'000);
  }
  Result<std::uint64_t> leave() {
    return ask_to_leave(os, {directory}, stat().identity.uuid, in_two_minutes());
  }
};

}  // namespace

TEST_CASE_METHOD(Held, "a_holder_keeps_the_memory_when_its_creator_is_killed") {
  Peer producer(creator());
  const auto started = start();
  INFO((started ? "" : started.error().to_string()));
  REQUIRE(started);
  producer.kill();
  CHECK(stat().is_attached);
  CHECK(!stat().is_attached_for_writing);
  CHECK(test::mark_of(ask().value().get()) == "the memory");
  const auto left = pinning();
  REQUIRE(left.size() == 1);
  CHECK(left.front().role == PeerRole::holder);
  CHECK_THAT(left.front().command, Contains("holder"));
  CHECK(kill(left.front().pid, SIGKILL) == 0);
  // A killed holder holds nothing.
  while (stat().is_attached)
    os.sleep_ns(1'000'000);
}

TEST_CASE_METHOD(Held, "a_holder_leaves_so_that_the_segment_can_be_removed_and_ends_with_it") {
  Peer producer(creator());
  REQUIRE(start());
  producer.kill();
  CHECK(files().remove(kUri, {}).error().code() == Code::failed_precondition);
  CHECK(leave().value() == 1);
  CHECK(test::mark_of(ask().value().get()) == "the memory");  // kept until it is removed
  REQUIRE(files().remove(kUri, {}));
  await_nobody();
}

TEST_CASE_METHOD(Held, "a_holder_that_left_in_vain_comes_back") {
  Peer producer(creator());
  REQUIRE(start());
  producer.kill();
  REQUIRE(leave().value() == 1);
  CHECK(!stat().is_attached);
  while (!stat().is_attached)
    os.sleep_ns(10'000'000);
  CHECK(test::mark_of(ask().value().get()) == "the memory");
  REQUIRE(files().remove(kUri, {.even_if_attached = true}));
  await_nobody();
}

TEST_CASE_METHOD(Held, "a_holder_of_what_is_never_published_lets_go") {
  Peer producer(creator(false));
  REQUIRE(start());
  CHECK(pinning().size() == 2);
  producer.kill();
  while (pinning().size() == 2 || pinning().front().is_alive())
    os.sleep_ns(1'000'000);
  REQUIRE(files().reclaim({}));
}

TEST_CASE_METHOD(Held, "why_a_segment_cannot_be_held_is_told") {
  const auto missing = start();
  REQUIRE(!missing);
  CHECK_THAT(missing.error().message(), Contains("hold cuda:kept") && Contains("no such segment"));
  DescriptorServer server(os, directory);
  {
    Creation legacy(os, directory, DeviceMechanism::legacy_ipc);
    const auto refused = SegmentHolder::hold(os, server, {.directory = directory}, kUri);
    REQUIRE(!refused);
    CHECK(refused.error().code() == Code::unsupported);
    REQUIRE(files().remove(kUri, {.even_if_attached = true}));
  }
  {
    Creation silent(os, directory);
    const auto nobody = SegmentHolder::hold(os, server, {.directory = directory}, kUri);
    REQUIRE(!nobody);
    CHECK(nobody.error().code() == Code::not_found);
    REQUIRE(files().remove(kUri, {.even_if_attached = true}));
  }
  const auto no_program = start_holder({"no-such-holder"}, kUri, in_two_minutes());
  REQUIRE(!no_program);
  CHECK_THAT(no_program.error().message(), Contains("no such program"));
}

TEST_CASE_METHOD(Held, "a_holder_is_stopped_by_its_event") {
  Peer producer(creator());
  DescriptorServer server(os, directory);
  std::vector<std::unique_ptr<SegmentHolder>> holders;
  holders.push_back(SegmentHolder::hold(os, server, {.directory = directory}, kUri).value());
  const Fd stop = os.event().value();
  std::thread stops([&] { CHECK(os.signal_event(stop.get())); });
  CHECK(keep_until_over(os, holders, stop.get()));
  stops.join();
  CHECK(holders.size() == 1);
  holders.clear();
  CHECK(pinning().size() == 1);
}

TEST_CASE_METHOD(Held, "the_file_of_the_device_is_found_by_its_address_and_kept_open") {
  const test::TempDir root;
  StagedOs staged(root.path());
  staged.put("/proc/driver/nvidia/gpus/0000:3b:00.0/information",
             "Model: \t X\nDevice Minor: \t 12\nGPU Excluded: No\n");
  for (const char* name : {"nvidia0", "nvidia12", "nvidiactl"})
    std::ofstream(folder / name) << "";
  const auto known = open_device_files(staged, directory, "0000:3B:00.0");
  CHECK(known.open.size() == 1);
  CHECK_THAT(known.note, Contains("nvidia12"));
  // Where the address leads to nothing, every device there is.
  const auto unknown = open_device_files(staged, directory, "0000:99:00.0");
  CHECK(unknown.open.size() == 2);
  const auto hostile = open_device_files(staged, directory, "../../../../x");
  CHECK(hostile.open.size() == 2);
  const auto none = open_device_files(staged, folder / "nowhere", "0000:3B:00.0");
  CHECK(none.open.empty());
  CHECK_THAT(none.note, Contains("persistence mode"));
}
