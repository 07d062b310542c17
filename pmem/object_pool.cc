#include "pmem/object_pool.h"

#include <fmt/format.h>
// A call instead of libpmemobj's own variables, which whoever loads it late does not have.
#define PMEMOBJ_DIRECT_NON_INLINE
#include <libpmemobj.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <sstream>

#include "base/check.h"
#include "os/file_size_limit.h"
#include "os/run_apart.h"
#include "pmem/lane_logs.h"
#include "strata/base/bytes.h"
#include "strata/os/process_identity.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kRetryNs = 500'000;
constexpr int kMostReopens = 100;  // one, but for others that are killed meanwhile
constexpr std::uint64_t kUnitBytes = 4096;
constexpr unsigned kUnitsInRun = 60;  // what fits into a chunk beside its header
constexpr std::uint64_t kCompactHeaderBytes = 16;
constexpr std::uint64_t kWholeChunksFromBytes = MiB(4);

Unexpected obj_failure(int error, const std::string& what) {
  const std::string detail =
      fmt::format("{}: libpmemobj: {}{}", what, pmemobj_errormsg(), file_size_limit_hint(error));
  switch (error) {
    case EINVAL: return Unexpected(Status(Code::corrupt, detail, error));
    case ENOMEM: return Unexpected(Status(Code::exhausted, detail, error));
    default: return Unexpected(Status(status_from_errno(error, what).code(), detail, error));
  }
}

// libpmemobj 1.12 has one lock for opening, making and closing pools, which a child that is started
// meanwhile would wait for without end.
PMEMobjpool* open_alone(const std::string& path, const char* layout) {
  const auto no_children = hold_back_children();
  return pmemobj_open(path.c_str(), layout);
}

PMEMobjpool* create_alone(const std::string& path, const char* layout, std::uint64_t bytes,
                          mode_t mode) {
  const auto no_children = hold_back_children();
  const ExpectFileSizeLimit expected;
  return pmemobj_create(path.c_str(), layout, bytes, mode);
}

}  // namespace

std::string describe_pool_holder(Os& os, const std::string& path) {
  const std::string nobody = "a process that cannot be seen from here";
  const auto facts = os.stat(path);
  const auto locks = os.read_file("/proc/locks");
  if (!facts || !locks) return nobody;
  std::istringstream lines(*locks);
  for (std::string line; std::getline(lines, line);) {
    int pid = 0;
    unsigned major_id = 0, minor_id = 0;
    std::uint64_t inode = 0;
    if (std::sscanf(line.c_str(), "%*u: FLOCK %*s %*s %d %x:%x:%" SCNu64, &pid, &major_id,
                    &minor_id, &inode) != 4) {
      continue;
    }
    if (inode != facts->st_ino || major_id != major(facts->st_dev) ||
        minor_id != minor(facts->st_dev) || pid <= 0) {
      continue;
    }
    return fmt::format("pid {} ({})", pid, read_command_name(os, pid));
  }
  return nobody;
}

void use_copy_on_write() {
  int yes = 1;
  STRATA_CHECK(pmemobj_ctl_set(nullptr, "copy_on_write.at_open", &yes) == 0);
}

// Nothing where another process holds it, and some time of the deadline was slept away.
Result<std::optional<ObjectPool>> ObjectPool::try_open(Os& os, const std::string& path,
                                                       const char* layout, Deadline deadline) {
  if (PMEMobjpool* pool = open_alone(path, layout)) return ObjectPool(pool);
  const int error = errno;
  if (error != EAGAIN) return obj_failure(error, "open " + path);
  if (deadline.expired()) {
    return fail(Code::timed_out, fmt::format("open {}: the pool is held by {}", path,
                                             describe_pool_holder(os, path)));
  }
  os.sleep_ns(kRetryNs);
  return std::nullopt;
}

Result<ObjectPool> ObjectPool::open(Os& os, const std::string& path, const char* layout,
                                    Deadline deadline) {
  while (true) {
    STRATA_ASSIGN(std::optional<ObjectPool> pool, try_open(os, path, layout, deadline));
    if (pool) return std::move(*pool);
  }
}

Result<ObjectPool> ObjectPool::open_to_change(Os& os, const std::string& path, const char* layout,
                                              Deadline deadline) {
  for (int opened = 0; opened < kMostReopens;) {
    STRATA_ASSIGN(const std::vector<UndoLog> before, undo_logs_in_file(os, path));
    STRATA_ASSIGN(std::optional<ObjectPool> pool, try_open(os, path, layout, deadline));
    if (!pool) continue;
    // Where others, who may be dead now, came between the two looks, nobody knows what was found.
    if (!is_any_extended(before) && undo_logs_of(*pool) == before) return std::move(*pool);
    ++opened;
  }
  return fail(Code::corrupt, fmt::format("open {}: its undo logs are other ones after each of {} "
                                         "openings; see `strata pool repair`",
                                         path, kMostReopens));
}

Result<ObjectPool> ObjectPool::create(Os& os, const std::string& path, const char* layout,
                                      std::uint64_t pool_bytes, mode_t mode) {
  if (PMEMobjpool* pool = create_alone(path, layout, pool_bytes, mode)) return ObjectPool(pool);
  const int error = errno;
  auto failure = obj_failure(error, "create " + path);
  if (error != EEXIST) (void)os.unlink(path);
  if (error == EINVAL) return fail(Code::invalid_argument, failure.status().message());
  return failure;
}

Result<ObjectPool> ObjectPool::create_in_file(const std::string& path, const char* layout) {
  if (PMEMobjpool* pool = pmemobj_create(path.c_str(), layout, 0, 0)) return ObjectPool(pool);
  const int error = errno;
  auto failure = obj_failure(error, "make a pool");
  if (error == EINVAL) return fail(Code::invalid_argument, failure.status().message());
  return failure;
}

Result<unsigned> ObjectPool::define_class(std::uint64_t unit_bytes, unsigned units) const {
  pobj_alloc_class_desc description{};
  description.unit_size = unit_bytes;
  description.units_per_block = units;
  description.header_type = POBJ_HEADER_COMPACT;
  if (pmemobj_ctl_set(pool_, "heap.alloc_class.new.desc", &description) != 0) {
    return obj_failure(errno, "define allocation class");
  }
  return description.class_id;
}

// libpmemobj 1.12 takes objects of up to 2 MiB from runs of up to 4 MiB, one for each class of
// sizes, which fill a small pool with next to nothing in it. Ours are of one chunk (256 KiB)
// for objects of some pages, and just large enough for one object else. They exist only while
// the pool is open; what was allocated from them stays valid and can be freed without them.
// Returns 0 for libpmemobj's own choice, which is whole chunks.
Result<unsigned> ObjectPool::class_for(std::uint64_t bytes) {
  const std::uint64_t with_header = bytes + kCompactHeaderBytes;
  if (with_header >= kWholeChunksFromBytes) return 0u;
  if (with_header > kUnitBytes * kUnitsInRun) {
    return define_class(align_up(with_header, kCacheLineBytes), 1);
  }
  if (page_class_ == 0) {
    STRATA_ASSIGN(page_class_, define_class(kUnitBytes, kUnitsInRun));
  }
  return page_class_;
}

ObjectPool::~ObjectPool() {
  if (pool_ == nullptr) return;
  // Only its own: the thread may be within a transaction of another pool.
  if (is_changing_ && pmemobj_tx_stage() == TX_STAGE_WORK) abort();
  const auto no_children = hold_back_children();
  pmemobj_close(pool_);
}

std::uint64_t ObjectPool::root_bytes() const { return pmemobj_root_size(pool_); }

Result<std::byte*> ObjectPool::root(std::uint64_t bytes) {
  const std::uint64_t now = root_bytes();
  if (now != 0 && now != bytes) {
    return fail(Code::corrupt, fmt::format("root object has {} bytes, not {}", now, bytes));
  }
  const PMEMoid oid = pmemobj_root(pool_, bytes);
  if (OID_IS_NULL(oid)) return obj_failure(errno, "make the root object");
  return static_cast<std::byte*>(pmemobj_direct(oid));
}

std::byte* ObjectPool::at(std::uint64_t offset_bytes) const {
  return reinterpret_cast<std::byte*>(pool_) + offset_bytes;
}

void ObjectPool::persist(const void* address, std::size_t bytes) const {
  pmemobj_persist(pool_, address, bytes);
}

Result<void> ObjectPool::begin() {
  if (pmemobj_tx_stage() != TX_STAGE_NONE) {
    return fail(Code::failed_precondition, "this thread is within a libpmemobj transaction");
  }
  if (const int error = pmemobj_tx_begin(pool_, nullptr, TX_PARAM_NONE)) {
    return obj_failure(error, "begin transaction");
  }
  is_changing_ = true;
  return {};
}

// The NO_ABORT flags: libpmemobj's own way out is a longjmp, which must not cross C++ frames.
Result<void> ObjectPool::snapshot(void* address, std::size_t bytes) {
  if (const int error = pmemobj_tx_xadd_range_direct(address, bytes, POBJ_XADD_NO_ABORT)) {
    return obj_failure(error, "snapshot");
  }
  return {};
}

Result<std::uint64_t> ObjectPool::allocate(std::uint64_t bytes, std::uint64_t type) {
  STRATA_ASSIGN(const std::uint64_t class_id, class_for(bytes));
  const PMEMoid oid = pmemobj_tx_xalloc(
      bytes, type, POBJ_XALLOC_NO_FLUSH | POBJ_XALLOC_NO_ABORT | POBJ_CLASS_ID(class_id));
  if (!OID_IS_NULL(oid)) return oid.off;
  return fail(Code::exhausted,
              fmt::format("allocate {} bytes in the pool: {}", bytes, pmemobj_errormsg()));
}

Result<void> ObjectPool::free(std::uint64_t offset_bytes) {
  PMEMoid oid = pmemobj_oid(at(offset_bytes));
  if (const int error = pmemobj_tx_xfree(oid, POBJ_XFREE_NO_ABORT)) {
    return obj_failure(error, "free object");
  }
  return {};
}

void ObjectPool::commit() {
  STRATA_CHECK(pmemobj_tx_stage() == TX_STAGE_WORK);
  pmemobj_tx_commit();
  (void)pmemobj_tx_end();
  is_changing_ = false;
}

void ObjectPool::abort() {
  pmemobj_tx_abort(ECANCELED);
  (void)pmemobj_tx_end();
  is_changing_ = false;
}

std::vector<ObjectPool::Object> ObjectPool::objects() const {
  std::vector<Object> found;
  for (PMEMoid oid = pmemobj_first(pool_); !OID_IS_NULL(oid); oid = pmemobj_next(oid)) {
    found.push_back({oid.off, pmemobj_alloc_usable_size(oid), pmemobj_type_num(oid)});
  }
  return found;
}

}  // namespace strata::inline v0_1
