// A Status says why an operation failed: a code for the program, a message for the person.
//   Threads:  a value; share it as any other value.
//   Errors:   codes are chosen by what the caller can do about them, never by where they arose.
//   Cost:     made on failure only; success carries no Status. One with a LateMessage allocates
//             nothing until somebody reads its message.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

enum class Code : std::uint8_t {
  invalid_argument,     // the call can never succeed as written: change it
  not_found,            // nothing of that name: create it, or check the spelling
  already_exists,       // the name is taken: attach to it, or choose another
  permission_denied,    // the operating system refused: change user, mode or limit
  exhausted,            // memory, space, slots or a limit ran out: free some, or raise it
  not_ready,            // being made by somebody else: wait and retry
  timed_out,            // the deadline passed; nothing was changed
  corrupt,              // bytes fail their own checks: do not use them; check or repair
  unsupported,          // this machine or this kind of memory cannot do it
  failed_precondition,  // in use, sealed, wrong state: change the state first
  internal,             // a fault in Strata: report it
  no_driver,            // no CUDA driver here: install one, or use memory of another kind
  no_device,            // the driver has no such device: see which it has
  wrong_device,         // the memory is of a device that cannot be reached from this one
};

std::string_view code_name(Code code);

// A message that is put together when it is read, for what fails often and is seldom read: a poll
// of a lock that is held. `text` is a literal; each {} in it stands for the next number.
struct LateMessage {
  const char* text = nullptr;
  std::array<std::uint64_t, 3> numbers = {};
};

class Status {
 public:
  Status(Code code, std::string message, int sys_errno = 0)
      : code_(code), sys_errno_(sys_errno), message_(std::move(message)) {}
  Status(Code code, const LateMessage& message) : code_(code), late_(message) {}

  Code code() const { return code_; }
  // Each call makes it anew.
  std::string message() const;
  // The errno that the kernel gave, or 0 where no system call was at fault.
  int sys_errno() const { return sys_errno_; }
  // The CUresult that the CUDA driver gave, or 0 where it was not at fault.
  int driver_result() const { return driver_result_; }
  Status&& with_driver_result(int result) && {
    driver_result_ = result;
    return std::move(*this);
  }

  // The same failure seen one layer up: `context` is put before the message.
  Status in(std::string_view context) const;

  // "not_found: attach shm:mesh: no such segment"
  std::string to_string() const;

 private:
  Code code_;
  int sys_errno_ = 0;
  int driver_result_ = 0;
  LateMessage late_ = {};  // where its text is not null; else `message_` is meant
  std::string message_;
};

// The Status of a failed system call: the code follows from `sys_errno`, and the message
// reads "<what>: <text of the errno>".
Status status_from_errno(int sys_errno, std::string_view what);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
