// A ByteSource is where bytes come from: a file, a pipe, memory, a segment, a version in a pool.
//   Threads:  read(), view() and lend() any, at once; of a sequential source one, in rising order.
//   Lifetime: what it reads from must outlive it.
//   Errors:   read: failed_precondition where it ends before its length; corrupt where it is
//             verified and wrong; else what the medium said. `into` is then unspecified.
//   Cost:     one virtual call for each piece of a megabyte or more.
// It must hold still while it is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "strata/base/result.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

// Called from several threads, with bytes dealt with since the last call.
using ProgressFn = std::function<void(std::uint64_t bytes)>;

// Bytes that a source has in memory, and what keeps them there.
struct LentBytes {
  std::span<const std::byte> bytes = {};
  std::shared_ptr<const void> keeper = {};
};

struct Content;  // strata/segment/content.h

class ByteSource {
 public:
  // A limit for who knows of none: as much as this machine has memory.
  static constexpr std::uint64_t kAsMemory = ~std::uint64_t{0};

  virtual ~ByteSource() = default;
  // What it is, for messages.
  virtual std::string name() const = 0;
  // How many bytes it has; nothing where that is not known yet.
  virtual std::optional<std::uint64_t> bytes() const = 0;
  // Finds that out, at the price of reading all of it once. It is then not sequential any more.
  // Errors: exhausted over `limit_bytes`, or where there is no room to keep it meanwhile.
  virtual Result<void> find_length(std::uint64_t limit_bytes, const ProgressFn& progress);
  // Whether it can be read once only, from its beginning to its end.
  virtual bool is_sequential() const { return false; }
  // What the bytes are, as it lives; none where it knows nothing of that. Errors: corrupt,
  // unsupported where what says it cannot be understood.
  virtual Result<const Content*> content() const { return nullptr; }
  // Reads that begin at a multiple of it, and are as long, cost least.
  virtual std::uint64_t granule_bytes() const { return 1; }

  virtual Result<void> read(std::uint64_t offset_bytes, std::span<std::byte> into) = 0;
  // The bytes themselves, where they need no copy; else empty.
  virtual std::span<const std::byte> view(std::uint64_t offset_bytes, std::uint64_t bytes) const;
  // The same of a source that brings its bytes to memory of its own, ahead of who asks for them in
  // rising order; empty where it does not, or not as many at once: then read(). A thread keeps no
  // more than one at a time. Errors: as read().
  virtual Result<LentBytes> lend(std::uint64_t offset_bytes, std::uint64_t bytes);
  // After the last byte was read: whether that was all.
  virtual Result<void> finish() { return {}; }
  // How many blocks were compared with checksums, of all that were read.
  virtual std::uint64_t blocks_verified() const { return 0; }
};

inline Result<void> ByteSource::find_length(std::uint64_t, const ProgressFn&) { return {}; }

inline std::span<const std::byte> ByteSource::view(std::uint64_t, std::uint64_t) const {
  return {};
}

inline Result<LentBytes> ByteSource::lend(std::uint64_t, std::uint64_t) { return LentBytes(); }

class SpanSource final : public ByteSource {
 public:
  explicit SpanSource(std::span<const std::byte> content) : content_(content) {}
  std::string name() const override { return "memory"; }
  std::optional<std::uint64_t> bytes() const override { return content_.size(); }
  Result<void> read(std::uint64_t offset_bytes, std::span<std::byte> into) override {
    const auto from = view(offset_bytes, into.size());
    std::memcpy(into.data(), from.data(), from.size());
    return {};
  }
  std::span<const std::byte> view(std::uint64_t offset_bytes, std::uint64_t bytes) const override {
    return content_.subspan(offset_bytes, bytes);
  }

 private:
  std::span<const std::byte> content_;
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
