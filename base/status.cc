#include "strata/base/status.h"

#include <cerrno>
#include <cstring>

namespace strata::inline v0_1 {
namespace {

Code code_from_errno(int sys_errno) {
  switch (sys_errno) {
    case EINVAL:
    case ENAMETOOLONG:
    case EOVERFLOW:
    case EISDIR:
    case ENOTDIR: return Code::invalid_argument;
    case ENOENT:
    case ESRCH:
    case ENXIO: return Code::not_found;
    case EEXIST: return Code::already_exists;
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP: return Code::permission_denied;
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case EFBIG:
    case ENOLCK: return Code::exhausted;
    case EAGAIN:
    case EINTR: return Code::not_ready;
    case ETIMEDOUT: return Code::timed_out;
    case EIO: return Code::corrupt;
    case ENOSYS:
    case EOPNOTSUPP:
    case ENODEV:
    case ENOTTY: return Code::unsupported;
    case EBUSY:
    case ENOTEMPTY:
    case ETXTBSY: return Code::failed_precondition;
    default: return Code::internal;
  }
}

}  // namespace

std::string_view code_name(Code code) {
  switch (code) {
    case Code::invalid_argument: return "invalid_argument";
    case Code::not_found: return "not_found";
    case Code::already_exists: return "already_exists";
    case Code::permission_denied: return "permission_denied";
    case Code::exhausted: return "exhausted";
    case Code::not_ready: return "not_ready";
    case Code::timed_out: return "timed_out";
    case Code::corrupt: return "corrupt";
    case Code::unsupported: return "unsupported";
    case Code::failed_precondition: return "failed_precondition";
    case Code::internal: return "internal";
    case Code::no_driver: return "no_driver";
    case Code::no_device: return "no_device";
    case Code::wrong_device: return "wrong_device";
  }
  return "unknown";
}

std::string Status::message() const {
  if (late_.text == nullptr) return message_;
  std::string text;
  const char* rest = late_.text;
  for (const std::uint64_t number : late_.numbers) {
    const char* const gap = std::strstr(rest, "{}");
    if (gap == nullptr) break;
    text.append(rest, gap).append(std::to_string(number));
    rest = gap + 2;
  }
  return text.append(rest);
}

Status Status::in(std::string_view context) const {
  std::string message(context);
  message += ": ";
  message += this->message();
  return Status(code_, std::move(message), sys_errno_).with_driver_result(driver_result_);
}

std::string Status::to_string() const {
  std::string text(code_name(code_));
  text += ": ";
  text += message();
  return text;
}

Status status_from_errno(int sys_errno, std::string_view what) {
  std::string message(what);
  message += ": ";
  message += std::strerror(sys_errno);
  return Status(code_from_errno(sys_errno), std::move(message), sys_errno);
}

}  // namespace strata::inline v0_1
