#include "gpu/driver.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "strata/gpu/device.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/fake_cuda/fake_cuda.h"
#include "tests/skip.h"

// A process holds one driver, and none after a fork: every case loads its own in a child.
namespace strata::inline v0_1::cuda {
namespace {

using test::child_says;
using test::fake_driver_path;
using test::FakeDevices;

// Whether a load in a child ends with this code and says this.
bool fails(const std::string& library, Code code, const std::string& text) {
  return child_says([&] {
    const auto driver = Driver::load(library);
    if (driver) return false;
    std::fprintf(stderr, "%s\n", driver.error().message().c_str());
    return driver.error().code() == code &&
           driver.error().message().find(text) != std::string::npos;
  });
}

TEST_CASE("without_a_library_there_is_no_driver") {
  CHECK(fails("/nonexistent/libcuda.so.1", Code::no_driver, "/nonexistent/libcuda.so.1"));
}

TEST_CASE("a_file_that_is_no_driver_is_none") {
  CHECK(fails("libm.so.6", Code::no_driver, "cuGetProcAddress_v2"));
}

TEST_CASE("the_stub_of_the_toolkit_is_no_driver") {
  const std::string stub = STRATA_CUDA_ROOT "/lib64/stubs/libcuda.so";
  if (!std::filesystem::exists(stub)) SKIP_TEST("needs a CUDA toolkit; there is no " << stub);
  CHECK(fails(stub, Code::no_driver, "stub"));
}

TEST_CASE("a_driver_that_answers_as_the_stub_does_is_no_driver") {
  const FakeDevices fake({.more = {{"FAIL", "cuInit:1:34"}}});
  CHECK(fails(fake_driver_path(), Code::no_driver, "stub"));
}

TEST_CASE("a_driver_that_does_not_start_says_why") {
  const FakeDevices fake({.more = {{"FAIL", "cuInit:1:802"}}});
  CHECK(fails(fake_driver_path(), Code::no_driver, "CUDA_ERROR_SYSTEM_NOT_READY"));
}

TEST_CASE("a_machine_without_devices_has_no_device") {
  const FakeDevices fake({.devices = 0});
  CHECK(fails(fake_driver_path(), Code::no_device, "CUDA_VISIBLE_DEVICES"));
}

TEST_CASE("the_version_is_told_by_a_driver_that_is_not_started") {
  // A start would fail.
  const FakeDevices fake({.more = {{"VERSION", "12080"}, {"FAIL", "cuInit:1:802"}}});
  CHECK(child_says(
      [] { return Driver::installed_version(fake_driver_path()).value_or(0) == 12080; }));
  CHECK(child_says([] {
    const auto version = Driver::installed_version("/nonexistent/libcuda.so.1");
    return !version && version.error().code() == Code::no_driver;
  }));
}

TEST_CASE("a_driver_before_12_0_is_too_old") {
  const FakeDevices fake({.more = {{"VERSION", "11080"}}});
  CHECK(fails(fake_driver_path(), Code::no_driver, "11.8"));
}

TEST_CASE("a_driver_without_a_required_call_is_too_old") {
  const FakeDevices fake({.more = {{"WITHOUT", "cuMemGetInfo"}}});
  CHECK(fails(fake_driver_path(), Code::no_driver, "cuMemGetInfo"));
}

TEST_CASE("a_missing_optional_call_takes_its_feature_away_and_no_other_one") {
  const FakeDevices fake(
      {.more = {{"WITHOUT", "cuStreamWaitValue64,cuMemImportFromShareableHandle"}}});
  CHECK(child_says([] {
    const auto driver = Driver::load(fake_driver_path());
    if (!driver) return false;
    const auto lacks = [&](DriverFeature feature) {
      const auto has = (*driver)->require(feature);
      return !has && has.error().code() == Code::unsupported;
    };
    return lacks(DriverFeature::stream_values) && lacks(DriverFeature::virtual_memory) &&
           (*driver)->require(DriverFeature::legacy_ipc) &&
           (*driver)->require(DriverFeature::kernels);
  }));
}

TEST_CASE("a_process_loads_one_driver") {
  const FakeDevices fake;
  CHECK(child_says([] {
    const auto first = Driver::load(fake_driver_path());
    const auto again = Driver::load({});
    const auto other = Driver::load("/nonexistent/libcuda.so.1");
    return first && again && *first == *again && !other &&
           other.error().code() == Code::failed_precondition;
  }));
}

TEST_CASE("a_load_that_failed_may_be_tried_again") {
  const FakeDevices fake;
  CHECK(child_says([] {
    return !Driver::load("/nonexistent/libcuda.so.1") && Driver::load(fake_driver_path());
  }));
}

TEST_CASE("a_failed_call_keeps_its_CUresult_and_says_the_driver's_words") {
  const FakeDevices fake;
  CHECK(child_says([] {
    const auto driver = Driver::load(fake_driver_path());
    CuDevice device = 0;
    const auto failed = STRATA_CUDA(**driver, cuDeviceGet, &device, 99);
    return !failed && failed.error().code() == Code::no_device &&
           failed.error().driver_result() == kInvalidDevice &&
           failed.error().message() ==
               "cuDeviceGet: invalid device ordinal (CUDA_ERROR_INVALID_DEVICE)";
  }));
}

TEST_CASE("a_forked_child_cannot_use_the_driver_and_is_told_so") {
  const FakeDevices fake;
  CHECK(child_says([] {
    const auto driver = Driver::load(fake_driver_path());
    if (!driver || (*driver)->is_forked()) return false;
    return child_says([&] {
      int count = 0;
      const auto failed = STRATA_CUDA(**driver, cuDeviceGetCount, &count);
      return (*driver)->is_forked() && !(*driver)->is_usable() && !failed &&
             failed.error().code() == Code::failed_precondition &&
             failed.error().message().find("fork") != std::string::npos;
    });
  }));
}

TEST_CASE("objects_that_end_after_the_driver_end_quietly") {
  const FakeDevices fake;
  CHECK(child_says([] {
    // Made before cuInit, so destroyed after the driver's own tear-down.
    static std::unique_ptr<ContextScope> last;
    const auto devices = Devices::load(fake_driver_path());
    last = std::make_unique<ContextScope>((*devices)->all()[0]->enter().value());
    std::exit(0);
    return false;
  }));
}

TEST_CASE("a_device_is_found_by_number_and_by_UUID") {
  const FakeDevices fake({.devices = 2});
  CHECK(child_says([] {
    const auto devices = Devices::load(fake_driver_path()).value();
    const auto first = devices->find("");
    const auto second = devices->find("1");
    const auto by_uuid = devices->find(test::fake_device_uuid(1));
    return *first == devices->all()[0].get() && *second == devices->all()[1].get() &&
           *by_uuid == *second;
  }));
}

TEST_CASE("no_text_means_the_device_of_the_current_context") {
  const FakeDevices fake({.devices = 2});
  CHECK(child_says([] {
    const auto devices = Devices::load(fake_driver_path()).value();
    Device* const second = devices->all()[1].get();
    const auto scope = second->enter();
    return scope && *devices->find("") == second;
  }));
}

TEST_CASE("a_device_that_is_not_there_is_no_device_and_the_others_are_named") {
  const FakeDevices fake({.devices = 2});
  CHECK(child_says([] {
    const auto devices = Devices::load(fake_driver_path()).value();
    const auto is_none = [&](const char* text) {
      const auto found = devices->find(text);
      return !found && found.error().code() == Code::no_device &&
             found.error().message().find("FAKE CUDA device 1") != std::string::npos;
    };
    return is_none("2") && is_none("-1") && is_none("GPU-00000000-0000-0000-0000-000000000000");
  }));
}

TEST_CASE("devices_keep_the_order_that_the_environment_gives_them") {
  const FakeDevices fake({.devices = 2});
  CHECK(child_says([] {
    ::setenv("CUDA_VISIBLE_DEVICES", "1,0", 1);
    const auto devices = Devices::load(fake_driver_path()).value();
    return devices->all()[0]->pci_address() == "fa4e:01:00.0" &&
           devices->all()[1]->pci_address() == "fa4e:00:00.0";
  }));
}

TEST_CASE("a_UUID_reads_back_as_it_is_printed") {
  const std::string text = "GPU-12345678-9abc-def0-1122-334455667788";
  const DeviceUuid uuid = parse_device_uuid(text).value();
  CHECK(device_uuid_text(uuid) == text);
  CHECK(parse_device_uuid("MIG-12345678-9ABC-def0-1122-334455667788").value() == uuid);
  CHECK(parse_device_uuid("123456789abcdef01122334455667788").value() == uuid);
}

TEST_CASE("what_is_no_UUID_is_refused") {
  for (const char* text : {"", "GPU-", "GPU-1234", "GPU-12345678-9abc-def0-1122-3344556677889",
                           "GPU-12345678-9abc-def0-1122-33445566778g", "0x12"}) {
    CAPTURE(text);
    const auto uuid = parse_device_uuid(text);
    REQUIRE_FALSE(uuid);
    CHECK(uuid.error().code() == Code::invalid_argument);
  }
}

}  // namespace
}  // namespace strata::inline v0_1::cuda
