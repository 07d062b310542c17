// Where copy() takes bytes from: files, streams, segments, versions in a pool. Bytes in memory are
// a SpanSource (strata/base/byte_source.h).
//
//     STRATA_ASSIGN(auto file, open_source("mesh.bin"));
//     STRATA_TRY(copy(catalog, *file, "shm:mesh"));
//
//   Threads:  as ByteSource.
//   Lifetime: the Os must outlive them. A segment and a version stay attached while they live.
//   Errors:   as ByteSource, and as each function says.
// A stream is what can be read once: a pipe, a socket, a terminal, a device. Its end is all that it
// tells: whether its writer had finished or died, nobody can say.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "strata/base/byte_source.h"
#include "strata/os/fd.h"
#include "strata/pmem/checkpoint.h"
#include "strata/segment/segment.h"

namespace strata::inline v0_1 {

class Os;

// A file, from where it stands in a regular one that is open; "-" is standard input.
// `bytes`: how long a stream is, so that it need not be kept before it is copied. It must then end
// there. Errors: invalid_argument for a folder, for what is empty, and for a regular file that has
// another length.
Result<std::unique_ptr<ByteSource>> open_source(const std::string& path,
                                                std::optional<std::uint64_t> bytes = {});
Result<std::unique_ptr<ByteSource>> open_source(Os& os, const std::string& path,
                                                std::optional<std::uint64_t> bytes = {});
// The same of an open descriptor.
Result<std::unique_ptr<ByteSource>> open_source(Os& os, Fd fd, const std::string& name,
                                                std::optional<std::uint64_t> bytes = {});

// The payload of any segment, as long as it is now.
class SegmentSource final : public ByteSource {
 public:
  explicit SegmentSource(const Segment& segment);
  std::string name() const override { return segment_.uri().to_string(); }
  std::optional<std::uint64_t> bytes() const override { return bytes_; }
  Result<const Content*> content() const override;
  Result<void> read(std::uint64_t offset_bytes, std::span<std::byte> into) override;
  std::uint64_t granule_bytes() const override { return device_ ? device_->granule_bytes() : 1; }
  std::span<const std::byte> view(std::uint64_t offset_bytes, std::uint64_t bytes) const override;
  Result<LentBytes> lend(std::uint64_t offset_bytes, std::uint64_t bytes) override;

 private:
  Segment segment_;
  std::uint64_t bytes_;
  Result<Content> content_;
  std::span<const std::byte> host_;
  std::unique_ptr<ByteSource> device_;  // where it is in the memory of one
};

// A version in a pool (0: the current one), each block compared with its checksum as it is read.
// Errors: not_found; failed_precondition for a version without checksums, unless it is wanted
// `even_if_unverified`.
Result<std::unique_ptr<ByteSource>> open_version(const Pool& pool, const std::string& name,
                                                 std::uint64_t version,
                                                 const LoadOptions& options = {});

}  // namespace strata::inline v0_1
