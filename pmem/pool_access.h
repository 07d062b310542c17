// What Strata itself needs of a pool beyond what users do: its directory as it stands in the file.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "os/os.h"
#include "pmem/domain.h"
#include "pmem/pool_file.h"
#include "strata/base/result.h"
#include "strata/pmem/pool.h"
#include "strata/segment/header.h"

namespace strata::inline v0_1 {

// One version of one segment, as the directory knows it.
struct PoolEntry {
  std::uint32_t slot = 0;
  DirectoryEntry entry{};
  std::string problem;  // why it must not be used; empty where it is sound
};

// A segment that was found in the directory.
struct LocatedSegment {
  PoolFile file;  // holds the lease
  FoundEntry found;
  // No other process is attached for writing.
  bool is_first_writer = false;
};

// What a StagedSegment is made of.
struct StagedParts {
  std::string name;
  std::uint32_t slot = 0;
  DirectoryEntry entry{};
  bool is_recycled = false;
  bool leaves_spare = false;
  bool must_be_new = false;
  bool is_payload_durable = false;
  SegmentState state = SegmentState::ready;  // when it is published
  std::optional<std::array<std::uint8_t, 16>> taken_uuid;
  std::optional<std::uint32_t> final_keep_versions;
  PoolFile file;  // holds the slot's creator lock
  // The slot that it replaces, where this process itself keeps writers out of it.
  std::optional<std::uint32_t> guarded_slot;
  std::unique_ptr<Domain> domain;  // header, payload, checksums
};

// Those slots of a directory that are not free, by name and then from new to old.
std::vector<PoolEntry> entries_of(const DirectoryCopy& copy);

// Makes the payload range zero, durably, as cheaply as the file system allows.
Result<void> zero_durably(Os& os, int fd, Durability& durability, std::span<std::byte> range,
                          std::uint64_t file_offset_bytes);

}  // namespace strata::inline v0_1
