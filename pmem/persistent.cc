#include "strata/pmem/persistent.h"

#include <fcntl.h>
#include <fmt/format.h>
#define PMEMOBJ_DIRECT_NON_INLINE  // as in object_pool.cc
#include <libpmemobj.h>

#include "base/check.h"
#include "os/os.h"
#include "pmem/file_blocks.h"
#include "pmem/object_pool.h"
#include "pmem/pool_file.h"
#include "pmem/pool_format.h"
#include "pmem/rehearsal.h"

namespace strata::inline v0_1::pmem {
namespace {

static_assert(sizeof(detail::Oid) == sizeof(PMEMoid));

PMEMoid to_pmemoid(const detail::Oid& oid) { return {oid.pool_uuid_lo, oid.offset_bytes}; }
detail::Oid from_pmemoid(const PMEMoid& oid) { return {oid.pool_uuid_lo, oid.off}; }

// The typed root of a Strata pool: its own object, found through the directory's state.
Result<detail::Oid> user_root(ObjectPool& pool, std::size_t bytes) {
  const PMEMoid directory = pmemobj_root(pool.get(), pool.root_bytes());
  auto* head = static_cast<DirectoryHead*>(pmemobj_direct(directory));
  if (head == nullptr || head->header.magic != kDirectoryMagic) {
    return fail(Code::corrupt, "typed root: the pool has no directory");
  }
  if (head->state.user_root_offset_bytes != 0) {
    if (head->state.user_root_bytes != bytes) {
      return fail(Code::corrupt, fmt::format("typed root: has {} bytes, not {}",
                                             head->state.user_root_bytes, bytes));
    }
    return detail::Oid{directory.pool_uuid_lo, head->state.user_root_offset_bytes};
  }
  return fail(Code::not_found,
              "typed root: this Strata pool has none; make it with Pool::make_user_root");
}

}  // namespace

namespace detail {

void* direct(const Oid& oid) { return pmemobj_direct(to_pmemoid(oid)); }

bool is_in_transaction() { return pmemobj_tx_stage() == TX_STAGE_WORK; }

void snapshot(const void* address, std::size_t bytes) {
  if (!is_in_transaction()) {
    // Pointers on the stack are changed freely; within a pool it would not survive.
    STRATA_CHECK(pmemobj_pool_by_ptr(address) == nullptr);
    return;
  }
  if (pmemobj_pool_by_ptr(address) == nullptr) return;
  // Without room for the log the transaction cannot be undone, which is no error to go on after.
  STRATA_CHECK(pmemobj_tx_xadd_range_direct(address, bytes, POBJ_XADD_NO_ABORT) == 0);
}

Result<Oid> allocate(std::size_t bytes, std::uint64_t type) {
  if (!is_in_transaction()) {
    return fail(Code::failed_precondition, "allocate: only within a transaction");
  }
  const PMEMoid oid = pmemobj_tx_xalloc(bytes, type, POBJ_XALLOC_ZERO | POBJ_XALLOC_NO_ABORT);
  if (!OID_IS_NULL(oid)) return from_pmemoid(oid);
  return fail(Code::exhausted, fmt::format("allocate {} bytes: {}", bytes, pmemobj_errormsg()));
}

Result<void> free(const Oid& oid) {
  if (!is_in_transaction()) {
    return fail(Code::failed_precondition, "free: only within a transaction");
  }
  if (pmemobj_tx_xfree(to_pmemoid(oid), POBJ_XFREE_NO_ABORT) == 0) return {};
  return fail(Code::invalid_argument, fmt::format("free: {}", pmemobj_errormsg()));
}

Result<std::shared_ptr<ObjectPool>> open_pool(Os& os, const std::string& path,
                                              const std::string& layout, Deadline deadline) {
  // A typed root in a Strata pool: whoever must not change the pool must not change that.
  if (layout == kPoolLayoutName) STRATA_TRY(PoolFile::open(os, path, Access::read_write));
  {
    STRATA_ASSIGN(const Fd fd, os.open(path, O_RDWR));
    STRATA_ASSIGN(const struct stat facts, os.fstat(fd.get()));
    STRATA_TRY(fill_holes(os, fd.get(), facts, path));
    const FileRange all{0, static_cast<std::uint64_t>(facts.st_size)};
    STRATA_TRY(unshare_blocks(os, fd.get(), all, {}, path));
  }
  STRATA_TRY(rehearse_first_change(os, path, layout, deadline));
  STRATA_ASSIGN(ObjectPool opened, ObjectPool::open_to_change(os, path, layout.c_str(), deadline));
  return std::make_shared<ObjectPool>(std::move(opened));
}

Result<std::shared_ptr<ObjectPool>> create_pool(Os& os, const std::string& path,
                                                const std::string& layout, std::uint64_t bytes,
                                                std::uint32_t mode) {
  if (layout == kPoolLayoutName) {
    return fail(Code::invalid_argument, "create " + path + ": make it with Pool::create");
  }
  STRATA_ASSIGN(ObjectPool made, ObjectPool::create(os, path, layout.c_str(), bytes, mode));
  return std::make_shared<ObjectPool>(std::move(made));
}

Result<Oid> root_of(ObjectPool& pool, const std::string& layout, std::size_t bytes) {
  if (layout == kPoolLayoutName) return user_root(pool, bytes);
  STRATA_TRY(pool.root(bytes));
  return from_pmemoid(pmemobj_root(pool.get(), bytes));
}

}  // namespace detail

Result<void> transaction::run(pool_base& pool, const std::function<Result<void>()>& body) {
  if (detail::is_in_transaction()) return body();
  STRATA_TRY(pool.objects().begin());
  auto done = body();
  if (done) {
    pool.objects().commit();
  } else {
    pool.objects().abort();
  }
  return done;
}

}  // namespace strata::inline v0_1::pmem
