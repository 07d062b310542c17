// A DirectoryChange is one change of a pool's directory: all of it happens, or nothing.
//
//     STRATA_ASSIGN(auto change, DirectoryChange::begin(os, path, deadline));
//     STRATA_TRY(change->put(slot, entry));
//     STRATA_TRY(change->commit());
//
//   Threads:  the one that began it. It holds the pool's lock: be quick.
//   Lifetime: destroyed without commit() it leaves everything as it was.
//   Errors:   begin: as PoolFile::open; timed_out with the holder named; corrupt.
//   Cost:     about 10 ms, nearly all of it libpmemobj's open.
//   Persists: yes. A process that dies in the middle leaves the sequence odd; the next change
//             or recover_directory() opens the pool, whereby libpmemobj rolls back or completes
//             the transaction, and makes it even.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "os/os.h"
#include "pmem/object_pool.h"
#include "pmem/pool_file.h"
#include "pmem/pool_format.h"
#include "strata/base/result.h"
#include "strata/os/deadline.h"

namespace strata::inline v0_1 {

// Room for one segment: an object of the heap, and where its parts are in the file.
struct Room {
  std::uint64_t object_offset_bytes = 0;
  std::uint64_t object_bytes = 0;
  std::uint64_t header_offset_bytes = 0;
  std::uint64_t payload_offset_bytes = 0;    // from the header page
  std::uint64_t checksums_offset_bytes = 0;  // 0: none
};

class DirectoryChange {
 public:
  static Result<std::unique_ptr<DirectoryChange>> begin(Os& os, const std::string& path,
                                                        Deadline deadline);
  // Holds the pool's lock and keeps readers waiting, without a transaction: for whoever copies
  // the pool as a whole. Only the functions that look may be called.
  static Result<std::unique_ptr<DirectoryChange>> freeze(Os& os, const std::string& path,
                                                         Deadline deadline);
  ~DirectoryChange();
  DirectoryChange(const DirectoryChange&) = delete;
  DirectoryChange& operator=(const DirectoryChange&) = delete;

  const PoolFile& file() const { return file_; }
  // The same file, whatever has its name by now, opened once more: for locks of its own.
  Result<PoolFile> open_again() const;
  ObjectPool& objects() { return pool_; }
  const ObjectPool& objects() const { return pool_; }
  std::uint32_t slot_count() const { return slot_count_; }
  const DirectoryHead& head() const { return *head_; }
  const DirectoryEntry& entry(std::uint32_t slot) const { return entries_[slot]; }
  // Why the entry must not be used; empty where it is sound.
  std::string problem(std::uint32_t slot) const;

  std::optional<std::uint32_t> find_current(std::string_view name) const;
  // Errors: exhausted, with how many slots there are.
  Result<std::uint32_t> find_free() const;
  // True where a process is attached to the slot's segment, or still fills it.
  Result<bool> is_in_use(std::uint32_t slot) const;

  // Page-aligned; large ones with header and payload at multiples of 2 MiB, so that DAX can map
  // huge pages. The header page is zeroed, the payload is not. Errors: exhausted.
  Result<Room> allocate(std::uint64_t max_bytes, std::uint64_t checksum_count);
  // Signs the entry and writes it, and its copy into the segment's header page.
  Result<void> put(std::uint32_t slot, DirectoryEntry entry);
  // Frees the slot's object and the slot.
  Result<void> release(std::uint32_t slot);
  // Frees what is retired or was staged by a process that is gone, and commits that. Returns how
  // many slots.
  Result<std::uint32_t> sweep();
  // Commits what was done so far and goes on with another transaction: the rest is all or nothing
  // by itself. libpmemobj gives room that was freed out again only after a commit.
  Result<void> commit_part();
  Result<void> set_user_root(std::uint64_t offset_bytes, std::uint64_t bytes);
  Result<void> commit();
  // This file has lost its name to another: whoever still has it open must never believe it.
  void abandon() { is_odd_ = false; }
  // For whoever has just copied the pool by reference: what a change can write must not need a new
  // block. Errors: exhausted; then the copy has to go again.
  Result<void> own_blocks() const;
  // Fails while anybody is attached for writing, or at all, with the holders.
  Result<void> require_no_writers() const;
  Result<void> require_nobody() const;

 private:
  DirectoryChange(PoolFile file, ObjectPool pool);
  static Result<std::unique_ptr<DirectoryChange>> lock(Os& os, const std::string& path,
                                                       Deadline deadline);
  Result<void> start();
  Result<void> commit_transaction();
  void make_even();

  PoolFile file_;
  ObjectPool pool_;
  DirectoryHead* head_ = nullptr;
  IndexEntry* index_ = nullptr;
  DirectoryEntry* entries_ = nullptr;
  std::uint32_t slot_count_ = 0;
  bool is_open_ = false;  // the transaction
  bool is_odd_ = false;   // the sequence, to be made even at the end
};

// Makes the directory of a pool that is left in the middle of a change whole again.
Result<void> recover_directory(Os& os, const std::string& path, Deadline deadline);

// Writes an empty directory of `slots` slots into a new pool.
Result<void> format_directory(Os& os, ObjectPool& pool, std::uint32_t slots);

void sign(DirectoryEntry& entry);

}  // namespace strata::inline v0_1
