#include "pmem/domain.h"

#include <fmt/format.h>
#include <libpmem2.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>

#include "base/bytes.h"

namespace strata {
namespace {

constexpr int kLibpmem2Errors = PMEM2_E_UNKNOWN;

Granularity from_libpmem2(pmem2_granularity granularity) {
  switch (granularity) {
    case PMEM2_GRANULARITY_BYTE: return Granularity::byte;
    case PMEM2_GRANULARITY_CACHE_LINE: return Granularity::cache_line;
    case PMEM2_GRANULARITY_PAGE: break;
  }
  return Granularity::page;
}

pmem2_granularity to_libpmem2(Granularity granularity) {
  switch (granularity) {
    case Granularity::byte: return PMEM2_GRANULARITY_BYTE;
    case Granularity::cache_line: return PMEM2_GRANULARITY_CACHE_LINE;
    case Granularity::page: break;
  }
  return PMEM2_GRANULARITY_PAGE;
}

Unexpected pmem2_failure(int error, std::string_view what) {
  const std::string detail = fmt::format("{}: {}", what, pmem2_errormsg());
  switch (error) {
    case PMEM2_E_GRANULARITY_NOT_SUPPORTED: return fail(Code::unsupported, detail);
    case PMEM2_E_OFFSET_UNALIGNED:
    case PMEM2_E_LENGTH_UNALIGNED:
    case PMEM2_E_OFFSET_OUT_OF_RANGE:
    case PMEM2_E_LENGTH_OUT_OF_RANGE:
    case PMEM2_E_MAP_RANGE:
    case PMEM2_E_INVALID_FILE_TYPE: return fail(Code::invalid_argument, detail);
    case PMEM2_E_NO_ACCESS: return fail(Code::permission_denied, detail);
    default: break;
  }
  // libpmem2's own errors end at -100000; above it they are negated errnos.
  if (error > kLibpmem2Errors) return unexpected(status_from_errno(-error, detail));
  return fail(Code::internal, detail);
}

// libpmem2's two setup objects, freed in every case.
struct Setup {
  pmem2_source* source = nullptr;
  pmem2_config* config = nullptr;
  ~Setup() {
    if (config != nullptr) pmem2_config_delete(&config);
    if (source != nullptr) pmem2_source_delete(&source);
  }
};

struct Range {
  std::uintptr_t begin;
  std::uintptr_t end;
  void add(const Range& other) {
    begin = std::min(begin, other.begin);
    end = std::max(end, other.end);
  }
};

}  // namespace

std::string_view granularity_name(Granularity granularity) {
  switch (granularity) {
    case Granularity::byte: return "byte";
    case Granularity::cache_line: return "cache line";
    case Granularity::page: break;
  }
  return "page";
}

// Collects what each thread flushed, and lets those who drain together share one msync: while
// one thread syncs, the others join the next batch, and one of them syncs for all.
class Domain::PageSync {
 public:
  explicit PageSync(Os& os) : os_(os) {}

  void flush(Range range) {
    const std::lock_guard lock(mutex_);
    const auto [place, is_new] = flushed_.try_emplace(std::this_thread::get_id(), range);
    if (!is_new) place->second.add(range);
  }

  Result<void> drain() {
    std::unique_lock lock(mutex_);
    const auto mine = flushed_.find(std::this_thread::get_id());
    if (mine == flushed_.end()) return {};
    if (gathering_) {
      gathering_->add(mine->second);
    } else {
      gathering_ = mine->second;
    }
    flushed_.erase(mine);
    const std::uint64_t batch = gathering_batch_;
    changed_.wait(lock, [&] { return done_batch_ >= batch || !is_syncing_; });
    if (done_batch_ < batch) sync(lock);
    const auto failure = failures_.find(batch);
    if (failure == failures_.end()) return {};
    return unexpected(failure->second);
  }

 private:
  // Syncs the gathering batch as its leader.
  void sync(std::unique_lock<std::mutex>& lock) {
    const std::uint64_t batch = gathering_batch_++;
    const Range range = *gathering_;
    gathering_.reset();
    is_syncing_ = true;
    lock.unlock();
    const std::uintptr_t begin = range.begin & ~(kPageBytes - 1);
    auto synced = os_.msync(reinterpret_cast<void*>(begin), range.end - begin, MS_SYNC);
    lock.lock();
    if (!synced) failures_.emplace(batch, synced.error());
    while (failures_.size() > kRememberedFailures)
      failures_.erase(failures_.begin());
    done_batch_ = batch;
    is_syncing_ = false;
    changed_.notify_all();
  }

  static constexpr std::size_t kRememberedFailures = 1024;  // more than threads wait at once

  Os& os_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<std::thread::id, Range> flushed_;
  std::optional<Range> gathering_;
  std::uint64_t gathering_batch_ = 1;
  std::uint64_t done_batch_ = 0;
  bool is_syncing_ = false;
  std::map<std::uint64_t, Status> failures_;
};

Result<std::unique_ptr<Domain>> Domain::map(Os& os, int fd, const DomainRequest& request) {
  Setup setup;
  const std::string what = fmt::format("map {} bytes at {}", request.bytes, request.offset_bytes);
  if (request.bytes == 0 || request.offset_bytes % kPageBytes != 0) {
    return fail(Code::invalid_argument,
                what + ": needs at least one byte, and an offset that is a multiple of 4096");
  }
  if (const int error = pmem2_source_from_fd(&setup.source, fd)) return pmem2_failure(error, what);
  if (const int error = pmem2_config_new(&setup.config)) return pmem2_failure(error, what);
  unsigned protection = PMEM2_PROT_READ;
  if (request.access != Access::read_only) protection |= PMEM2_PROT_WRITE;
  const bool is_private = request.access == Access::copy_on_write;
  // A private mapping is never persisted, so that any medium is fine enough for it.
  const Granularity worst = is_private ? Granularity::page : request.worst_granularity;
  int error = pmem2_config_set_required_store_granularity(setup.config, to_libpmem2(worst));
  if (!error) error = pmem2_config_set_offset(setup.config, request.offset_bytes);
  if (!error) error = pmem2_config_set_length(setup.config, align_up(request.bytes, kPageBytes));
  if (!error) error = pmem2_config_set_protection(setup.config, protection);
  if (!error) {
    error = pmem2_config_set_sharing(setup.config, is_private ? PMEM2_PRIVATE : PMEM2_SHARED);
  }
  if (error) return pmem2_failure(error, what);
  pmem2_map* map = nullptr;
  error = pmem2_map_new(&map, setup.config, setup.source);
  if (error == PMEM2_E_GRANULARITY_NOT_SUPPORTED) {
    return fail(Code::unsupported,
                fmt::format("{}: the medium is coarser than a {}, the worst that the caller "
                            "accepts: {}",
                            what, granularity_name(worst), pmem2_errormsg()));
  }
  if (error) return pmem2_failure(error, what);
  return std::unique_ptr<Domain>(new Domain(os, map, request.access));
}

Domain::Domain(Os& os, pmem2_map* map, Access access)
    : os_(os),
      map_(map),
      access_(access),
      granularity_(from_libpmem2(pmem2_map_get_store_granularity(map))),
      bytes_(static_cast<std::byte*>(pmem2_map_get_address(map)), pmem2_map_get_size(map)),
      flush_lines_(pmem2_get_flush_fn(map)),
      fence_(pmem2_get_drain_fn(map)) {
  if (granularity_ == Granularity::page) page_sync_ = std::make_unique<PageSync>(os);
}

Domain::~Domain() { pmem2_map_delete(&map_); }

void Domain::flush(const void* address, std::size_t bytes) {
  if (access_ != Access::read_write || bytes == 0) return;
  if (!page_sync_) return flush_lines_(address, bytes);
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  page_sync_->flush({begin, begin + bytes});
}

Result<void> Domain::drain() {
  if (access_ != Access::read_write) return {};
  if (page_sync_) return page_sync_->drain();
  fence_();
  return {};
}

Result<void> Domain::deep_flush(const void* address, std::size_t bytes) {
  if (access_ != Access::read_write) return {};
  STRATA_TRY(persist(address, bytes));
  if (page_sync_) return {};  // msync has reached the medium already
  if (const int error = pmem2_deep_flush(map_, const_cast<void*>(address), bytes)) {
    return pmem2_failure(error, "deep flush");
  }
  return {};
}

Result<void> Domain::fault_in(std::span<const std::byte> range) {
  const auto begin = reinterpret_cast<std::uintptr_t>(range.data()) & ~(kPageBytes - 1);
  const auto end = reinterpret_cast<std::uintptr_t>(range.data()) + range.size();
  const int advice = access_ == Access::read_write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  const auto done = os_.madvise(reinterpret_cast<void*>(begin), end - begin, advice);
  if (done) return {};
  const int error = done.error().sys_errno();
  if (error != EFAULT && error != EHWPOISON) return {};
  return fail(Code::corrupt, fmt::format("{} bytes of the medium cannot be {}", range.size(),
                                         access_ == Access::read_write ? "written" : "read"));
}

Result<void> Domain::freeze() {
  STRATA_TRY(os_.mprotect(bytes_.data(), bytes_.size(), PROT_READ));
  access_ = Access::read_only;
  return {};
}

}  // namespace strata
