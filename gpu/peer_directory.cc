#include "gpu/peer_directory.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>

namespace strata::inline v0_1::cuda {
namespace {

// Whoever leaves last removes the directory; that can happen to us between any two calls.
constexpr int kMaxTries = 1000;
constexpr int kLookFlags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
constexpr std::uint64_t kLockByte = 0;
constexpr std::uint64_t kIdleByte = 1;

bool is_gone(const Status& status) { return status.code() == Code::not_found; }

Result<void> check_is_of(const struct stat& facts, uid_t owner, const std::string& path) {
  if (facts.st_uid != owner) {
    return fail(Code::permission_denied,
                fmt::format("{} belongs to uid {}, and should to uid {}: what is handed on there "
                            "would be that user's to take; its owner or root can remove it",
                            path, facts.st_uid, owner));
  }
  if ((facts.st_mode & 0077) != 0) {
    return fail(Code::permission_denied,
                fmt::format("{} has mode {:04o}, open to others: chmod 0700 it", path,
                            facts.st_mode & 07777));
  }
  return {};
}

Result<std::string> new_name(Os& os, const SegmentUuid& uuid) {
  std::uint64_t random = 0;
  STRATA_TRY(os.get_random(std::as_writable_bytes(std::span(&random, 1))));
  return fmt::format("{}{:016x}", entry_beginning(uuid), random);
}

}  // namespace

std::string peer_directory_path(const std::string& directory, uid_t owner) {
  return fmt::format("{}/strata-cuda-peers.{}", directory, owner);
}

Result<std::shared_ptr<PeerDirectory>> PeerDirectory::open(Os& os, const PeerPlace& place) {
  const uid_t owner = place.owner.value_or(os.identity().uid);
  std::string path = peer_directory_path(place.directory, owner);
  STRATA_ASSIGN(Fd fd, os.open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  STRATA_ASSIGN(const struct stat facts, os.fstat(fd.get()));
  STRATA_TRY(check_is_of(facts, owner, path));
  return std::shared_ptr<PeerDirectory>(
      new PeerDirectory(os, std::move(fd), std::move(path), owner));
}

Result<std::shared_ptr<PeerDirectory>> PeerDirectory::make(Os& os, const std::string& directory) {
  for (int i = 0; i < kMaxTries; ++i) {
    auto opened = open(os, {directory});
    if (opened || !is_gone(opened.error())) return opened;
    const auto made = os.mkdir(peer_directory_path(directory, os.identity().uid), 0700);
    if (!made && made.error().code() != Code::already_exists) return unexpected(made.error());
  }
  return fail(Code::exhausted, fmt::format("{} is removed again and again",
                                           peer_directory_path(directory, os.identity().uid)));
}

std::string PeerDirectory::path_of(std::string_view name) const {
  return fmt::format("/proc/self/fd/{}/{}", fd_.get(), name);
}

Result<std::vector<std::string>> PeerDirectory::list() const {
  auto names = os_.list_directory(path_of(""));
  if (!names && is_gone(names.error())) return std::vector<std::string>{};
  return names;
}

Result<Fd> PeerDirectory::connect(const std::string& entry) const {
  STRATA_ASSIGN(const Fd socket,
                os_.open_at(fd_.get(), entry + std::string(kSocketEnding), O_PATH));
  return os_.connect_unix(fmt::format("/proc/self/fd/{}", socket.get()));
}

Result<bool> PeerDirectory::is_alive(const std::string& entry) const {
  STRATA_ASSIGN(const PeerLife life, life_of(entry));
  return life != PeerLife::dead;
}

Result<PeerLife> PeerDirectory::life_of(const std::string& entry) const {
  const auto file = os_.open_at(fd_.get(), entry + std::string(kPeerEnding), kLookFlags);
  if (!file) {
    // A symbolic link or a socket in the place of the file is nobody's lock.
    const bool is_no_file = is_gone(file.error()) || file.error().sys_errno() == ELOOP ||
                            file.error().sys_errno() == ENXIO;
    if (is_no_file) return PeerLife::dead;
    return unexpected(file.error());
  }
  const auto is_locked = [&](std::uint64_t byte) {
    return os_.is_range_locked(file->get(), byte, 1, LockKind::exclusive);
  };
  // In this order: who dies between the two looks counts as one who may have it, and is looked at
  // again.
  STRATA_ASSIGN(const bool is_idle, is_locked(kIdleByte));
  STRATA_ASSIGN(const bool is_alive, is_locked(kLockByte));
  if (!is_alive) return PeerLife::dead;
  return is_idle ? PeerLife::idle : PeerLife::alive;
}

Result<PeerRecord> PeerDirectory::read_record(const std::string& entry) const {
  STRATA_ASSIGN(const Fd file,
                os_.open_at(fd_.get(), entry + std::string(kPeerEnding), kLookFlags));
  STRATA_ASSIGN(const struct stat facts, os_.fstat(file.get()));
  if (!S_ISREG(facts.st_mode)) return fail(Code::corrupt, "peer record: not a regular file");
  std::array<std::byte, sizeof(PeerRecord)> bytes{};
  STRATA_ASSIGN(const std::size_t read, os_.pread(file.get(), bytes, 0));
  STRATA_ASSIGN(const PeerRecord record, read_peer_record(std::span(bytes).first(read)));
  if (!entry.starts_with(entry_beginning(record.uuid)))
    return fail(Code::corrupt, "peer record: of another segment than its name says");
  return record;
}

Result<Fd> PeerDirectory::add_record(const std::string& entry, const PeerRecord& record) const {
  STRATA_ASSIGN(Fd file, os_.open(path_of("."), O_TMPFILE | O_RDWR, 0600));
  STRATA_TRY(os_.pwrite(file.get(), std::as_bytes(std::span(&record, 1)), 0));
  // Before it has a name: one whose lock is free is nobody's.
  STRATA_TRY(os_.try_lock_byte(file.get(), kLockByte, LockKind::exclusive));
  STRATA_TRY(os_.link_fd(file.get(), path_of(entry + std::string(kPeerEnding))));
  return file;
}

Result<void> PeerDirectory::remove_entry(const std::string& entry) const {
  for (const std::string_view ending : {kUnfinishedEnding, kSocketEnding, kPeerEnding}) {
    const auto removed = os_.unlink_at(fd_.get(), entry + std::string(ending));
    if (!removed && !is_gone(removed.error())) return unexpected(removed.error());
  }
  return {};
}

void PeerDirectory::remove_if_empty() const { (void)os_.rmdir(path_); }

Result<std::unique_ptr<PeerEntry>> PeerEntry::announce(Os& os, const std::string& directory,
                                                       PeerRecord record) {
  sign(record);
  STRATA_ASSIGN(const std::string name, new_name(os, record.uuid));
  for (int i = 0; i < kMaxTries; ++i) {
    STRATA_ASSIGN(auto opened, PeerDirectory::make(os, directory));
    auto lock = opened->add_record(name, record);
    if (lock) {
      return std::unique_ptr<PeerEntry>(
          new PeerEntry(os, std::move(opened), name, std::move(*lock)));
    }
    opened->remove_if_empty();
    if (!is_gone(lock.error())) return unexpected(lock.error());
  }
  return fail(Code::exhausted, fmt::format("{} is removed again and again",
                                           peer_directory_path(directory, os.identity().uid)));
}

PeerEntry::~PeerEntry() { withdraw(); }

Result<void> PeerEntry::listen() {
  const std::string unfinished = name_ + std::string(kUnfinishedEnding);
  STRATA_ASSIGN(listener_, os_.listen_unix(directory_->path_of(unfinished), 0600));
  return os_.rename_at(directory_->fd(), unfinished, name_ + std::string(kSocketEnding));
}

void PeerEntry::show_idle() {
  // Where it cannot be shown, others wait for a while in vain.
  if (!is_idle_)
    is_idle_ = os_.try_lock_byte(lock_.get(), kIdleByte, LockKind::exclusive).value_or(false);
}

Result<void> PeerEntry::show_asking() {
  if (!is_idle_) return {};
  STRATA_TRY(os_.unlock_byte(lock_.get(), kIdleByte));
  is_idle_ = false;
  return {};
}

void PeerEntry::withdraw() {
  if (is_withdrawn_ || os_.process_id() != pid_) return;
  is_withdrawn_ = true;
  (void)directory_->remove_entry(name_);
  directory_->remove_if_empty();
}

}  // namespace strata::inline v0_1::cuda
