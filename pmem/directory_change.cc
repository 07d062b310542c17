#include "pmem/directory_change.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <atomic>
#include <cstring>

#include "base/check.h"
#include "base/crc32c.h"
#include "pmem/file_blocks.h"
#include "pmem/rehearsal.h"
#include "strata/base/bytes.h"
#include "strata/base/step.h"
#include "strata/os/deadline.h"
#include "strata/segment/header.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kHugePageBytes = MiB(2);
// Below this the 4 MiB that the alignment costs would be too much of the whole.
constexpr std::uint64_t kAlignHugeFromBytes = MiB(32);

template <typename T>
std::uint32_t crc_before(const T& object, std::size_t end) {
  return crc32c(std::as_bytes(std::span(&object, 1)).first(end));
}

// The blocks of payloads are owned by who attaches for writing.
Result<void> own_blocks_to_change(const PoolFile& file) {
  std::vector<FileRange> payloads;
  // A directory that was left in the middle of a change tells nothing.
  if (const auto directory = file.read_all()) {
    payloads = payload_ranges(directory->entries, file.file_bytes);
  }
  return unshare_blocks(*file.os, file.fd.get(), {0, file.file_bytes}, payloads, file.path);
}

}  // namespace

void sign(DirectoryEntry& entry) {
  entry.crc32c = crc_before(entry, offsetof(DirectoryEntry, crc32c));
}

DirectoryChange::DirectoryChange(PoolFile file, ObjectPool pool)
    : file_(std::move(file)), pool_(std::move(pool)) {}

Result<std::unique_ptr<DirectoryChange>> DirectoryChange::begin(Os& os, const std::string& path,
                                                                Deadline deadline) {
  STRATA_ASSIGN(auto change, lock(os, path, deadline));
  STRATA_TRY(change->pool_.begin());
  change->is_open_ = true;
  return change;
}

Result<std::unique_ptr<DirectoryChange>> DirectoryChange::freeze(Os& os, const std::string& path,
                                                                 Deadline deadline) {
  return lock(os, path, deadline);
}

Result<std::unique_ptr<DirectoryChange>> DirectoryChange::lock(Os& os, const std::string& path,
                                                               Deadline deadline) {
  while (true) {
    STRATA_ASSIGN(PoolFile before, PoolFile::open(os, path, Access::read_write));
    STRATA_TRY(own_blocks_to_change(before));
    // Once there are no holes: tmpfs gives a block to one of which a private copy is made, and
    // where it has none the child would die as of damage.
    STRATA_TRY(rehearse_first_change(os, path, kPoolLayoutName, deadline));
    STRATA_ASSIGN(ObjectPool pool, ObjectPool::open_to_change(os, path, kPoolLayoutName, deadline));
    STRATA_ASSIGN(PoolFile after, PoolFile::open(os, path, Access::read_write));
    STRATA_ASSIGN(const auto first, os.fstat(before.fd.get()));
    STRATA_ASSIGN(const auto second, os.fstat(after.fd.get()));
    // A pool grows by being renamed over: do not change the one that has no name any more.
    if (first.st_ino != second.st_ino || first.st_dev != second.st_dev) continue;
    std::unique_ptr<DirectoryChange> change(new DirectoryChange(std::move(after), std::move(pool)));
    STRATA_TRY(change->start());
    return change;
  }
}

Result<void> DirectoryChange::start() {
  head_ = reinterpret_cast<DirectoryHead*>(pool_.at(file_.directory_offset_bytes));
  if (auto sound = check_head(*head_); !sound) return unexpected(sound.error().in(file_.path));
  slot_count_ = head_->header.slot_count;
  if (pool_.root_bytes() != directory_bytes(slot_count_)) {
    return fail(Code::corrupt, fmt::format("{}: its root object has {} bytes, not {}", file_.path,
                                           pool_.root_bytes(), directory_bytes(slot_count_)));
  }
  auto* start = reinterpret_cast<std::byte*>(head_);
  index_ = reinterpret_cast<IndexEntry*>(start + directory_index_offset());
  entries_ = reinterpret_cast<DirectoryEntry*>(start + directory_entries_offset(slot_count_));
  if (crc32c(std::as_bytes(std::span(index_, slot_count_))) != head_->state.index_crc32c) {
    return fail(Code::corrupt, file_.path + ": the crc of its directory's index is wrong");
  }
  // Odd first, and durably: from here until the transaction is over, nobody may believe what
  // stands in the entries, even if this process dies.
  std::atomic_ref sequence(head_->sequence.value);
  sequence.store(sequence.load() | 1);
  pool_.persist(&head_->sequence, sizeof head_->sequence);
  STRATA_STEP("directory: sequence odd");
  is_odd_ = true;
  return {};
}

DirectoryChange::~DirectoryChange() {
  if (is_open_) pool_.abort();
  STRATA_STEP("directory: nothing open");
  if (is_odd_) make_even();
}

void DirectoryChange::make_even() {
  std::atomic_ref sequence(head_->sequence.value);
  sequence.store((sequence.load() | 1) + 1);
  pool_.persist(&head_->sequence, sizeof head_->sequence);
  is_odd_ = false;
}

Result<void> DirectoryChange::require_no_writers() const {
  for (std::uint32_t slot = 0; slot < slot_count_; ++slot) {
    if (has_state(entries_[slot], EntryState::free)) continue;
    const LockRange range = file_.lock_range(slot);
    STRATA_ASSIGN(const bool is_held,
                  file_.os->is_range_locked(range.fd, range.base_bytes + kWriterByte, 2,
                                            LockKind::exclusive));
    if (!is_held) continue;
    return fail(Code::failed_precondition,
                fmt::format("{} is attached for writing by {}", padded_text(entries_[slot].name),
                            describe(find_holders(*file_.os, range))));
  }
  return {};
}

Result<void> DirectoryChange::own_blocks() const {
  const auto payloads = payload_ranges({entries_, slot_count_}, file_.file_bytes);
  return unshare_blocks(*file_.os, file_.fd.get(), {0, file_.file_bytes}, payloads, file_.path);
}

Result<void> DirectoryChange::require_nobody() const {
  for (std::uint32_t slot = 0; slot < slot_count_; ++slot) {
    if (has_state(entries_[slot], EntryState::free)) continue;
    STRATA_ASSIGN(const bool is_used, is_in_use(slot));
    if (!is_used) continue;
    return fail(Code::failed_precondition,
                fmt::format("{} is in use by {}", padded_text(entries_[slot].name),
                            describe(find_holders(*file_.os, file_.lock_range(slot)))));
  }
  return {};
}

Result<PoolFile> DirectoryChange::open_again() const {
  PoolFile again;
  again.os = file_.os;
  again.path = file_.path;
  STRATA_ASSIGN(again.fd, file_.os->reopen(file_.fd.get(), O_RDWR));
  again.file_bytes = file_.file_bytes;
  again.directory_offset_bytes = file_.directory_offset_bytes;
  return again;
}

Result<void> DirectoryChange::commit() {
  STRATA_TRY(commit_transaction());
  make_even();
  STRATA_STEP("directory: sequence even");
  return {};
}

Result<void> DirectoryChange::commit_part() {
  STRATA_TRY(commit_transaction());
  STRATA_TRY(pool_.begin());
  is_open_ = true;
  return {};
}

Result<void> DirectoryChange::commit_transaction() {
  DirectoryState& state = head_->state;
  STRATA_TRY(pool_.snapshot(&state, sizeof state));
  state.changes += 1;
  state.used_slots = 0;
  for (std::uint32_t slot = 0; slot < slot_count_; ++slot) {
    state.used_slots += has_state(entries_[slot], EntryState::free) ? 0 : 1;
  }
  state.index_crc32c = crc32c(std::as_bytes(std::span(index_, slot_count_)));
  state.crc32c = crc_before(state, offsetof(DirectoryState, crc32c));
  STRATA_STEP("directory: before commit");
  pool_.commit();
  is_open_ = false;
  STRATA_STEP("directory: committed");
  return {};
}

std::string DirectoryChange::problem(std::uint32_t slot) const {
  const DirectoryEntry& entry = entries_[slot];
  if (crc32c(std::as_bytes(std::span(&entry, 1))) != index_[slot].entry_crc32c) {
    return "the crc of its directory entry is wrong";
  }
  if (auto sound = check_entry(entry, file_.file_bytes); !sound) return sound.error().message();
  return {};
}

std::optional<std::uint32_t> DirectoryChange::find_current(std::string_view name) const {
  const std::uint32_t hash = hash_name(name);
  for (std::uint32_t slot = 0; slot < slot_count_; ++slot) {
    if (index_[slot].name_hash == hash && has_state(entries_[slot], EntryState::current) &&
        padded_text(entries_[slot].name) == name) {
      return slot;
    }
  }
  return std::nullopt;
}

Result<std::uint32_t> DirectoryChange::find_free() const {
  for (std::uint32_t slot = 0; slot < slot_count_; ++slot) {
    if (index_[slot].name_hash == 0 && has_state(entries_[slot], EntryState::free)) return slot;
  }
  return fail(Code::exhausted, fmt::format("{}: all {} slots of its directory are taken: remove "
                                           "segments or old versions",
                                           file_.path, slot_count_));
}

Result<bool> DirectoryChange::is_in_use(std::uint32_t slot) const {
  const LockRange range = file_.lock_range(slot);
  return file_.os->is_range_locked(range.fd, range.base_bytes, kLockRangeBytes,
                                   LockKind::exclusive);
}

Result<Room> DirectoryChange::allocate(std::uint64_t max_bytes, std::uint64_t checksum_count) {
  const std::uint64_t alignment = max_bytes >= kAlignHugeFromBytes ? kHugePageBytes : kPageBytes;
  if (max_bytes > file_.file_bytes || checksum_count > max_bytes) {
    return fail(Code::exhausted,
                fmt::format("{}: {} do not fit into a pool of {}: grow it", file_.path,
                            format_bytes(max_bytes), format_bytes(file_.file_bytes)));
  }
  const std::uint64_t room = align_up(max_bytes, kPageBytes);
  const std::uint64_t checksums = align_up(checksum_count * 8, kPageBytes);
  const std::uint64_t bytes = alignment + room + checksums + alignment;
  auto object = pool_.allocate(bytes, kSegmentObjectType);
  if (!object) {
    return fail(Code::exhausted,
                fmt::format("{}: no {} in one piece are free in this pool of {}: remove segments "
                            "or old versions, or grow it ({})",
                            file_.path, format_bytes(bytes), format_bytes(file_.file_bytes),
                            object.error().message()));
  }
  Room made;
  made.object_offset_bytes = *object;
  made.object_bytes = bytes;
  made.header_offset_bytes = align_up(*object, alignment);
  made.payload_offset_bytes = alignment;
  const std::uint64_t payload = made.header_offset_bytes + alignment;
  if (checksum_count > 0) made.checksums_offset_bytes = payload + room;
  std::memset(pool_.at(made.header_offset_bytes), 0, kHeaderBytes);
  pool_.persist(pool_.at(made.header_offset_bytes), kHeaderBytes);
  return made;
}

Result<void> DirectoryChange::put(std::uint32_t slot, DirectoryEntry entry) {
  STRATA_CHECK(slot < slot_count_);
  const bool is_free = has_state(entry, EntryState::free);
  sign(entry);
  STRATA_TRY(pool_.snapshot(&entries_[slot], sizeof entry));
  STRATA_TRY(pool_.snapshot(&index_[slot], sizeof index_[slot]));
  entries_[slot] = entry;
  STRATA_STEP("directory: entry written");
  index_[slot].entry_crc32c = crc32c(std::as_bytes(std::span(&entry, 1)));
  index_[slot].name_hash = is_free ? 0 : hash_name(padded_text(entry.name));
  if (is_free) return {};
  auto* page = reinterpret_cast<HeaderPage*>(pool_.at(entry.header_offset_bytes));
  static_assert(sizeof page->backend == sizeof entry);
  STRATA_TRY(pool_.snapshot(&page->backend, sizeof page->backend));
  std::memcpy(&page->backend, &entry, sizeof entry);
  return {};
}

Result<void> DirectoryChange::release(std::uint32_t slot) {
  // Whoever searches the file for segments must not find this one any more.
  auto* page = reinterpret_cast<HeaderPage*>(pool_.at(entries_[slot].header_offset_bytes));
  STRATA_TRY(pool_.snapshot(&page->backend, sizeof page->backend));
  page->backend.fill(0);
  STRATA_TRY(pool_.free(entries_[slot].object_offset_bytes));
  return put(slot, DirectoryEntry{});
}

Result<std::uint32_t> DirectoryChange::sweep() {
  std::uint32_t released = 0;
  for (std::uint32_t slot = 0; slot < slot_count_; ++slot) {
    if (!has_state(entries_[slot], EntryState::staged) &&
        !has_state(entries_[slot], EntryState::retired)) {
      continue;
    }
    if (!problem(slot).empty()) continue;
    STRATA_ASSIGN(const bool is_used, is_in_use(slot));
    if (is_used) continue;
    STRATA_TRY(release(slot));
    ++released;
  }
  if (released != 0) STRATA_TRY(commit_part());
  return released;
}

Result<void> DirectoryChange::set_user_root(std::uint64_t offset_bytes, std::uint64_t bytes) {
  STRATA_TRY(pool_.snapshot(&head_->state, sizeof head_->state));
  head_->state.user_root_offset_bytes = offset_bytes;
  head_->state.user_root_bytes = bytes;
  return {};
}

Result<void> recover_directory(Os& os, const std::string& path, Deadline deadline) {
  // Beginning lets libpmemobj recover; ending makes the sequence even. Nothing else changes.
  STRATA_ASSIGN(const auto change, DirectoryChange::begin(os, path, deadline));
  return {};
}

Result<void> format_directory(Os& os, ObjectPool& pool, std::uint32_t slots) {
  STRATA_ASSIGN(std::byte* const root, pool.root(directory_bytes(slots)));
  auto& head = *reinterpret_cast<DirectoryHead*>(root);
  DirectoryHeader& header = head.header;
  header.magic = kDirectoryMagic;
  header.version_major = kDirectoryVersionMajor;
  header.version_minor = kDirectoryVersionMinor;
  header.header_bytes = sizeof(DirectoryHead);
  header.slot_count = slots;
  header.entry_bytes = sizeof(DirectoryEntry);
  STRATA_TRY(os.get_random(std::as_writable_bytes(std::span(header.pool_uuid))));
  header.index_offset_bytes = directory_index_offset();
  header.entries_offset_bytes = directory_entries_offset(slots);
  header.byte_order_mark = kByteOrderMark;
  header.created_unix_ns = unix_ns();
  header.crc32c = crc_before(header, offsetof(DirectoryHeader, crc32c));
  head.sequence.value = 2;
  DirectoryEntry free_entry{};
  sign(free_entry);
  const std::uint32_t free_crc = crc32c(std::as_bytes(std::span(&free_entry, 1)));
  auto* index = reinterpret_cast<IndexEntry*>(root + directory_index_offset());
  for (std::uint32_t slot = 0; slot < slots; ++slot)
    index[slot] = {0, free_crc};
  head.state.index_crc32c = crc32c(std::as_bytes(std::span(index, slots)));
  head.state.crc32c = crc_before(head.state, offsetof(DirectoryState, crc32c));
  auto* entries = reinterpret_cast<DirectoryEntry*>(root + directory_entries_offset(slots));
  std::fill_n(entries, slots, free_entry);
  pool.persist(root, directory_bytes(slots));
  return {};
}

}  // namespace strata::inline v0_1
