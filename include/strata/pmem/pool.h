// A Pool is a file that holds many named segments and survives restarts, kills and power loss.
// It is a standard libpmemobj pool of layout "strata", which `pmempool` understands.
//
//     STRATA_ASSIGN(Pool pool, Pool::create("/data/run.pool", {.bytes = GiB(4)}));
//     STRATA_ASSIGN(auto mesh, pool.stage({.name = "mesh", .payload_bytes = MiB(64)}));
//     ... fill mesh.payload() ...
//     STRATA_TRY(pool.publish_one(std::move(mesh)));
//
// Segments are attached, made and removed one by one through the `pmem:` backend
// (pmem/pmem_backend.h); here is what concerns the pool as a whole.
//   Threads:  any; a Pool holds no lock and no open file.
//   Errors:   every change: timed_out with the holder named while another process holds the pool
//             open through libpmemobj; exhausted when it is full; as PoolFile::open else.
//             Nothing changes on failure.
//   Cost:     reading: microseconds. Changing: about 10 ms, which is libpmemobj's open.
//   Persists: every change, whole or not at all.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "strata/base/bytes.h"
#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/segment/durability.h"
#include "strata/segment/header.h"
#include "strata/segment/options.h"

namespace strata::inline v0_1 {
class Os;  // hidden: declared outside of the pragma
}

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class DirectoryChange;
class NewFile;
struct DirectoryCopy;
struct LocatedSegment;
struct PoolEntry;
struct PoolFile;
struct StagedParts;

inline constexpr std::uint64_t kMinPoolBytes = MiB(8);

struct PoolCreateOptions {
  std::uint64_t bytes = 0;
  // How many segments, with their old versions, it can hold; 0: 2944.
  std::uint32_t slots = 0;
  std::uint32_t mode = 0600;
};

struct StageOptions {
  std::string name;
  std::uint64_t payload_bytes = 0;
  std::uint64_t max_bytes = 0;  // 0: payload_bytes
  // Bytes covered by one checksum, a power of two from 4096; 0: no checksums. With checksums
  // the version is immutable once it is published.
  std::uint32_t checksum_block_bytes = 0;
  // Previous versions to keep when this one is replaced by the next.
  std::uint32_t keep_versions = 0;
  bool zeroed = true;  // false: the caller writes every byte
  // Leave one version more than those to keep, a spare, and take over its room, with the bytes
  // and checksums that stand there, if there is one of the same shape that nobody is attached to.
  // So a staged version that is never published costs none of those to keep.
  bool recycle = false;
  // Refused, now and at publishing, where the name is taken: already_exists.
  bool must_be_new = false;
  Lifetime lifetime = Lifetime::until_removed;
  std::string job_id = {};  // for Lifetime::job
  // The version that it will have; 0: one more than the newest.
  std::uint64_t version = 0;
  Content content = {};
  Deadline deadline = Deadline::after_ms(10'000);
};

// A version of a segment, as the pool's directory has it.
struct PoolVersion {
  std::string name;
  std::uint64_t version = 0;
  std::array<std::uint8_t, 16> uuid{};
  std::uint64_t payload_bytes = 0;
  std::uint64_t max_bytes = 0;
  std::uint64_t published_unix_ns = 0;
  std::uint32_t keep_versions = 0;
  bool is_current = false;    // what the name means; else an older one
  bool is_immutable = false;  // a checkpoint
  bool has_checksums = false;
  std::string problem;  // why it must not be used; empty where it is sound
};

// A new version of a segment, still nameless: this process fills it, then publishes it. If it
// dies before, the pool takes the room back by itself.
//   Threads:  one at a time.
class StagedSegment {
 public:
  StagedSegment(StagedSegment&&) noexcept;
  StagedSegment& operator=(StagedSegment&&) noexcept;
  ~StagedSegment();

  std::span<std::byte> payload() const;
  HeaderPage& header() const;
  Durability& durability() const;
  const std::string& name() const;
  std::span<std::uint64_t> checksums() const;
  std::uint64_t checksum_block_bytes() const;
  std::uint32_t slot() const;
  // Of what was published; 0 before.
  std::uint64_t version() const;
  // The payload is that of an older version, as its checksums say.
  bool is_recycled() const;
  // Copies into the payload the way that is best for a long one. On pages the kernel does it, which
  // spares the faults, and on lines past the cache; those are flushed, and drain() is the caller's.
  // Errors: as pwrite; corrupt where the medium cannot take it.
  Result<void> store(std::uint64_t offset_bytes, std::span<const std::byte> bytes);
  // For what has been stored: the medium may begin with it before publishing waits for it. Promises
  // nothing.
  void start_writeback(std::uint64_t offset_bytes, std::uint64_t bytes);
  // The caller has made the payload durable itself; publishing need not.
  void set_payload_durable();
  // Hashes the payload, which nobody changes any more: published, it is sealed from its beginning.
  Result<void> seal();
  // What the header of a segment in another pool says beyond name and sizes: uuid, lifetime,
  // job, seal, content. Its lock state is of the past. Errors: unsupported where it has features
  // that a writer must know.
  Result<void> take_over(const HeaderPage& header, std::uint32_t keep_versions);
  // For what is built into Strata.
  StagedParts& parts() const { return *parts_; }

 private:
  friend class Pool;
  StagedSegment();
  std::unique_ptr<StagedParts> parts_;
};

class Pool {
 public:
  // A new pool file, complete under its name or not there at all. Of some sizes it gets up to
  // 768 KiB less: see pmem/zones.h. Errors: already_exists, exhausted, invalid_argument under 8
  // MiB.
  static Result<Pool> create(const std::string& path, const PoolCreateOptions& options);
  static Result<Pool> create(Os& os, const std::string& path, const PoolCreateOptions& options);
  // The same in an empty file that has no name yet, for whoever fills the pool first.
  static Result<Pool> create_in(Os& os, const NewFile& file, const PoolCreateOptions& options);
  // Checks that there is such a pool.
  static Result<Pool> open(const std::string& path);
  static Result<Pool> open(Os& os, const std::string& path);

  // Without any check: the first operation finds out.
  static Pool at(Os& os, std::string path) { return Pool(os, std::move(path)); }

  const std::string& path() const { return path_; }
  Os& os() const { return *os_; }

  // A checked copy of the directory.
  Result<DirectoryCopy> directory(Deadline deadline = Deadline::after_ms(10'000)) const;
  // Likewise, but never recovers: not_ready where a change is under way or was left in the middle.
  Result<DirectoryCopy> directory_as_it_is(Deadline deadline) const;
  // All versions of all names, or of one, by name and then from new to old.
  Result<std::vector<PoolVersion>> versions(std::string_view name = {},
                                            Deadline deadline = Deadline::after_ms(10'000)) const;
  // The same for what is built into Strata, with what is only staged.
  Result<std::vector<PoolEntry>> entries(Deadline deadline = Deadline::after_ms(10'000)) const;

  // Finds a segment and takes a lease on it. `version` 0 is the current one. For writing it
  // takes kChangeByte as well, which the caller unlocks once the generation is right.
  Result<LocatedSegment> locate(std::string_view name, std::uint64_t version, Access access,
                                Deadline deadline) const;
  // Finds a segment without taking a lease.
  Result<LocatedSegment> look_up(std::string_view name, Deadline deadline) const;

  Result<StagedSegment> stage(const StageOptions& options) const;
  // Makes all of them the current versions of their names at once: a reader sees all or none,
  // and so does the next start. Readers of the versions before keep them.
  // Errors: failed_precondition where a version to be replaced is attached for writing.
  Result<void> publish(std::span<StagedSegment> staged,
                       Deadline deadline = Deadline::after_ms(10'000)) const;
  // The same, and all of them get one version number, above all that any of their names has had, by
  // which what belongs together is found again. Returns it.
  Result<std::uint64_t> publish_as_one(std::span<StagedSegment> staged,
                                       Deadline deadline = Deadline::after_ms(10'000)) const;
  Result<void> publish_one(StagedSegment staged,
                           Deadline deadline = Deadline::after_ms(10'000)) const;

  struct RemoveRequest {
    std::string name;
    bool even_if_attached = false;
    // Remove only this very segment; all zeros: whichever has the name.
    std::array<std::uint8_t, 16> uuid{};
    Deadline deadline = Deadline::after_ms(10'000);
  };
  Result<void> remove(const RemoveRequest& request) const;
  // Errors: not_found, already_exists, invalid_argument.
  Result<void> rename(const std::string& from, const std::string& to,
                      Deadline deadline = Deadline::after_ms(10'000)) const;
  // In place where the object has room, else by a copy that is swapped in atomically.
  // Errors: failed_precondition while it is attached for writing, or is immutable.
  Result<void> resize(const std::string& name, std::uint64_t new_payload_bytes,
                      Deadline deadline = Deadline::after_ms(10'000)) const;
  // Makes the previous version `version` the current one again; 0: the newest previous one.
  Result<void> rollback(const std::string& name, std::uint64_t version,
                        Deadline deadline = Deadline::after_ms(10'000)) const;
  // Removes previous versions of `name` beyond the newest `keep`. Returns how many went.
  Result<std::uint32_t> trim(const std::string& name, std::uint32_t keep,
                             Deadline deadline = Deadline::after_ms(10'000)) const;
  // Makes an object of zeros that a program which owns the pool alone uses as its typed root
  // (strata/pmem/persistent.h). Errors: already_exists.
  Result<void> make_user_root(std::uint64_t bytes,
                              Deadline deadline = Deadline::after_ms(10'000)) const;
  // Gives back what dead processes staged and what was removed while it was attached.
  Result<std::uint32_t> sweep(Deadline deadline = Deadline::after_ms(10'000)) const;

 private:
  Pool(Os& os, std::string path) : os_(&os), path_(std::move(path)) {}

  Result<std::optional<std::uint32_t>> find_recyclable(const DirectoryChange& change,
                                                       const StageOptions& options) const;
  Result<void> fill_staged(DirectoryChange& change, IdentityBlock identity,
                           const StageOptions& options, StagedSegment& staged) const;
  Result<void> make_durable(StagedSegment& staged) const;
  Result<void> publish_all(std::span<StagedSegment> staged, bool as_one, Deadline deadline) const;
  Result<void> publish_in(DirectoryChange& change, StagedSegment& staged) const;
  Result<bool> grow_in_place(const LocatedSegment& old, std::uint64_t new_payload_bytes,
                             Deadline deadline) const;

  template <typename Read>
  auto read(Access access, Deadline deadline, Read read_from) const
      -> decltype(read_from(std::declval<PoolFile&>()));

  Os* os_;
  std::string path_;
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
