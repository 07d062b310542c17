#include "segment/fake_backend.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "segment/handle_check.h"
#include "segment/new_identity.h"
#include "strata/segment/reclaim.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::string_view kNoHostBytes = "the host cannot address it: read() and write() copy";

// A payload that is there, but that the host only reaches through the kernel.
class CopiedPayload final : public Payload {
 public:
  explicit CopiedPayload(std::unique_ptr<FilePayload> file) : file_(std::move(file)) {}

  Result<std::byte*> host_bytes() override {
    return fail(Code::unsupported, std::string(kNoHostBytes));
  }
  Result<void> read(std::uint64_t offset_bytes, std::span<std::byte> into) override {
    STRATA_ASSIGN(const std::size_t got,
                  os().pread(file_->fd(), into, file_->offset_bytes() + offset_bytes));
    if (got == into.size()) return {};
    return fail(Code::corrupt, fmt::format("{} of {} bytes exist", got, into.size()));
  }
  Result<void> write(std::uint64_t offset_bytes, std::span<const std::byte> from) override {
    STRATA_TRY(os().pwrite(file_->fd(), from, file_->offset_bytes() + offset_bytes));
    return {};
  }
  Result<std::uint64_t> existing_bytes() override { return file_->existing_bytes(); }
  Result<void> extend(std::uint64_t from_bytes, std::uint64_t to_bytes) override {
    return file_->extend(from_bytes, to_bytes);
  }
  Result<void> check_may_freeze() override { return file_->check_may_freeze(); }
  Result<void> freeze(const std::function<Result<void>()>& record) override {
    return file_->freeze(record);
  }

 private:
  Os& os() const { return file_->plane().os(); }
  std::unique_ptr<FilePayload> file_;
};

}  // namespace

const Capabilities& FakeBackend::capabilities() const {
  static const Capabilities of_host =
      Capabilities()
          .without(Capability::device_bytes, "it is host memory")
          .without(Capability::migrate, "a fake is on whatever node it is")
          .without(Capability::huge_pages, "a fake has none")
          .without(Capability::persist, "a fake is volatile")
          .without(Capability::anonymous, "a fake has names alone");
  static const Capabilities of_copies = Capabilities(of_host)
                                            .without(Capability::host_bytes, kNoHostBytes)
                                            .without(Capability::heap, kNoHostBytes)
                                            .without(Capability::copy_on_write, kNoHostBytes);
  return options_.reach == FakeOptions::Reach::host ? of_host : of_copies;
}

AttachmentParts FakeBackend::parts(const SegmentUri& uri, FilePayload::Mapped mapped) {
  if (options_.reach == FakeOptions::Reach::host) return parts_of(uri, std::move(mapped));
  return {.uri = uri,
          .identity = mapped.identity,
          .plane = std::move(mapped.plane),
          .payload = std::make_unique<CopiedPayload>(std::move(mapped.payload)),
          .existing_bytes = mapped.existing_bytes};
}

Result<Segment> FakeBackend::finish(const SegmentUri& uri, std::unique_ptr<HeaderPlane> plane,
                                    const IdentityBlock& identity, const CreateOptions& options) {
  STRATA_ASSIGN(auto mapped, FilePayload::create(std::move(plane), Fd(), identity));
  if (options.commit == Commit::up_front) {
    STRATA_TRY(mapped.payload->extend(0, options.payload_bytes));
  }
  AttachmentParts made = parts(uri, std::move(mapped));
  made.on_detach = on_detach(uri.name, identity);
  STRATA_ASSIGN(Segment segment, Segment::adopt(std::move(made)));
  if (options.publish == Publish::at_once) STRATA_TRY(segment.publish());
  return segment;
}

Result<Segment> FakeBackend::do_create(const SegmentUri& uri, const CreateOptions& options) {
  STRATA_ASSIGN(const IdentityBlock identity,
                make_identity(os_, SegmentKind::fake, uri.name, options));
  STRATA_ASSIGN(Fd memory, os_.memfd_create("strata-fake", MFD_ALLOW_SEALING));
  STRATA_TRY(os_.fchmod(memory.get(), options.mode));
  STRATA_TRY(os_.ftruncate(memory.get(), identity.payload_offset_bytes + options.payload_bytes));
  const auto page = make_header_page(identity, SegmentState::initialising, options.content);
  STRATA_TRY(os_.pwrite(memory.get(), page, 0));
  STRATA_ASSIGN(Fd own, os_.reopen(memory.get(), O_RDWR));
  auto plane = std::make_unique<HeaderPlane>(os_, std::move(own), Access::read_write);
  STRATA_TRY(plane->lease_as_creator());
  {
    const std::lock_guard lock(names_->mutex);
    if (!names_->files.try_emplace(uri.name, std::move(memory)).second) {
      return fail(Code::already_exists, "the name is taken");
    }
  }
  auto made = finish(uri, std::move(plane), identity, options);
  if (!made) {
    const std::lock_guard lock(names_->mutex);
    names_->files.erase(uri.name);
  }
  return made;
}

std::function<void()> FakeBackend::on_detach(const std::string& name,
                                             const IdentityBlock& identity) {
  const auto lifetime = static_cast<Lifetime>(identity.lifetime);
  if (lifetime != Lifetime::process && lifetime != Lifetime::last_detach) return {};
  return [&os = os_, names = names_, name] {
    const std::lock_guard lock(names->mutex);
    const auto found = names->files.find(name);
    if (found == names->files.end()) return;
    const auto stat = stat_header(os, found->second.get(), {"fake", {}, name});
    if (stat && judge(*stat, {}).is_orphan) names->files.erase(found);
  };
}

Result<Fd> FakeBackend::open(const std::string& name, int flags) {
  const std::lock_guard lock(names_->mutex);
  const auto found = names_->files.find(name);
  if (found == names_->files.end()) return fail(Code::not_found, "no such segment");
  return os_.reopen(found->second.get(), flags);
}

Result<Segment> FakeBackend::do_attach(const SegmentUri& uri, const AttachOptions& options) {
  STRATA_ASSIGN(Fd file, open(uri.name, options.access == Access::read_write ? O_RDWR : O_RDONLY));
  // `populate` is about speed, for which a fake has no use.
  STRATA_ASSIGN(auto mapped,
                FilePayload::attach(os_, std::move(file), {},
                                    {.uri = uri,
                                     .access = options.access,
                                     .deadline = Deadline::after_ms(options.timeout_ms)}));
  AttachmentParts attached = parts(uri, std::move(mapped));
  if (attached.identity.lifetime == static_cast<std::uint32_t>(Lifetime::last_detach)) {
    attached.on_detach = on_detach(uri.name, attached.identity);
  }
  return Segment::adopt(std::move(attached));
}

Result<Segment> FakeBackend::do_attach_handle(const Handle& handle, std::vector<Fd>,
                                              const AttachOptions& options) {
  STRATA_TRY(check_handle(handle, {.kind = SegmentKind::fake}, os_, options));
  return attach_by_locator(*this, handle, options);
}

Result<SegmentStat> FakeBackend::stat(const SegmentUri& uri) {
  auto file = open(uri.name, O_RDWR);
  if (!file) return unexpected(file.error().in("stat " + uri.to_string()));
  return stat_header(os_, file->get(), uri);
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
  if (options.uuid != decltype(options.uuid){}) {
    const auto facts = stat_header(os_, file->get(), uri);
    if (!facts) return context(facts.error());
    if (facts->identity.uuid != options.uuid) {
      return context(Status(Code::not_found, "it is another segment by now"));
    }
  }
  mark_retired(os_, file->get());
  const std::lock_guard lock(names_->mutex);
  names_->files.erase(uri.name);
  return {};
}

Result<std::vector<SegmentStat>> FakeBackend::list(std::string_view container) {
  if (!container.empty()) return std::vector<SegmentStat>();
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

Result<std::vector<ReclaimDecision>> FakeBackend::reclaim(std::string_view container,
                                                          const ReclaimOptions& options) {
  STRATA_ASSIGN(const auto stats, list(container));
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

}  // namespace strata::inline v0_1
