// Steps that several changes of a pool's directory share.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "pmem/directory_change.h"
#include "strata/base/result.h"
#include "strata/segment/header.h"

namespace strata::inline v0_1 {

// The slot of a sound current entry. Errors: not_found, corrupt.
Result<std::uint32_t> require_current(const DirectoryChange& change, std::string_view name);

// The slots of its previous versions, from new to old.
std::vector<std::uint32_t> previous_versions(const DirectoryChange& change, std::string_view name);

// Releases the slot now, or once nobody is attached any more.
Result<void> let_go(DirectoryChange& change, std::uint32_t slot);

// Makes sure that the name is free. What a creator left behind that died before publishing is no
// segment, and is released; returns whether there was such a thing. Errors: already_exists.
Result<bool> free_name(DirectoryChange& change, std::string_view name);

// Lets go of previous versions beyond the newest `keep`; returns how many.
Result<std::uint32_t> trim_versions(DirectoryChange& change, std::string_view name,
                                    std::uint32_t keep);

// Whether anybody holds a lock on these bytes of the slot's range (segment/lease.h).
Result<bool> is_attached(const DirectoryChange& change, std::uint32_t slot, std::uint64_t byte,
                         std::uint64_t count);

// Whether a segment's header describes the segment that the directory means. Errors: corrupt.
Result<void> check_match(const IdentityBlock& identity, const DirectoryEntry& entry);

}  // namespace strata::inline v0_1
