// Result<T> is a T, or the Status that says why there is none. The compiler warns where one is
// dropped unread; `(void)` says that this is meant.
//
//     Result<Segment> mesh = catalog.attach("shm:mesh");
//     if (!mesh) return unexpected(mesh.error().in("load the mesh"));
//     use(mesh->host_bytes());
//
// STRATA_TRY returns early on failure; STRATA_ASSIGN also binds the value:
//
//     STRATA_TRY(mesh.settle());
//     STRATA_ASSIGN(const auto bytes, mesh.host_bytes());
//
//   Threads:  a value, as T.
//   Errors:   value() throws BadResult where there is none, with the Status as its text. `*` and
//             `->` without a value, and error() with one, are faults of the program: undefined.
//   Cost:     T and Status share their room; success carries no Status.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "strata/base/status.h"
#include "strata/version.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

template <typename T>
class Result;

template <typename T>
inline constexpr bool kIsResult = false;
template <typename T>
inline constexpr bool kIsResult<Result<T>> = true;

// What a function that returns any Result returns on failure.
class [[nodiscard]] Unexpected {
 public:
  explicit Unexpected(Status status) : status_(std::move(status)) {}
  const Status& status() const { return status_; }

 private:
  template <typename T>
  friend class Result;
  Status status_;
};

inline Unexpected unexpected(Status status) { return Unexpected(std::move(status)); }

inline Unexpected fail(Code code, std::string message) {
  return Unexpected(Status(code, std::move(message)));
}

inline Unexpected fail(Code code, const LateMessage& message) {
  return Unexpected(Status(code, message));
}

// value() was asked of a Result that has none.
class BadResult : public std::runtime_error {
 public:
  explicit BadResult(Status status)
      : std::runtime_error(status.to_string()), status_(std::move(status)) {}
  const Status& status() const { return status_; }

 private:
  Status status_;
};

template <typename T>
class [[nodiscard]] Result {
  template <typename U>
  static constexpr bool kIsValue =
      !kIsResult<std::remove_cvref_t<U>> && !std::is_same_v<std::remove_cvref_t<U>, Unexpected>;

 public:
  using value_type = T;

  Result() requires std::is_default_constructible_v<T> : has_value_(true), value_() {}
  template <typename U = T>
  requires(kIsValue<U>&& std::is_constructible_v<T, U>) explicit(!std::is_convertible_v<U, T>)
      Result(U&& value)
      : has_value_(true), value_(std::forward<U>(value)) {}
  Result(Unexpected why) : has_value_(false), error_(std::move(why.status_)) {}
  // Of another type that converts, such as a pointer to what T's points to.
  template <typename U>
  requires(!std::is_same_v<T, U> && std::is_convertible_v<U, T>) Result(Result<U> other)
      : has_value_(other.has_value()) {
    if (has_value_) {
      std::construct_at(std::addressof(value_), *std::move(other));
    } else {
      std::construct_at(std::addressof(error_), std::move(other).error());
    }
  }

  Result(const Result& other) requires std::is_copy_constructible_v<T>
      : has_value_(other.has_value_) {
    take(other);
  }
  Result(Result&& other) noexcept(std::is_nothrow_move_constructible_v<T>)
      : has_value_(other.has_value_) {
    take(std::move(other));
  }
  Result& operator=(const Result& other) requires std::is_copy_constructible_v<T> {
    if (this != &other) *this = Result(other);
    return *this;
  }
  Result& operator=(Result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) {
    if (this == &other) return *this;
    drop();
    has_value_ = other.has_value_;
    take(std::move(other));
    return *this;
  }
  ~Result() { drop(); }

  bool has_value() const { return has_value_; }
  explicit operator bool() const { return has_value_; }

  T& operator*() & { return value_; }
  const T& operator*() const& { return value_; }
  T&& operator*() && { return std::move(value_); }
  T* operator->() { return std::addressof(value_); }
  const T* operator->() const { return std::addressof(value_); }

  T& value() & { return check(), value_; }
  const T& value() const& { return check(), value_; }
  T&& value() && { return check(), std::move(value_); }
  template <typename U>
  T value_or(U&& otherwise) const& {
    return has_value_ ? value_ : static_cast<T>(std::forward<U>(otherwise));
  }
  template <typename U>
  T value_or(U&& otherwise) && {
    return has_value_ ? std::move(value_) : static_cast<T>(std::forward<U>(otherwise));
  }

  Status& error() & { return error_; }
  const Status& error() const& { return error_; }
  Status&& error() && { return std::move(error_); }

 private:
  template <typename Other>
  void take(Other&& other) {
    if (has_value_) {
      std::construct_at(std::addressof(value_), std::forward<Other>(other).value_);
    } else {
      std::construct_at(std::addressof(error_), std::forward<Other>(other).error_);
    }
  }
  void drop() {
    if (has_value_) {
      std::destroy_at(std::addressof(value_));
    } else {
      std::destroy_at(std::addressof(error_));
    }
  }
  void check() const {
    if (!has_value_) throw BadResult(error_);
  }

  bool has_value_;
  union {
    std::remove_const_t<T> value_;
    Status error_;
  };
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() : has_value_(true) {}
  Result(Unexpected why) : has_value_(false), error_(std::move(why.status_)) {}
  Result(const Result& other) : has_value_(other.has_value_) {
    if (!has_value_) std::construct_at(std::addressof(error_), other.error_);
  }
  Result(Result&& other) noexcept : has_value_(other.has_value_) {
    if (!has_value_) std::construct_at(std::addressof(error_), std::move(other.error_));
  }
  Result& operator=(const Result& other) {
    if (this != &other) *this = Result(other);
    return *this;
  }
  Result& operator=(Result&& other) noexcept {
    if (this == &other) return *this;
    drop();
    has_value_ = other.has_value_;
    if (!has_value_) std::construct_at(std::addressof(error_), std::move(other.error_));
    return *this;
  }
  ~Result() { drop(); }

  bool has_value() const { return has_value_; }
  explicit operator bool() const { return has_value_; }

  void value() const {
    if (!has_value_) throw BadResult(error_);
  }

  Status& error() & { return error_; }
  const Status& error() const& { return error_; }
  Status&& error() && { return std::move(error_); }

 private:
  void drop() {
    if (!has_value_) std::destroy_at(std::addressof(error_));
  }

  bool has_value_;
  union {
    Status error_;
  };
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop

#define STRATA_CONCAT_INNER(a, b) a##b
#define STRATA_CONCAT(a, b) STRATA_CONCAT_INNER(a, b)

#define STRATA_TRY(expression)                                    \
  do {                                                            \
    if (auto strata_try = (expression); !strata_try)              \
      return ::strata::unexpected(std::move(strata_try).error()); \
  } while (false)

#define STRATA_ASSIGN(declaration, expression) \
  STRATA_ASSIGN_INNER(STRATA_CONCAT(strata_result_, __LINE__), declaration, expression)

#define STRATA_ASSIGN_INNER(result, declaration, expression)           \
  auto result = (expression);                                          \
  if (!result) return ::strata::unexpected(std::move(result).error()); \
  declaration = *std::move(result)
