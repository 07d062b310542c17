// An ObjectPool is a pool opened through libpmemobj: exclusively, for milliseconds, to change
// its directory. While it is open no other process can open it so; direct mappings go on.
//   Threads:  the one that opened it; one transaction at a time.
//   Lifetime: closes, and gives the lock back, at its end.
//   Errors:   open: timed_out with the holder's name where the lock stays taken; corrupt where
//             libpmemobj refuses the pool; permission_denied.
//   Cost:     open and close about 10 ms: libpmemobj reads its heap and replays its logs.
//   Persists: transactions, whole or not at all; opening rolls back what a crash left open.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "os/os.h"
#include "strata/base/result.h"
#include "strata/os/deadline.h"

struct pmemobjpool;

namespace strata::inline v0_1 {

class ObjectPool {
 public:
  static Result<ObjectPool> open(Os& os, const std::string& path, const char* layout,
                                 Deadline deadline);
  // The same, to begin transactions: once more where a killed process had left an extended undo
  // log. Where it was killed while it gave the extension back, libpmemobj 1.12 completes that, but
  // takes the lane's log for as long as it was: the first transaction that needs more than is left
  // crashes. Not for copy-on-write, whose recovery stays in the mapping.
  static Result<ObjectPool> open_to_change(Os& os, const std::string& path, const char* layout,
                                           Deadline deadline);
  // A new file; libpmemobj refuses sizes under 8 MiB. Errors: already_exists, exhausted,
  // invalid_argument. On failure the file is removed.
  static Result<ObjectPool> create(Os& os, const std::string& path, const char* layout,
                                   std::uint64_t pool_bytes, mode_t mode);
  // In a file of zeros that is as long as the pool shall be. Errors: invalid_argument.
  static Result<ObjectPool> create_in_file(const std::string& path, const char* layout);
  ObjectPool(ObjectPool&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)),
        page_class_(other.page_class_),
        is_changing_(other.is_changing_) {}
  ObjectPool& operator=(ObjectPool&&) = delete;
  ~ObjectPool();

  pmemobjpool* get() const { return pool_; }
  // The root object, made with `bytes` zeros where there is none. Errors: corrupt where there is
  // one of another size.
  Result<std::byte*> root(std::uint64_t bytes);
  std::uint64_t root_bytes() const;
  std::byte* at(std::uint64_t offset_bytes) const;

  void persist(const void* address, std::size_t bytes) const;

  // A transaction: begin, then any of the others, then commit or abort. Errors: exhausted.
  Result<void> begin();
  Result<void> snapshot(void* address, std::size_t bytes);
  // New bytes of unspecified content, which the caller itself persists before commit.
  Result<std::uint64_t> allocate(std::uint64_t bytes, std::uint64_t type);
  Result<void> free(std::uint64_t offset_bytes);
  void commit();
  void abort();

  // The offsets and sizes of all objects of the heap but the root.
  struct Object {
    std::uint64_t offset_bytes;
    std::uint64_t bytes;
    std::uint64_t type;
  };
  std::vector<Object> objects() const;

 private:
  explicit ObjectPool(pmemobjpool* pool) : pool_(pool) {}
  static Result<std::optional<ObjectPool>> try_open(Os& os, const std::string& path,
                                                    const char* layout, Deadline deadline);
  Result<unsigned> define_class(std::uint64_t unit_bytes, unsigned units) const;
  Result<unsigned> class_for(std::uint64_t bytes);

  pmemobjpool* pool_;
  unsigned page_class_ = 0;   // of our own allocation classes, once it is defined
  bool is_changing_ = false;  // within a transaction that was begun here
};

// From now on this process opens pools copy-on-write: nothing that libpmemobj does, its recovery
// included, reaches the file. For short-lived children that only look.
void use_copy_on_write();

// "pid 4711 (worker)": who holds the flock on `path` that libpmemobj takes; or that nobody can
// be seen from here. For messages.
std::string describe_pool_holder(Os& os, const std::string& path);

}  // namespace strata::inline v0_1
