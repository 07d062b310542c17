#include "pmem/pool_copy.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "pmem/device_state.h"
#include "pmem/heap_content.h"
#include "pmem/object_pool.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kRetryNs = 500'000;
constexpr std::uint64_t kPieceBytes = MiB(1);
std::string path_of(const Fd& fd) { return fmt::format("/proc/self/fd/{}", fd.get()); }

std::uint64_t bytes_in(const std::vector<FileRange>& ranges) {
  std::uint64_t bytes = 0;
  for (const FileRange& range : ranges)
    bytes += range.end - range.begin;
  return bytes;
}

// Both ascending.
std::vector<FileRange> without(const std::vector<FileRange>& ranges,
                               const std::vector<FileRange>& taken) {
  std::vector<FileRange> left;
  auto next = taken.begin();
  for (const FileRange& range : ranges) {
    std::uint64_t at = range.begin;
    while (next != taken.end() && next->end <= at)
      ++next;
    for (auto each = next; each != taken.end() && each->begin < range.end; ++each) {
      if (each->begin > at) left.push_back({at, each->begin});
      at = std::max(at, each->end);
    }
    if (at < range.end) left.push_back({at, range.end});
  }
  return left;
}

// What the copy can do without. Objects that libpmemobj's tables call free, or not its own, may
// still be the one that the directory is in, where the tables are damaged.
Result<std::vector<FileRange>> content_of(Os& os, int fd, std::uint64_t file_bytes) {
  std::array<std::uint64_t, 4> words{};  // root offset, run id, root bytes, …
  std::uint64_t heap_at = 0;
  STRATA_TRY(os.pread(fd, std::as_writable_bytes(std::span(words)), kObjRootOffsetAt));
  STRATA_TRY(os.pread(fd, std::as_writable_bytes(std::span(&heap_at, 1)), kObjHeapOffsetAt));
  auto content = heap_content(os, fd, file_bytes, heap_at);
  const std::uint64_t root_at = std::min(words[0], file_bytes);
  return without(content, {{root_at, root_at + std::min(words[2], file_bytes - root_at)}});
}

std::vector<FileRange> payloads_of(const PoolFile& file) {
  const auto directory = file.read_all();
  if (!directory) return {};
  return payload_ranges(directory->entries, file.file_bytes);
}

// Half of what the machine can give.
std::uint64_t memory_budget_bytes(Os& os) {
  const auto text = os.read_file("/proc/meminfo");
  unsigned long long available_kib = 0;
  if (text) {
    const std::size_t at = text->find("MemAvailable:");
    if (at != std::string::npos) {
      (void)std::sscanf(text->c_str() + at, "MemAvailable: %llu", &available_kib);
    }
  }
  return available_kib == 0 ? GiB(1) : available_kib * 1024 / 2;
}

Result<void> copy_ranges(Os& os, int from, int to, const std::vector<FileRange>& ranges) {
  std::vector<std::byte> piece(kPieceBytes);
  for (const FileRange& range : ranges) {
    for (std::uint64_t at = range.begin; at < range.end; at += piece.size()) {
      const std::size_t wanted = std::min<std::uint64_t>(piece.size(), range.end - at);
      STRATA_ASSIGN(const std::size_t got, os.pread(from, std::span(piece).first(wanted), at));
      STRATA_TRY(os.pwrite(to, std::span(piece).first(got), at));
      if (got < wanted) break;  // cut short meanwhile
    }
  }
  return {};
}

}  // namespace

std::string PoolCopy::path() const { return path_of(memory_); }

std::string PoolCopy::with_original_name(std::string text) const {
  const std::string name = path();
  for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at)) {
    text.replace(at, name.size(), original_path_);
    at += original_path_.size();
  }
  return text;
}

Result<PoolCopy> PoolCopy::take(Os& os, const std::string& path, Deadline deadline) {
  PoolCopy copy;
  copy.os_ = &os;
  copy.original_path_ = path;
  STRATA_TRY(copy.lock(deadline));
  STRATA_TRY(copy.copy());
  if (!copy.is_interrupted_) STRATA_TRY(os.unlock_file(copy.original_.get()));
  return copy;
}

// libpmemobj holds this lock, exclusively, as long as it has a pool open.
Result<void> PoolCopy::lock(Deadline deadline) {
  while (true) {
    STRATA_ASSIGN(original_, os_->open(original_path_, O_RDONLY | O_NONBLOCK));
    STRATA_ASSIGN(const bool is_mine, os_->try_lock_file(original_.get(), LockKind::shared));
    STRATA_ASSIGN(const auto opened, os_->fstat(original_.get()));
    STRATA_ASSIGN(const auto named, os_->stat(original_path_));
    // A pool grows, and is repaired, by another file that takes its name.
    const bool is_named = opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
    if (is_mine && is_named) return {};
    if (deadline.expired()) {
      return fail(Code::timed_out, fmt::format("{}: is held by {}", original_path_,
                                               describe_pool_holder(*os_, original_path_)));
    }
    os_->sleep_ns(kRetryNs);
  }
}

Result<void> PoolCopy::copy() {
  STRATA_ASSIGN(const auto facts, os_->fstat(original_.get()));
  const auto file_bytes = static_cast<std::uint64_t>(facts.st_size);
  STRATA_ASSIGN(auto ranges, os_->data_extents(original_.get(), {0, file_bytes}));
  STRATA_ASSIGN(const auto content, content_of(*os_, original_.get(), file_bytes));
  ranges = without(ranges, content);
  if (const auto file = PoolFile::open(*os_, path_of(original_), Access::read_only)) {
    ranges = without(ranges, payloads_of(*file));
    is_interrupted_ = file->is_changing().value_or(false);
  }
  const std::uint64_t wanted = bytes_in(ranges), budget = memory_budget_bytes(*os_);
  if (wanted > budget) {
    return fail(Code::exhausted,
                fmt::format("{}: {} of small objects have to be copied into memory, and only {} "
                            "are there for it",
                            original_path_, format_bytes(wanted), format_bytes(budget)));
  }
  STRATA_ASSIGN(memory_, os_->memfd_create("strata pool", 0));
  STRATA_TRY(os_->ftruncate(memory_.get(), file_bytes));
  STRATA_TRY(copy_ranges(*os_, original_.get(), memory_.get(), ranges));
  std::uint32_t features = 0;
  STRATA_TRY(os_->pread(memory_.get(), std::as_writable_bytes(std::span(&features, 1)),
                        kObjIncompatibleFeaturesAt));
  if ((features & kObjHasDeviceState) != 0) {
    // That of the pool's own device would say of the copy's that it failed.
    const std::array<std::byte, kObjDeviceStateBytes> none{};
    STRATA_TRY(os_->pwrite(memory_.get(), none, kObjDeviceStateAt));
  }
  // Children open it by name; without /proc they could not, which would look like damage.
  STRATA_TRY(os_->stat(path()));
  return {};
}

Result<void> PoolCopy::declare_recovered() {
  STRATA_ASSIGN(const PoolFile file, PoolFile::open(*os_, path(), Access::read_only));
  const std::uint64_t at = file.directory_offset_bytes + offsetof(DirectoryHead, sequence);
  std::uint64_t sequence = 0;
  STRATA_TRY(os_->pread(memory_.get(), std::as_writable_bytes(std::span(&sequence, 1)), at));
  sequence = (sequence | 1) + 1;
  STRATA_TRY(os_->pwrite(memory_.get(), std::as_bytes(std::span(&sequence, 1)), at));
  return {};
}

}  // namespace strata::inline v0_1
