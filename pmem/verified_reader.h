// Reading a version of a segment in a pool, block by block.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "pmem/domain.h"
#include "pmem/pool_file.h"
#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/pmem/checkpoint.h"
#include "strata/pmem/pool.h"
#include "strata/segment/header.h"

namespace strata::inline v0_1 {

// A read-only view of a version whose blocks are checked as they are read.
//   Threads:  any.
class VerifiedReader {
 public:
  static Result<VerifiedReader> open(const Pool& pool, const std::string& name,
                                     std::uint64_t version,
                                     Deadline deadline = Deadline::after_ms(10'000));
  // Of a pool that is frozen, so that no lease is needed.
  static Result<VerifiedReader> open_frozen(const PoolFile& file, const DirectoryEntry& entry);
  std::uint64_t bytes() const { return entry_.payload_bytes; }
  std::uint64_t version() const { return entry_.version; }
  bool has_checksums() const { return entry_.checksums_offset_bytes != 0; }
  std::uint64_t block_bytes() const;
  std::uint64_t block_count() const;
  // The bytes of one block. Errors: corrupt, with the block; nothing is returned unverified.
  Result<std::span<const std::byte>> block(std::uint64_t index) const;
  // The same, but the bytes as they are in a version without checksums.
  Result<std::span<const std::byte>> block_if_verifiable(std::uint64_t index) const;
  // Copies the blocks [first, last) into `into`, which is as long, verifying each where there are
  // checksums. Errors: corrupt, with the block; `into` is then unspecified.
  Result<void> copy_blocks(std::uint64_t first, std::uint64_t last,
                           std::span<std::byte> into) const;
  // Copies [offset, offset + into.size()), verifying each block that it touches. Errors: as
  // block().
  Result<void> read(std::uint64_t offset_bytes, std::span<std::byte> into) const;
  const DirectoryEntry& entry() const { return entry_; }
  // "/data/run.pool#mesh version 3", for messages.
  const std::string& what() const { return what_; }
  // Of the pool's file, while the reader holds it open.
  int pool_fd() const { return file_.fd.get(); }
  // The payload without any check.
  std::span<const std::byte> unverified() const;
  const HeaderPage& header() const;
  // What its header says that the payload is. Errors: corrupt, unsupported.
  Result<Content> content() const;
  std::span<const std::uint64_t> checksums() const { return checksums_; }

 private:
  Result<void> map(Os& os, int fd);
  std::uint64_t bytes_of_block(std::uint64_t index) const;

  PoolFile file_;  // holds the lease, if there is one
  DirectoryEntry entry_{};
  std::unique_ptr<Domain> domain_;
  std::span<const std::uint64_t> checksums_;
  std::string what_;
};

// The same as verify_blocks() of a version by its name.
Result<VerifyReport> verify_blocks(const VerifiedReader& reader, unsigned threads = 0);

}  // namespace strata::inline v0_1
