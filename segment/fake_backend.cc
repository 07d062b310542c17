#include "segment/fake_backend.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "segment/handle_check.h"
#include "segment/new_identity.h"
#include "segment/segment_file.h"

namespace strata {

Result<Segment> FakeBackend::create(const SegmentUri& uri, const CreateOptions& options) {
  STRATA_TRY(check_name(uri.name));
  if (options.page_size == PageSize::huge_2m || options.page_size == PageSize::huge_1g) {
    return fail(Code::unsupported, "fake: has no hugetlb pages");
  }
  STRATA_ASSIGN(const IdentityBlock identity,
                make_identity(os_, SegmentKind::fake, uri.name, options));
  STRATA_ASSIGN(Fd memory, os_.memfd_create("strata-fake", MFD_ALLOW_SEALING));
  STRATA_TRY(os_.fchmod(memory.get(), options.mode));
  STRATA_TRY(os_.ftruncate(memory.get(), identity.payload_offset_bytes + options.payload_bytes));
  STRATA_TRY(os_.pwrite(memory.get(), make_header_page(identity), 0));
  STRATA_ASSIGN(Fd lease, os_.reopen(memory.get(), O_RDWR));
  STRATA_TRY(os_.try_lock_byte(lease.get(), kLockBaseBytes + kWriterByte, LockKind::shared));
  STRATA_TRY(os_.try_lock_byte(lease.get(), kLockBaseBytes + kCreatorByte, LockKind::exclusive));
  {
    const std::lock_guard lock(names_->mutex);
    if (!names_->files.try_emplace(uri.name, std::move(memory)).second) {
      return fail(Code::already_exists,
                  fmt::format("create {}: the name is taken", uri.to_string()));
    }
  }
  auto made = [&]() -> Result<Segment> {
    STRATA_ASSIGN(auto mapping, FileMapping::create(os_, {std::move(lease), Fd()}, identity));
    if (options.commit == Commit::up_front) STRATA_TRY(mapping->extend(0, options.payload_bytes));
    mapping->set_hooks(detach_hooks(uri.name, identity));
    STRATA_ASSIGN(Segment segment, Segment::adopt(uri, identity, std::move(mapping)));
    if (options.publish == Publish::at_once) STRATA_TRY(segment.publish());
    return segment;
  }();
  if (!made) {
    const std::lock_guard lock(names_->mutex);
    names_->files.erase(uri.name);
    return unexpected(made.error().in("create " + uri.to_string()));
  }
  return made;
}

FileMappingHooks FakeBackend::detach_hooks(const std::string& name, const IdentityBlock& identity) {
  FileMappingHooks hooks;
  const auto lifetime = static_cast<Lifetime>(identity.lifetime);
  if (lifetime != Lifetime::process && lifetime != Lifetime::last_detach) return hooks;
  hooks.on_detach = [&os = os_, names = names_, name] {
    const std::lock_guard lock(names->mutex);
    const auto found = names->files.find(name);
    if (found == names->files.end()) return;
    const auto stat = stat_segment_file(os, found->second.get(), {"fake", {}, name});
    if (stat && judge(*stat, {}).is_orphan) names->files.erase(found);
  };
  return hooks;
}

Result<Fd> FakeBackend::open(const std::string& name, int flags) {
  const std::lock_guard lock(names_->mutex);
  const auto found = names_->files.find(name);
  if (found == names_->files.end()) return fail(Code::not_found, "no such segment");
  return os_.reopen(found->second.get(), flags);
}

Result<Segment> FakeBackend::attach(const SegmentUri& uri, const AttachOptions& options) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in("attach " + uri.to_string()));
  };
  STRATA_TRY(check_name(uri.name));
  auto file = open(uri.name, options.access == Access::read_write ? O_RDWR : O_RDONLY);
  if (!file) return context(file.error());
  auto attached = FileMapping::attach(
      os_, std::move(*file), {},
      {.uri = uri, .access = options.access, .deadline = Deadline::after_ms(options.timeout_ms)});
  if (!attached) return context(attached.error());
  // `populate` is about speed, for which a fake has no use.
  if (attached->identity.lifetime == static_cast<std::uint32_t>(Lifetime::last_detach)) {
    attached->mapping->set_hooks(detach_hooks(uri.name, attached->identity));
  }
  return Segment::adopt(uri, attached->identity, std::move(attached->mapping));
}

Result<Segment> FakeBackend::attach_handle(const Handle& handle, std::vector<Fd>,
                                           const AttachOptions& options) {
  auto segment = [&]() -> Result<Segment> {
    STRATA_TRY(check_handle(handle, {.kind = SegmentKind::fake}, os_, options));
    return attach_by_locator(*this, handle, options);
  }();
  if (!segment) return unexpected(segment.error().in("attach a handle"));
  return segment;
}

Result<SegmentStat> FakeBackend::stat(const SegmentUri& uri) {
  auto file = open(uri.name, O_RDWR);
  if (!file) return unexpected(file.error().in("stat " + uri.to_string()));
  return stat_segment_file(os_, file->get(), uri);
}

Result<void> FakeBackend::remove(const SegmentUri& uri, const RemoveOptions& options) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in("remove " + uri.to_string()));
  };
  auto file = open(uri.name, O_RDWR);
  if (!file) return context(file.error());
  std::optional<ExclusiveLease> lease;
  if (!options.even_if_attached) {
    auto taken = ExclusiveLease::take(os_, file->get());
    if (!taken) return context(taken.error());
    lease.emplace(std::move(*taken));
  }
  mark_retired(os_, file->get());
  const std::lock_guard lock(names_->mutex);
  names_->files.erase(uri.name);
  return {};
}

Result<std::vector<SegmentStat>> FakeBackend::list(std::string_view) {
  std::vector<std::string> all;
  {
    const std::lock_guard lock(names_->mutex);
    for (const auto& [name, file] : names_->files)
      all.push_back(name);
  }
  std::vector<SegmentStat> stats;
  for (const std::string& name : all) {
    if (auto one = stat({"fake", {}, name})) stats.push_back(std::move(*one));
  }
  return stats;
}

Result<std::vector<ReclaimDecision>> FakeBackend::reclaim(const ReclaimOptions& options) {
  STRATA_ASSIGN(const auto stats, list({}));
  std::vector<ReclaimDecision> decisions;
  for (const SegmentStat& stat : stats) {
    ReclaimDecision decision = judge(stat, options);
    if (decision.is_orphan && !options.dry_run) {
      decision.was_reclaimed = remove(stat.uri, {.even_if_attached = true}).has_value();
    }
    decisions.push_back(std::move(decision));
  }
  return decisions;
}

}  // namespace strata
