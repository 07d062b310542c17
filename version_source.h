// A version in a pool as what copy() takes bytes from.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "pmem/verified_reader.h"
#include "strata/base/byte_source.h"
#include "strata/pmem/checkpoint.h"

namespace strata::inline v0_1 {

// Each block is compared with its checksum as it is read.
class VersionSource final : public ByteSource {
 public:
  // Errors: not_found; failed_precondition for a version without checksums, unless it is wanted
  // `even_if_unverified`.
  static Result<VersionSource> open(const Pool& pool, const std::string& name,
                                    std::uint64_t version, const LoadOptions& options = {});
  std::string name() const override { return reader_.what(); }
  std::optional<std::uint64_t> bytes() const override { return reader_.bytes(); }
  Result<const Content*> content() const override;
  std::uint64_t granule_bytes() const override { return reader_.block_bytes(); }
  Result<void> read(std::uint64_t offset_bytes, std::span<std::byte> into) override;
  std::uint64_t blocks_verified() const override {
    return reader_.has_checksums() ? reader_.block_count() : 0;
  }
  std::uint64_t version() const { return reader_.version(); }

 private:
  explicit VersionSource(VerifiedReader reader)
      : reader_(std::move(reader)), content_(reader_.content()) {}
  VerifiedReader reader_;
  Result<Content> content_;
};

}  // namespace strata::inline v0_1
