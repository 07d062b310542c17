// An Fd owns a file descriptor and closes it.
//   Threads:  a value; one owner at a time.
//   Errors:   close() failures are dropped: on Linux the descriptor is gone either way.
#pragma once

#include <utility>

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
