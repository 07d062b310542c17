// Device segments through <strata/c.h>. The driver is a fake one: it proves what is passed on, and
// nothing about hardware.
#include <cstdio>
#include <cstring>
#include <string>

#include "strata/c.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/fake_cuda/fake_cuda.h"
#include "tests/temp_dir.h"

using namespace strata::test;

namespace {

constexpr std::uint64_t kBytes = 100'000;
constexpr std::uint64_t kSoonMs = 240'000;
constexpr const char* kUri = "cuda:c-device";

// A child's claim: what does not hold ends it.
void need(bool holds, const char* what, int line) {
  if (holds) return;
  std::fprintf(stderr, "line %d: %s: %s\n", line, what, strata_error_message());
  _exit(1);
}
#define NEED(condition) need(condition, #condition, __LINE__)

// The machine and the folder of headers; whoever uses the driver is a child of the test.
struct Machine {
  FakeDevices fake{{.devices = 2}};
  TempDir directory{"/dev/shm"};

  strata_catalog* open() const {
    const std::string driver = fake_driver_path();
    strata_catalog_options options{};
    options.size = sizeof options;
    options.shm_directory = directory.path().c_str();
    options.cuda_driver_library = driver.c_str();
    options.cuda_device_directory = fake.directory().c_str();
    strata_catalog* catalog = nullptr;
    NEED(strata_catalog_open(&options, &catalog) == STRATA_OK);
    return catalog;
  }
};

strata_segment* create(strata_catalog* catalog, const char* uri = kUri) {
  strata_create_options options{};
  options.size = sizeof options;
  options.payload_bytes = kBytes;
  strata_segment* segment = nullptr;
  NEED(strata_catalog_create(catalog, uri, &options, &segment) == STRATA_OK);
  return segment;
}

}  // namespace

TEST_CASE("a_device_segment_says_where_it_is_and_copies_in_and_out") {
  const Machine machine;
  CHECK(child_says([&] {
    strata_catalog* const catalog = machine.open();
    strata_segment* const segment = create(catalog);
    strata_device_span span{};
    span.size = sizeof span;
    NEED(strata_segment_device_bytes(segment, &span) == STRATA_OK);
    NEED(span.address != 0 && span.bytes == kBytes);
    strata_device_info info{};
    info.size = sizeof info;
    NEED(strata_segment_device(segment, &info) == STRATA_OK);
    NEED(info.ordinal == 0 && info.name[0] != '\0' && info.total_bytes > kBytes);
    NEED(std::memcmp(info.uuid, span.device_uuid, sizeof info.uuid) == 0);

    const void* bytes = nullptr;
    NEED(strata_segment_bytes(segment, &bytes, nullptr) == STRATA_UNSUPPORTED);
    std::string text = "over the bus", back(text.size(), '\0');
    NEED(strata_segment_write(segment, 99, text.data(), text.size()) == STRATA_OK);
    NEED(strata_segment_settle(segment) == STRATA_OK);
    NEED(strata_segment_read(segment, 99, back.data(), back.size()) == STRATA_OK);
    NEED(text == back);
    strata_segment_close(segment);
    strata_catalog_close(catalog);
    return true;
  }));
}

TEST_CASE("segments_of_any_kind_are_copied_and_the_way_is_told") {
  const Machine machine;
  CHECK(child_says([&] {
    strata_catalog* const catalog = machine.open();
    strata_segment* const device = create(catalog);
    strata_segment* const host = create(catalog, "shm:c-host");
    std::string text = "staged or direct", back(text.size(), '\0');
    NEED(strata_segment_write(host, 10, text.data(), text.size()) == STRATA_OK);
    strata_copy_options options{};
    options.size = sizeof options;
    options.from_offset_bytes = 10;
    options.to_offset_bytes = 20;
    options.bytes = text.size();
    strata_copy_report report{};
    report.size = sizeof report;
    NEED(strata_segment_copy(host, device, &options, &report) == STRATA_OK);
    NEED(report.path == STRATA_COPY_STAGED && report.is_done == 1 && report.bytes == text.size());
    NEED(report.why[0] != '\0');
    NEED(strata_segment_read(device, 20, back.data(), back.size()) == STRATA_OK);
    NEED(text == back);
    options.bytes = kBytes;
    NEED(strata_segment_copy(host, device, &options, nullptr) == STRATA_INVALID_ARGUMENT);
    strata_segment_close(host);
    strata_segment_close(device);
    strata_catalog_close(catalog);
    return true;
  }));
}

TEST_CASE("a_timeline_orders_two_processes_and_tells_of_the_death_of_an_owner") {
  const Machine machine;
  const pid_t owner = start_child([&] {
    strata_catalog* const catalog = machine.open();
    strata_segment* const segment = create(catalog);
    strata_timeline* timeline = nullptr;
    strata_signaller* signaller = nullptr;
    strata_follower* go_on = nullptr;
    NEED(strata_timeline_open(segment, &timeline) == STRATA_OK);
    NEED(strata_timeline_claim(timeline, 0, &signaller) == STRATA_OK);
    NEED(strata_timeline_follow(timeline, 1, kSoonMs, &go_on) == STRATA_OK);
    const unsigned char value = 42;
    NEED(strata_segment_write(segment, 0, &value, 1) == STRATA_OK);
    NEED(strata_segment_settle(segment) == STRATA_OK);
    // From the host, and from the default stream.
    NEED(strata_signaller_signal(signaller, 1) == STRATA_OK);
    NEED(strata_signaller_signal(signaller, 1) == STRATA_INVALID_ARGUMENT);
    NEED(strata_signaller_signal_on(signaller, nullptr, 2) == STRATA_OK);
    NEED(strata_follower_wait(go_on, 1, kSoonMs) == STRATA_OK);
    raise(SIGKILL);
  });
  const int follower_status = in_child([&] {
    strata_catalog* const catalog = machine.open();
    strata_segment* segment = nullptr;
    // The owner makes it.
    while (strata_catalog_attach(catalog, kUri, nullptr, &segment) != STRATA_OK)
      NEED(strata_error_code() == STRATA_NOT_FOUND || strata_error_code() == STRATA_NOT_READY);
    strata_timeline* timeline = nullptr;
    strata_follower* follower = nullptr;
    strata_signaller* go_on = nullptr;
    strata_pending_wait* pending = nullptr;
    NEED(strata_timeline_open(segment, &timeline) == STRATA_OK);
    NEED(strata_timeline_claim(timeline, 1, &go_on) == STRATA_OK);
    NEED(strata_timeline_follow(timeline, 0, kSoonMs, &follower) == STRATA_OK);
    NEED(strata_follower_wait(follower, 1, kSoonMs) == STRATA_OK);
    unsigned char value = 0;
    NEED(strata_segment_read(segment, 0, &value, 1) == STRATA_OK && value == 42);
    NEED(strata_follower_wait_on(follower, nullptr, 2, kSoonMs, &pending) == STRATA_OK);
    NEED(strata_pending_wait_result(pending, kSoonMs) == STRATA_OK);
    strata_pending_wait_close(pending);
    int is_reached = 0;
    NEED(strata_follower_is_reached(follower, 2, &is_reached) == STRATA_OK && is_reached == 1);
    NEED(strata_follower_is_reached(follower, 3, &is_reached) == STRATA_OK && is_reached == 0);
    NEED(strata_signaller_signal(go_on, 1) == STRATA_OK);
    NEED(strata_follower_wait(follower, 3, kSoonMs) == STRATA_FAILED_PRECONDITION);
    // In any order.
    strata_segment_close(segment);
    strata_catalog_close(catalog);
    strata_timeline_close(timeline);
    strata_signaller_close(go_on);
    strata_follower_close(follower);
  });
  CHECK(follower_status == 0);
  CHECK(was_killed(wait_for(owner)));
}

TEST_CASE("without_a_driver_the_error_says_so") {
  CHECK(child_says([] {
    strata_catalog_options options{};
    options.size = sizeof options;
    options.cuda_driver_library = "/nowhere/libcuda.so.1";
    strata_catalog* catalog = nullptr;
    NEED(strata_catalog_open(&options, &catalog) == STRATA_OK);
    strata_create_options create{};
    create.size = sizeof create;
    create.payload_bytes = kBytes;
    strata_segment* segment = nullptr;
    NEED(strata_catalog_create(catalog, "cuda:c-nowhere", &create, &segment) == STRATA_NO_DRIVER);
    NEED(std::strstr(strata_error_message(), "cuda:c-nowhere") != nullptr);
    strata_catalog_close(catalog);
    return true;
  }));
}
