// What every function of <strata/c.h> goes through: errors become codes, exceptions never leave,
// and arguments are looked at before they are used.
//
//     int strata_segment_publish(strata_segment* segment) {
//       return guarded(__func__, [&]() -> Result<void> {
//         STRATA_TRY(check_handle(segment, "segment"));
//         return segment->segment.publish();
//       });
//     }
//
//   Threads:  the last error is the thread's own.
#pragma once

#include <cxxabi.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "strata/base/result.h"
#include "strata/c.h"

namespace strata::inline v0_1::c {

// Keeps what failed for strata_error_message(), and returns its code. Never throws.
int report_failure(const char* function, const Status& status) noexcept;
int report_failure_text(const char* function, Code code, const char* text) noexcept;

template <typename Body>
int guarded(const char* function, Body&& body) {
  try {
    const Result<void> result = body();
    return result ? STRATA_OK : report_failure(function, result.error());
  } catch (const abi::__forced_unwind&) {
    throw;  // a thread that is cancelled: it must end
  } catch (const std::bad_alloc&) {
    return report_failure_text(function, Code::exhausted, "no memory left in this process");
  } catch (const std::exception& thrown) {
    return report_failure_text(function, Code::internal, thrown.what());
  } catch (...) {
    return report_failure_text(function, Code::internal, "an unknown exception");
  }
}

inline int code_of(Code code) { return static_cast<int>(code) + 1; }
// What a callback returned; `internal` for what is no code.
Code code_from(int code);

// What handles begin with: a closed one, or another thing, is told apart as far as its memory says.
template <std::uint64_t kMagicWord>
struct HandleBase {
  static constexpr std::uint64_t kMagic = kMagicWord;
  HandleBase() = default;
  HandleBase(const HandleBase&) = delete;
  HandleBase& operator=(const HandleBase&) = delete;
  ~HandleBase() { magic = 0; }
  // volatile: the last store to it is seen, whatever the optimiser thinks of dead objects.
  volatile std::uint64_t magic = kMagicWord;
};

// Handles are told apart by eight letters.
constexpr std::uint64_t magic_of(const char (&letters)[9]) {
  std::uint64_t word = 0;
  for (int i = 0; i < 8; ++i)
    word |= std::uint64_t{static_cast<unsigned char>(letters[i])} << 8 * i;
  return word;
}

Unexpected is_null(const char* argument);
Unexpected is_no_handle(const char* argument);
Unexpected is_too_large(const char* argument, std::uint64_t value);

inline Result<void> check_pointer(const void* pointer, const char* argument) {
  if (pointer == nullptr) return is_null(argument);
  return {};
}

template <typename T>
Result<void> check_handle(const T* handle, const char* argument) {
  if (handle == nullptr) return is_null(argument);
  if (reinterpret_cast<std::uintptr_t>(handle) % alignof(T) != 0 || handle->magic != T::kMagic)
    return is_no_handle(argument);
  return {};
}

// Ends a handle; what is none is left alone.
template <typename T>
void close_handle(T* handle) {
  if (check_handle(handle, "")) delete handle;
}

Result<std::string_view> text(const char* given, const char* argument);
inline std::string text_or_empty(const char* given) { return given == nullptr ? "" : given; }
Result<std::vector<std::string>> texts(const char* const* given, std::size_t count,
                                       const char* argument);

// Bytes that the caller says are there.
Result<std::span<std::byte>> bytes_at(void* from, std::uint64_t bytes, const char* argument);
Result<std::span<const std::byte>> bytes_at(const void* from, std::uint64_t bytes,
                                            const char* argument);

// Whether a struct of the caller's may be read or written: `size` of it, of which `known` are ours.
Result<void> check_size(std::size_t size, const char* argument);
Result<void> check_unknown(const void* given, std::size_t size, std::size_t known,
                           const char* argument);

// A copy of the caller's options; zeros where there are none. Bytes beyond what this library knows
// must be zero.
template <typename T>
Result<T> read_options(const T* given, const char* argument) {
  T options{};
  if (given == nullptr) return options;
  STRATA_TRY(check_size(given->size, argument));
  STRATA_TRY(check_unknown(given, given->size, sizeof(T), argument));
  std::memcpy(&options, given, std::min(given->size, sizeof(T)));
  return options;
}

// Fills in a struct of the caller's, as far as it reaches; its `size` stays.
template <typename T>
Result<void> check_report(const T* into, const char* argument) {
  if (into == nullptr) return is_null(argument);
  return check_size(into->size, argument);
}
template <typename T>
void fill_report(T* into, T value) {
  value.size = into->size;
  std::memcpy(into, &value, std::min(into->size, sizeof(T)));
}

// A copy that ends with NUL, cut where it does not fit.
template <std::size_t N>
void copy_text(char (&into)[N], std::string_view from) {
  const std::size_t bytes = std::min(from.size(), N - 1);
  std::memcpy(into, from.data(), bytes);
  std::memset(into + bytes, 0, N - bytes);
}

template <typename To, std::size_t N>
void copy_uuid(To (&into)[16], const std::array<std::uint8_t, N>& from) {
  static_assert(N == 16);
  std::copy(from.begin(), from.end(), into);
}

// A number of the caller's as an enumerator: `otherwise` for 0. Errors: invalid_argument.
template <typename Enum>
Result<Enum> enumerator(std::uint32_t value, Enum otherwise, Enum last, const char* argument) {
  if (value == 0) return otherwise;
  if (value > static_cast<std::uint32_t>(last)) return is_too_large(argument, value);
  return static_cast<Enum>(value);
}

}  // namespace strata::inline v0_1::c
