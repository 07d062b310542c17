#include "pmem/domain.h"

#include <fmt/format.h>
#include <libpmem2.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>

#include "strata/base/bytes.h"

namespace strata::inline v0_1 {
namespace {

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

Unexpected libpmem2_failure(int error) {
  const std::string detail = fmt::format("libpmem2: {}", pmem2_errormsg());
  // libpmem2's own errors end at PMEM2_E_UNKNOWN; above it they are negated errnos.
  if (error > PMEM2_E_UNKNOWN) return unexpected(status_from_errno(-error, detail));
  return fail(Code::internal, detail);
}

// libpmem2's objects, freed in every case.
struct Libpmem2 {
  pmem2_source* source = nullptr;
  pmem2_config* config = nullptr;
  pmem2_map* map = nullptr;
  ~Libpmem2() {
    if (map != nullptr) pmem2_map_delete(&map);
    if (config != nullptr) pmem2_config_delete(&config);
    if (source != nullptr) pmem2_source_delete(&source);
  }
};

// What libpmem2 finds when it maps a page of the file itself.
Result<Granularity> probe_granularity(int fd, std::uint64_t offset_bytes) {
  Libpmem2 probe;
  int error = pmem2_source_from_fd(&probe.source, fd);
  if (!error) error = pmem2_config_new(&probe.config);
  if (!error) {
    error = pmem2_config_set_required_store_granularity(probe.config, PMEM2_GRANULARITY_PAGE);
  }
  if (!error) error = pmem2_config_set_offset(probe.config, offset_bytes);
  if (!error) error = pmem2_config_set_length(probe.config, kPageBytes);
  if (!error) error = pmem2_config_set_protection(probe.config, PMEM2_PROT_READ);
  if (!error) error = pmem2_map_new(&probe.map, probe.config, probe.source);
  if (error) return libpmem2_failure(error);
  return from_libpmem2(pmem2_map_get_store_granularity(probe.map));
}

// Whether this platform flushes its caches by itself when the power fails is the same for every
// DAX file. libpmem2 finds it by a walk over /sys/bus/nd, for which it changes the working
// directory of the whole process for a moment: it is asked once.
Result<Granularity> dax_granularity(int fd, std::uint64_t offset_bytes) {
  static std::mutex mutex;
  static std::optional<Granularity> known;
  const std::lock_guard lock(mutex);
  if (!known) {
    STRATA_ASSIGN(known, probe_granularity(fd, offset_bytes));
  }
  return *known;
}

struct SharedMapping {
  std::byte* start;
  bool is_dax;
};

// Only a DAX file can be mapped with MAP_SYNC, which makes its blocks durable before a store can
// reach them.
Result<SharedMapping> map_shared(Os& os, MapRequest request) {
  request.flags = MAP_SHARED_VALIDATE | MAP_SYNC;
  auto synchronous = os.mmap(request);
  if (synchronous) return SharedMapping{*synchronous, true};
  const int error = synchronous.error().sys_errno();
  if (error != EOPNOTSUPP && error != EINVAL) return unexpected(synchronous.error());
  request.flags = MAP_SHARED;
  STRATA_ASSIGN(std::byte* const start, os.mmap(request));
  // libpmem2's own override, which takes any file for persistent memory.
  const bool is_forced = std::getenv("PMEM2_FORCE_GRANULARITY") != nullptr;
  return SharedMapping{start, is_forced};
}

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
  const std::uint64_t bytes = align_up(request.bytes, kPageBytes);
  const auto refuse = [&](Code code, std::string_view why) {
    return fail(code,
                fmt::format("map {} bytes at {}: {}", request.bytes, request.offset_bytes, why));
  };
  if (request.bytes == 0 || request.offset_bytes % kPageBytes != 0) {
    return refuse(Code::invalid_argument,
                  "needs at least one byte, and an offset that is a multiple of 4096");
  }
  STRATA_ASSIGN(const struct stat facts, os.fstat(fd));
  const auto file_bytes = static_cast<std::uint64_t>(facts.st_size);
  if (!S_ISREG(facts.st_mode)) return refuse(Code::invalid_argument, "not a regular file");
  if (request.offset_bytes > file_bytes || bytes > file_bytes - request.offset_bytes) {
    return refuse(Code::invalid_argument, fmt::format("the file has {} bytes", file_bytes));
  }
  MapRequest mapping{.bytes = bytes, .fd = fd, .offset_bytes = request.offset_bytes};
  if (request.access == Access::copy_on_write) {
    mapping.flags = MAP_PRIVATE;
    STRATA_ASSIGN(std::byte* const start, os.mmap(mapping));
    // Never persisted, so that nothing is too coarse for it.
    return std::unique_ptr<Domain>(
        new Domain(os, {start, bytes}, request.access, Granularity::byte));
  }
  if (request.access == Access::read_only) mapping.protection = PROT_READ;
  STRATA_ASSIGN(const SharedMapping shared, map_shared(os, mapping));
  std::unique_ptr<Domain> domain(
      new Domain(os, {shared.start, bytes}, request.access, Granularity::page));
  if (shared.is_dax) {
    STRATA_ASSIGN(domain->granularity_, dax_granularity(fd, request.offset_bytes));
  }
  if (domain->granularity_ > request.worst_granularity) {
    return refuse(Code::unsupported,
                  fmt::format("the medium's unit is a {}, coarser than a {}, the worst that the "
                              "caller accepts",
                              granularity_name(domain->granularity_),
                              granularity_name(request.worst_granularity)));
  }
  STRATA_TRY(domain->prepare_flushes(fd));
  return domain;
}

Domain::Domain(Os& os, std::span<std::byte> bytes, Access access, Granularity granularity)
    : os_(os), bytes_(bytes), access_(access), granularity_(granularity) {}

Result<void> Domain::prepare_flushes(int fd) {
  if (granularity_ == Granularity::page) {
    page_sync_ = std::make_unique<PageSync>(os_);
    return {};
  }
  Libpmem2 lines;
  int error = pmem2_source_from_fd(&lines.source, fd);
  if (!error) {
    error = pmem2_map_from_existing(&lines.map, lines.source, bytes_.data(), bytes_.size(),
                                    to_libpmem2(granularity_));
  }
  if (error) return libpmem2_failure(error);
  map_ = std::exchange(lines.map, nullptr);
  flush_lines_ = pmem2_get_flush_fn(map_);
  copy_lines_ = pmem2_get_memcpy_fn(map_);
  fence_ = pmem2_get_drain_fn(map_);
  return {};
}

Domain::~Domain() {
  if (map_ != nullptr) pmem2_map_delete(&map_);  // leaves the mapping itself
  (void)os_.munmap(bytes_.data(), bytes_.size());
}

void Domain::flush(const void* address, std::size_t bytes) {
  if (access_ != Access::read_write || bytes == 0) return;
  if (!page_sync_) return flush_lines_(address, bytes);
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  page_sync_->flush({begin, begin + bytes});
}

void Domain::copy(void* to, const void* from, std::size_t bytes) {
  if (access_ != Access::read_write || page_sync_) return Durability::copy(to, from, bytes);
  copy_lines_(to, from, bytes, PMEM2_F_MEM_NONTEMPORAL | PMEM2_F_MEM_NODRAIN);
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
    return libpmem2_failure(error);
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

}  // namespace strata::inline v0_1
