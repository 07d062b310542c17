// Pool's changes of single segments: remove, rename, roll back, trim. Staging is in stage.cc.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "pmem/directory_change.h"
#include "pmem/pool_internal.h"
#include "strata/base/step.h"
#include "strata/pmem/pool.h"
#include "strata/segment/uri.h"

namespace strata::inline v0_1 {

Result<std::uint32_t> require_current(const DirectoryChange& change, std::string_view name) {
  const auto slot = change.find_current(name);
  if (!slot) {
    return fail(Code::not_found,
                fmt::format("{}: has no segment \"{}\"", change.file().path, name));
  }
  if (const std::string problem = change.problem(*slot); !problem.empty()) {
    return fail(Code::corrupt, fmt::format("{}: slot {}: {}", change.file().path, *slot, problem));
  }
  return *slot;
}

std::vector<std::uint32_t> previous_versions(const DirectoryChange& change, std::string_view name) {
  std::vector<std::uint32_t> slots;
  for (std::uint32_t slot = 0; slot < change.slot_count(); ++slot) {
    const DirectoryEntry& entry = change.entry(slot);
    if (has_state(entry, EntryState::previous) && padded_text(entry.name) == name &&
        change.problem(slot).empty()) {
      slots.push_back(slot);
    }
  }
  std::sort(slots.begin(), slots.end(), [&](std::uint32_t a, std::uint32_t b) {
    return change.entry(a).version > change.entry(b).version;
  });
  return slots;
}

Result<void> let_go(DirectoryChange& change, std::uint32_t slot) {
  STRATA_ASSIGN(const bool is_used, change.is_in_use(slot));
  if (!is_used) return change.release(slot);
  DirectoryEntry entry = change.entry(slot);
  entry.state = static_cast<std::uint32_t>(EntryState::retired);
  return change.put(slot, entry);
}

Result<std::uint32_t> trim_versions(DirectoryChange& change, std::string_view name,
                                    std::uint32_t keep) {
  const std::vector<std::uint32_t> slots = previous_versions(change, name);
  std::uint32_t gone = 0;
  for (std::size_t i = keep; i < slots.size(); ++i, ++gone) {
    STRATA_TRY(let_go(change, slots[i]));
  }
  return gone;
}

Result<bool> is_attached(const DirectoryChange& change, std::uint32_t slot, std::uint64_t byte,
                         std::uint64_t count) {
  const LockRange range = change.file().lock_range(slot);
  return change.file().os->is_range_locked(range.fd, range.base_bytes + byte, count,
                                           LockKind::exclusive);
}

Result<bool> free_name(DirectoryChange& change, std::string_view name) {
  const auto taken = change.find_current(name);
  if (!taken) return false;
  STRATA_TRY(require_current(change, name));
  STRATA_ASSIGN(const bool is_used, change.is_in_use(*taken));
  const auto* page = reinterpret_cast<const HeaderPage*>(
      change.objects().at(change.entry(*taken).header_offset_bytes));
  const std::uint32_t state = page->live.state.value.load(std::memory_order_acquire);
  if (is_used || state != static_cast<std::uint32_t>(SegmentState::initialising)) {
    return fail(Code::already_exists, "the name is taken");
  }
  STRATA_TRY(change.release(*taken));
  return true;
}

namespace {

// Tells those who are attached that the name has gone.
void mark_retired(ObjectPool& objects, const DirectoryEntry& entry) {
  auto* page = reinterpret_cast<HeaderPage*>(objects.at(entry.header_offset_bytes));
  page->live.state.value.store(static_cast<std::uint32_t>(SegmentState::retired),
                               std::memory_order_release);
  objects.persist(&page->live.state, sizeof page->live.state);
}

}  // namespace

Result<void> Pool::remove(const RemoveRequest& request) const {
  const auto context = [&](const Status& status) {
    return unexpected(status.in(fmt::format("remove {}#{}", path_, request.name)));
  };
  auto change = DirectoryChange::begin(*os_, path_, request.deadline);
  if (!change) return context(change.error());
  const auto slot = require_current(**change, request.name);
  if (!slot) return context(slot.error());
  const DirectoryEntry entry = (*change)->entry(*slot);
  const bool is_meant =
      request.uuid == std::array<std::uint8_t, 16>{} || request.uuid == entry.uuid;
  if (!is_meant) {
    return context(Status(Code::not_found, "the name means another segment by now"));
  }
  const auto attached = is_attached(**change, *slot, kReaderByte, 2);
  if (!attached) return context(attached.error());
  if (*attached && !request.even_if_attached) {
    return context(
        Status(Code::failed_precondition,
               "in use by " + describe(find_holders(*os_, (*change)->file().lock_range(*slot)))));
  }
  const auto trimmed = trim_versions(**change, request.name, 0);
  if (!trimmed) return context(trimmed.error());
  if (auto gone = let_go(**change, *slot); !gone) return context(gone.error());
  const bool is_kept = !has_state((*change)->entry(*slot), EntryState::free);
  if (auto done = (*change)->commit(); !done) return context(done.error());
  if (is_kept) mark_retired((*change)->objects(), entry);
  return {};
}

Result<void> Pool::rename(const std::string& from, const std::string& to, Deadline deadline) const {
  const auto context = [&](const Status& status) {
    return unexpected(status.in(fmt::format("rename {}#{} to {}", path_, from, to)));
  };
  if (auto valid = check_name(to); !valid) return context(valid.error());
  auto change = DirectoryChange::begin(*os_, path_, deadline);
  if (!change) return context(change.error());
  const auto slot = require_current(**change, from);
  if (!slot) return context(slot.error());
  if ((*change)->find_current(to))
    return context(Status(Code::already_exists, "the name is taken"));
  std::vector<std::uint32_t> slots = previous_versions(**change, from);
  slots.push_back(*slot);
  for (const std::uint32_t each : slots) {
    DirectoryEntry entry = (*change)->entry(each);
    ObjectPool& objects = (*change)->objects();
    auto* page = reinterpret_cast<HeaderPage*>(objects.at(entry.header_offset_bytes));
    auto identity = read_identity_block(std::as_bytes(std::span(page, 1)));
    if (!identity) return context(identity.error());
    if (auto saved = objects.snapshot(&page->identity, sizeof page->identity); !saved) {
      return context(saved.error());
    }
    identity->name.fill('\0');
    std::copy(to.begin(), to.end(), identity->name.begin());
    sign(*identity);
    std::memcpy(&page->identity, &*identity, sizeof *identity);
    entry.name.fill('\0');
    std::copy(to.begin(), to.end(), entry.name.begin());
    if (auto put = (*change)->put(each, entry); !put) return context(put.error());
  }
  if (auto done = (*change)->commit(); !done) return context(done.error());
  return {};
}

Result<void> Pool::rollback(const std::string& name, std::uint64_t version,
                            Deadline deadline) const {
  const auto context = [&](const Status& status) {
    return unexpected(status.in(fmt::format("roll back {}#{}", path_, name)));
  };
  auto change = DirectoryChange::begin(*os_, path_, deadline);
  if (!change) return context(change.error());
  const auto now = require_current(**change, name);
  if (!now) return context(now.error());
  std::vector<std::uint32_t> slots = previous_versions(**change, name);
  if (version != 0) {
    std::erase_if(slots,
                  [&](std::uint32_t slot) { return (*change)->entry(slot).version != version; });
  }
  if (slots.empty()) {
    return context(Status(Code::not_found, version ? fmt::format("no version {} is kept", version)
                                                   : "no previous version is kept"));
  }
  const auto writers = is_attached(**change, *now, kWriterByte, 1);
  if (!writers) return context(writers.error());
  if (*writers) {
    return context(Status(Code::failed_precondition,
                          "attached for writing by " +
                              describe(find_holders(*os_, (*change)->file().lock_range(*now)))));
  }
  DirectoryEntry replaced = (*change)->entry(*now);
  DirectoryEntry wanted = (*change)->entry(slots.front());
  replaced.state = static_cast<std::uint32_t>(EntryState::previous);
  wanted.state = static_cast<std::uint32_t>(EntryState::current);
  if (auto put = (*change)->put(*now, replaced); !put) return context(put.error());
  if (auto put = (*change)->put(slots.front(), wanted); !put) return context(put.error());
  if (auto done = (*change)->commit(); !done) return context(done.error());
  return {};
}

Result<std::uint32_t> Pool::trim(const std::string& name, std::uint32_t keep,
                                 Deadline deadline) const {
  STRATA_ASSIGN(const auto change, DirectoryChange::begin(*os_, path_, deadline));
  STRATA_TRY(require_current(*change, name));
  STRATA_ASSIGN(const std::uint32_t gone, trim_versions(*change, name, keep));
  STRATA_TRY(change->commit());
  return gone;
}

Result<void> Pool::make_user_root(std::uint64_t bytes, Deadline deadline) const {
  STRATA_ASSIGN(const auto change, DirectoryChange::begin(*os_, path_, deadline));
  if (change->head().state.user_root_offset_bytes != 0) {
    return fail(Code::already_exists, path_ + ": has a typed root");
  }
  STRATA_TRY(change->sweep());
  STRATA_ASSIGN(const std::uint64_t offset, change->objects().allocate(bytes, kUserRootObjectType));
  std::memset(change->objects().at(offset), 0, bytes);
  change->objects().persist(change->objects().at(offset), bytes);
  STRATA_TRY(change->set_user_root(offset, bytes));
  return change->commit();
}

}  // namespace strata::inline v0_1
