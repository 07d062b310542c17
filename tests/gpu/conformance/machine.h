// The driver as rows use it, and what they make with it.
//   Threads:  one.
//   Lifetime: nothing is given back that a row does not give back: its process ends.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "tests/gpu/conformance/row.h"

namespace strata::inline v0_1::conformance {

// Where a driver and the device files are.
struct Place {
  std::string library;
  std::string device_directory;
};

// Ends the row, whose answer is this text.
[[noreturn]] void give_up(const std::string& why);

// Calls by name, with no call made yet.
class Calls {
 public:
  explicit Calls(const Place& place);
  const DriverTable& table() const { return table_; }
  // A call that Strata does not use; null where the driver lacks it.
  template <typename Function>
  Function* find(const char* symbol) const {
    return reinterpret_cast<Function*>(find_symbol(symbol));
  }

 private:
  void* find_symbol(const char* symbol) const;

  void* library_ = nullptr;
  DriverTable table_;
};

// A started driver with the primary context of its first device.
class Machine {
 public:
  // `device`: -1 for the last one.
  explicit Machine(const Place& place, int device = 0);

  const DriverTable& call() const { return calls_.table(); }
  const Calls& calls() const { return calls_; }
  const Place& place() const { return place_; }
  CuDevice device() const { return device_; }
  int device_count() const { return device_count_; }
  std::size_t granularity() const { return granularity_; }
  bool is_fake() const { return name_.find("FAKE") != std::string::npos; }
  const std::string& name() const { return name_; }
  int attribute(CuDeviceAttribute attribute) const;

  CuAllocationProperties properties(int handle_types = kHandleTypePosixFd) const;
  CuAllocation create(std::size_t granules = 1, int handle_types = kHandleTypePosixFd) const;
  CuDevicePointer reserve(std::size_t granules = 1) const;
  int export_fd(CuAllocation allocation) const;
  CuResult import(int fd, CuAllocation* allocation) const;
  CuResult set_access(CuDevicePointer address, int flags, std::size_t granules = 1) const;
  // Created, mapped, readable and writable.
  CuDevicePointer map_new(std::size_t granules = 1) const;
  CuDevicePointer map(CuAllocation allocation, int access = kAccessReadWrite) const;
  CuDevicePointer allocate(std::size_t bytes) const;
  CuStream stream() const;
  // A kernel that stores `value` at each of `bytes` at an address, and the wait for it.
  CuResult run_store_kernel(CuDevicePointer address, std::uint64_t bytes, std::uint8_t value) const;

  CuResult write_word(CuDevicePointer address, std::uint64_t value) const;
  CuResult read_word(CuDevicePointer address, std::uint64_t* value) const;

 private:
  Place place_;
  Calls calls_;
  CuDevice device_ = 0;
  int device_count_ = 0;
  std::size_t granularity_ = 0;
  std::string name_;
};

// Host memory that children share, with words that streams can use.
std::uint64_t* shared_words();

// A conversation of two processes of a row. Each wait ends after a minute: the row gives up.
class Channel {
 public:
  Channel(int socket, pid_t other) : socket_(socket), other_(other) {}

  template <typename T>
  void send(const T& value) {
    send_bytes(&value, sizeof value, -1);
  }
  template <typename T>
  T receive() {
    T value{};
    receive_bytes(&value, sizeof value);
    return value;
  }
  void send_fd(int fd) {
    const char byte = 'f';
    send_bytes(&byte, 1, fd);
  }
  int receive_fd() {
    char byte = 0;
    return receive_bytes(&byte, 1);
  }
  // For the first process: the second one is dead when these return.
  void kill_other();
  void wait_for_other();
  // For the second one: until it is killed, or the first one is gone.
  [[noreturn]] void stay();

 private:
  void send_bytes(const void* bytes, std::size_t size, int fd);
  int receive_bytes(void* bytes, std::size_t size);

  int socket_;
  pid_t other_;
};

}  // namespace strata::inline v0_1::conformance
