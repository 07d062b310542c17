// The last error of a thread, and the checks of arguments.
#include <fmt/format.h>

#include <array>
#include <optional>

#include "c/boundary.h"
#include "strata/version.h"

namespace strata::inline v0_1::c {
namespace {

// One page: an error cannot come from a field or a whole struct that is larger.
constexpr std::size_t kMaxStructBytes = 64 * 1024;
constexpr std::size_t kMaxTexts = 4096;
constexpr const char* kNoMemory = "no memory left to say what failed";

struct LastError {
  int code = STRATA_OK;
  int sys_errno = 0;
  int driver_result = 0;
  // What failed last, while nobody has asked for its text: polls fail often, and are seldom read.
  std::optional<Status> untold;
  const char* function = "";
  std::string text;
  // Where there was no memory for the text.
  const char* fixed_text = nullptr;
};

LastError& last_error() {
  static thread_local LastError error;
  return error;
}

// Which function refused is worth telling only where the message does not say what was asked.
bool names_function(Code code) {
  return code == Code::invalid_argument || code == Code::internal || code == Code::exhausted;
}

}  // namespace

namespace {

void tell(LastError& error, const char* function, Code code, const char* text) noexcept {
  error.fixed_text = nullptr;
  try {
    error.text = names_function(code) ? fmt::format("{}: {}", function, text) : text;
  } catch (...) {
    error.fixed_text = kNoMemory;
  }
}

const char* text_of(LastError& error) noexcept {
  if (error.untold) {
    try {
      tell(error, error.function, error.untold->code(), error.untold->message().c_str());
    } catch (...) {
      error.fixed_text = kNoMemory;
    }
    error.untold.reset();
  }
  return error.fixed_text != nullptr ? error.fixed_text : error.text.c_str();
}

}  // namespace

int report_failure(const char* function, const Status& status) noexcept {
  LastError& error = last_error();
  error.code = code_of(status.code());
  error.sys_errno = status.sys_errno();
  error.driver_result = status.driver_result();
  error.function = function;
  error.fixed_text = nullptr;
  try {
    error.untold = status;
  } catch (...) {
    error.untold.reset();
    error.fixed_text = kNoMemory;
  }
  return error.code;
}

int report_failure_text(const char* function, Code code, const char* text) noexcept {
  LastError& error = last_error();
  error.code = code_of(code);
  error.sys_errno = error.driver_result = 0;
  error.untold.reset();
  tell(error, function, code, text);
  return error.code;
}

Code code_from(int code) {
  if (code < code_of(Code::invalid_argument) || code > code_of(Code::wrong_device))
    return Code::internal;
  return static_cast<Code>(code - 1);
}

Unexpected is_null(const char* argument) {
  return fail(Code::invalid_argument, fmt::format("`{}` is NULL", argument));
}

Unexpected is_no_handle(const char* argument) {
  return fail(
      Code::invalid_argument,
      fmt::format("`{}` is no handle of that type: it was closed, or is something else", argument));
}

Unexpected is_too_large(const char* argument, std::uint64_t value) {
  return fail(Code::invalid_argument, fmt::format("`{}` has no value {}", argument, value));
}

Result<std::string_view> text(const char* given, const char* argument) {
  STRATA_TRY(check_pointer(given, argument));
  return std::string_view(given);
}

Result<std::vector<std::string>> texts(const char* const* given, std::size_t count,
                                       const char* argument) {
  std::vector<std::string> all;
  if (count == 0) return all;
  STRATA_TRY(check_pointer(given, argument));
  if (count > kMaxTexts) {
    return fail(Code::invalid_argument,
                fmt::format("`{}`: {} texts, at most {}", argument, count, kMaxTexts));
  }
  for (const char* const one : std::span(given, count)) {
    STRATA_ASSIGN(const std::string_view checked, text(one, argument));
    all.emplace_back(checked);
  }
  return all;
}

namespace {

Result<void> check_bytes(const void* from, std::uint64_t bytes, const char* argument) {
  if (from == nullptr && bytes != 0) return is_null(argument);
  // No memory is that long: the number is wrong, and its end must not wrap around.
  if (bytes > std::uint64_t{1} << 56) {
    return fail(Code::invalid_argument, fmt::format("`{}`: {} bytes", argument, bytes));
  }
  return {};
}

}  // namespace

Result<std::span<std::byte>> bytes_at(void* from, std::uint64_t bytes, const char* argument) {
  STRATA_TRY(check_bytes(from, bytes, argument));
  return std::span(static_cast<std::byte*>(from), bytes);
}

Result<std::span<const std::byte>> bytes_at(const void* from, std::uint64_t bytes,
                                            const char* argument) {
  STRATA_TRY(check_bytes(from, bytes, argument));
  return std::span(static_cast<const std::byte*>(from), bytes);
}

Result<void> check_size(std::size_t size, const char* argument) {
  if (size >= sizeof(std::size_t) && size <= kMaxStructBytes) return {};
  return fail(Code::invalid_argument,
              fmt::format("`{0}->size` is {1}: set it to sizeof *{0}", argument, size));
}

Result<void> check_unknown(const void* given, std::size_t size, std::size_t known,
                           const char* argument) {
  const auto* const bytes = static_cast<const std::byte*>(given);
  for (std::size_t i = known; i < size; ++i) {
    if (bytes[i] == std::byte{0}) continue;
    return fail(Code::unsupported,
                fmt::format("`{}` of {} bytes asks for what this library, which knows {} of them, "
                            "does not have: use a newer libstrata",
                            argument, size, known));
  }
  return {};
}

static_assert(static_cast<int>(Code::invalid_argument) + 1 == STRATA_INVALID_ARGUMENT);
static_assert(static_cast<int>(Code::not_found) + 1 == STRATA_NOT_FOUND);
static_assert(static_cast<int>(Code::already_exists) + 1 == STRATA_ALREADY_EXISTS);
static_assert(static_cast<int>(Code::permission_denied) + 1 == STRATA_PERMISSION_DENIED);
static_assert(static_cast<int>(Code::exhausted) + 1 == STRATA_EXHAUSTED);
static_assert(static_cast<int>(Code::not_ready) + 1 == STRATA_NOT_READY);
static_assert(static_cast<int>(Code::timed_out) + 1 == STRATA_TIMED_OUT);
static_assert(static_cast<int>(Code::corrupt) + 1 == STRATA_CORRUPT);
static_assert(static_cast<int>(Code::unsupported) + 1 == STRATA_UNSUPPORTED);
static_assert(static_cast<int>(Code::failed_precondition) + 1 == STRATA_FAILED_PRECONDITION);
static_assert(static_cast<int>(Code::internal) + 1 == STRATA_INTERNAL);
static_assert(static_cast<int>(Code::no_driver) + 1 == STRATA_NO_DRIVER);
static_assert(static_cast<int>(Code::no_device) + 1 == STRATA_NO_DEVICE);
static_assert(static_cast<int>(Code::wrong_device) + 1 == STRATA_WRONG_DEVICE);

}  // namespace strata::inline v0_1::c

using namespace strata::c;

const char* strata_version(void) { return STRATA_VERSION_STRING; }
int strata_c_api_version(void) { return STRATA_C_API_VERSION; }

const char* strata_code_name(int code) {
  if (code == STRATA_OK) return "ok";
  if (code < 0 || code > STRATA_WRONG_DEVICE) return "unknown";
  // Names are literals, which end with NUL.
  return strata::code_name(code_from(code)).data();
}

int strata_error_code(void) { return last_error().code; }
const char* strata_error_message(void) { return text_of(last_error()); }
int strata_error_errno(void) { return last_error().sys_errno; }
int strata_error_driver_result(void) { return last_error().driver_result; }
