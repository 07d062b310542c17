// Handles of "shm:" memory, and what a sender can do to memory that it hands over.

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>

#include "segment/new_identity.h"
#include "shm/shm_backend.h"
#include "strata/segment/catalog.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/temp_dir.h"

using namespace strata;
using Catch::Matchers::Contains;

namespace {

struct Sent {
  Handle handle;
  std::vector<Fd> descriptors;
};

struct Fixture {
  test::TempDir directory{"/dev/shm"};
  RealOs os;
  ShmBackend backend{os, options()};
  Catalog catalog = make_catalog();

  ShmOptions options() const {
    return {.directory = directory.path(), .huge_2m_directory = {}, .huge_1g_directory = {}};
  }
  Catalog make_catalog() {
    std::vector<std::unique_ptr<Backend>> backends;
    backends.push_back(std::make_unique<ShmBackend>(os, options()));
    return Catalog(std::move(backends));
  }

  Segment create(const std::string& name) {
    return backend
        .create({"shm", {}, name}, {.payload_bytes = 10'000, .placement = {}, .job_id = {}})
        .value();
  }
  Segment create_anonymous(std::uint64_t max_bytes = 0) {
    CreateOptions options;
    options.payload_bytes = 10'000;
    options.max_bytes = max_bytes;
    return backend.create_anonymous(options).value();
  }
  std::vector<Fd> copies_of(const Segment& segment) {
    std::vector<Fd> copies;
    for (const int fd : segment.descriptors())
      copies.push_back(os.dup(fd).value());
    return copies;
  }
  Code refusal(const Handle& handle, std::vector<Fd> descriptors,
               const AttachOptions& how = {.access = Access::read_only}) {
    const auto attached = backend.attach_handle(handle, std::move(descriptors), how);
    if (attached) FAIL("it was attached");
    INFO(attached.error().to_string());
    return attached.error().code();
  }

  // A memfd that is an anonymous segment in every byte, of a size and with seals of the sender's
  // choice, and the handle that fits.
  Sent forge(std::uint64_t file_bytes, unsigned seals) {
    CreateOptions options;
    options.payload_bytes = MiB(1);
    const IdentityBlock identity = make_identity(os, SegmentKind::shm, {}, options).value();
    Sent sent;
    sent.descriptors.push_back(os.memfd_create("forged", MFD_ALLOW_SEALING).value());
    const int fd = sent.descriptors[0].get();
    REQUIRE(os.ftruncate(fd, MiB(2)));
    REQUIRE(os.pwrite(fd, make_header_page(identity, SegmentState::ready), 0));
    REQUIRE(os.ftruncate(fd, file_bytes));
    if (seals != 0) REQUIRE(os.add_seals(fd, seals));
    sent.handle.uuid = identity.uuid;
    sent.handle.payload_offset_bytes = identity.payload_offset_bytes;
    sent.handle.payload_bytes = sent.handle.max_bytes = MiB(1);
    sent.handle.generation = 1;
    sent.handle.boot_id = os.identity().boot_id;
    sent.handle.descriptor_count = 1;
    return sent;
  }

  // What receive() makes of what another process sends.
  Result<Segment> receive_from_process(const std::function<Sent()>& make) {
    int pair[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    Fd mine(pair[0]), theirs(pair[1]);
    const int status = test::in_child([&] {
      mine.reset();
      const Sent sent = make();
      std::vector<int> fds;
      for (const Fd& fd : sent.descriptors)
        fds.push_back(fd.get());
      const auto bytes = encode(sent.handle).value();
      return os.send_message(theirs.get(), bytes, fds).value() == bytes.size() ? 0 : 1;
    });
    CHECK(status == 0);
    return catalog.receive(mine.get(), {}, Deadline::after_ms(60'000));
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "a_name_of_200_bytes_is_handed_over") {
  const std::string name(kMaxNameBytes, 'n');
  const Segment made = create(name);
  const auto received = receive_from_process([&] { return Sent{made.handle().value(), {}}; });
  if (!received) FAIL(received.error().to_string());
  CHECK(received->uri().name == name);
  CHECK(received->identity().uuid == made.identity().uuid);
}

TEST_CASE_METHOD(Fixture, "a_handle_of_a_replaced_segment_is_stale") {
  std::optional<Segment> made(create("mesh"));
  const Handle handle = made->handle().value();
  CHECK(backend.attach_handle(handle, {}, {}));
  made.reset();
  REQUIRE(backend.remove({"shm", {}, "mesh"}, {}));
  CHECK(refusal(handle, {}) == Code::not_found);
  const Segment other = create("mesh");
  CHECK(refusal(handle, {}) == Code::failed_precondition);
}

TEST_CASE_METHOD(Fixture, "a_handle_of_another_boot_or_of_no_memory_here_is_refused") {
  const Segment made = create("mesh");
  const Segment nameless = create_anonymous();
  for (const Segment* each : {&made, &nameless}) {
    Handle handle = each->handle().value();
    CHECK(backend.attach_handle(handle, copies_of(*each), {}));
    handle.boot_id[0] ^= 1;
    CHECK(refusal(handle, copies_of(*each)) == Code::failed_precondition);
    handle.boot_id[0] ^= 1;
    handle.uuid[0] ^= 1;
    CHECK(refusal(handle, copies_of(*each)) == Code::failed_precondition);
    handle.uuid[0] ^= 1;
    handle.generation += 1;
    CHECK(refusal(handle, copies_of(*each)) == Code::failed_precondition);
  }
  // The same from another process.
  const auto sent_with = [&](const std::function<void(Handle&)>& change) {
    const auto received = receive_from_process([&] {
      Sent sent{nameless.handle().value(), copies_of(nameless)};
      change(sent.handle);
      return sent;
    });
    return received ? Code::internal : received.error().code();
  };
  CHECK(sent_with([](Handle& h) { h.boot_id[0] ^= 1; }) == Code::failed_precondition);
  CHECK(sent_with([](Handle& h) { h.uuid[0] ^= 1; }) == Code::failed_precondition);
  CHECK(sent_with([](Handle& h) { h.access = Access::read_only; }) == Code::permission_denied);
  CHECK(sent_with([](Handle& h) { h.max_bytes += 1; }) == Code::failed_precondition);
  CHECK(refusal(nameless.handle().value(), {}) == Code::corrupt);
  Handle served = made.handle().value();
  served.locator = "socket:/run/strata.sock";
  CHECK(refusal(served, {}) == Code::unsupported);
}

TEST_CASE_METHOD(Fixture, "memory_without_a_name_cannot_be_shrunk_and_still_grows") {
  Segment made = create_anonymous(MiB(4));
  const int fd = made.descriptors().front();
  const auto shrunk = os.ftruncate(fd, kHeaderBytes);
  REQUIRE(!shrunk);
  CHECK(shrunk.error().code() == Code::permission_denied);
  Segment other = backend.attach_handle(made.handle().value(), copies_of(made), {}).value();
  REQUIRE(made.grow(MiB(3)));
  CHECK(other.refresh().value() == MiB(3));
  CHECK(other.host_bytes().value().back() == std::byte{0});
  CHECK(os.ftruncate(fd, MiB(1)).error().code() == Code::permission_denied);
}

TEST_CASE_METHOD(Fixture, "memory_that_its_sender_could_shrink_is_refused_with_the_reason") {
  const auto sealed = receive_from_process([&] { return forge(MiB(2), F_SEAL_SHRINK); });
  if (!sealed) FAIL(sealed.error().to_string());
  const auto open = receive_from_process([&] { return forge(MiB(2), 0); });
  REQUIRE(!open);
  CHECK(open.error().code() == Code::failed_precondition);
  CHECK_THAT(open.error().message(), Contains("shrinking"));
  // Nor by adding the other seals.
  const auto grown = receive_from_process([&] { return forge(MiB(2), F_SEAL_GROW); });
  REQUIRE(!grown);
  CHECK(grown.error().code() == Code::failed_precondition);
}

TEST_CASE_METHOD(Fixture, "memory_that_was_shrunk_before_it_was_sealed_is_refused") {
  for (const std::uint64_t bytes : {std::uint64_t{0}, kHeaderBytes, KiB(512)}) {
    const auto received = receive_from_process([&] { return forge(bytes, F_SEAL_SHRINK); });
    INFO(bytes);
    REQUIRE(!received);
    CHECK(received.error().code() == Code::corrupt);
  }
}

TEST_CASE_METHOD(Fixture, "descriptors_of_files_pipes_and_devices_are_refused_without_waiting") {
  const Sent sent = forge(MiB(2), F_SEAL_SHRINK);
  const std::string fifo = directory / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  const std::string file = directory / "file";
  REQUIRE(os.open(file, O_CREAT | O_RDWR, 0600));
  for (const std::string& path : {fifo, file, std::string("/dev/zero"), directory.path()}) {
    INFO(path);
    std::vector<Fd> descriptors;
    const int flags = path == directory.path() ? O_RDONLY : O_RDWR;
    descriptors.push_back(os.open(path, flags).value());
    CHECK(refusal(sent.handle, std::move(descriptors)) == Code::failed_precondition);
  }
}

TEST_CASE_METHOD(Fixture, "a_sealed_segment_without_a_name_is_handed_over_read_only") {
  Segment made = create_anonymous();
  made.writable_bytes().value()[9'999] = std::byte{7};
  REQUIRE(made.seal());
  const Handle handle = made.handle().value();
  CHECK(handle.access == Access::read_only);
  const auto seen = backend.attach_handle(handle, copies_of(made), {.access = Access::read_only});
  if (!seen) FAIL(seen.error().to_string());
  CHECK(seen->host_bytes().value()[9'999] == std::byte{7});
  CHECK(seen->verify());
}
