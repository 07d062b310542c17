// Tells the driver and the first device of this machine, for gpu/run_on_gpu.sh; no more than may
// stand in a file that is published.

#include <fmt/format.h>

#include <cstdio>

#include "gpu/driver.h"
#include "strata/gpu/device.h"

using namespace strata;

int main() {
  const auto devices = cuda::Devices::load({});
  if (!devices) {
    fmt::print(stderr, "{}\n", devices.error().to_string());
    return 1;
  }
  const cuda::Driver& driver = (*devices)->driver();
  const cuda::Device& device = *(*devices)->all().front();
  const bool is_fake = device.name().find("FAKE") != std::string::npos;
  fmt::print("device={}\ncuda={}.{}\nfake={}\n", device.name(), driver.version() / 1000,
             driver.version() % 1000 / 10, is_fake ? "yes" : "no");
}
