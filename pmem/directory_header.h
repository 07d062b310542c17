// What a directory's header says of who may use its pool: nobody but a later program, or that one
// and readers. The header never changes, and stays where it is in every version of the format.
//   Threads:  any.
//   Errors:   corrupt where it is damaged, whatever it then says; unsupported, with the version or
//             the bits, where it is sound and of a later program.
//   Cost:     check_*: nothing. require_known: a read, and a search of the file where nothing leads
//             to the directory.
//   Persists: nothing.
#pragma once

#include <cstdint>
#include <functional>

#include "os/os.h"
#include "pmem/pool_file.h"
#include "pmem/pool_format.h"
#include "strata/base/result.h"

namespace strata::inline v0_1 {

// For whoever reads the pool.
Result<void> check_header(const DirectoryHeader& header);
// For whoever changes it, beyond that.
Result<void> check_changeable(const DirectoryHeader& header);

// Those features without which the pool can be read, and not changed.
std::uint64_t unknown_read_only_features(const DirectoryHeader& header);

// For whoever makes another pool of what is left of a damaged one, of any open_unchecked() file:
// where its directory's header is sound, that must be one to read and to change. A header that is
// damaged, or that cannot be found, says nothing.
Result<void> require_known(const PoolFile& file);

// Whether there is a place in the file where a directory seems to begin, and that `is_meant`.
Result<bool> any_directory(Os& os, int fd, std::uint64_t file_bytes,
                           const std::function<bool(std::uint64_t at)>& is_meant);

}  // namespace strata::inline v0_1
