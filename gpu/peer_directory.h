// The directory of entries of one user, opened once and looked at before it is believed; and the
// one entry that this process makes in it.
//   Threads:  PeerDirectory any; PeerEntry one thread at a time.
//   Lifetime: an entry ends with its object, or with its process: then what is left of it has a
//             free lock, and is swept. An object in a forked child takes nothing away.
//   Errors:   permission_denied where the directory is not that user's alone.
//   Cost:     opening: two system calls. All paths lead through the opened directory, so that
//             nobody can put another in its place, and the 107 bytes of a socket's path suffice.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gpu/descriptor_exchange.h"
#include "gpu/peer_protocol.h"
#include "os/os.h"
#include "strata/base/result.h"

namespace strata::inline v0_1::cuda {

enum class PeerLife : std::uint8_t {
  dead,
  idle,   // it has no descriptor, and no question of its own is under way that could bring one
  alive,  // all others
};

class PeerDirectory {
 public:
  // Errors: not_found where there is none.
  static Result<std::shared_ptr<PeerDirectory>> open(Os& os, const PeerPlace& place);
  // Makes that of this user where there is none.
  static Result<std::shared_ptr<PeerDirectory>> make(Os& os, const std::string& directory);

  // Everything in it, sorted; nothing where it has been removed.
  Result<std::vector<std::string>> list() const;
  // A path that leads beneath the opened directory, whatever has its name by now.
  std::string path_of(std::string_view name) const;
  // Where sockets are asked for: a symbolic link in the place of one leads nowhere.
  Result<Fd> connect(const std::string& entry) const;
  // Whether a process holds the lock of that entry. False where there is none.
  Result<bool> is_alive(const std::string& entry) const;
  // What its locks tell; dead where there is none.
  Result<PeerLife> life_of(const std::string& entry) const;
  Result<PeerRecord> read_record(const std::string& entry) const;
  // The open file whose lock is the life of the entry. Errors: not_found where the directory is
  // gone.
  Result<Fd> add_record(const std::string& entry, const PeerRecord& record) const;
  // Takes what is left of an entry away, its socket first. What is gone already is no error.
  Result<void> remove_entry(const std::string& entry) const;
  // Removes the directory where nothing is in it.
  void remove_if_empty() const;

  int fd() const { return fd_.get(); }
  uid_t owner() const { return owner_; }

 private:
  PeerDirectory(Os& os, Fd fd, std::string path, uid_t owner)
      : os_(os), fd_(std::move(fd)), path_(std::move(path)), owner_(owner) {}

  Os& os_;
  Fd fd_;
  std::string path_;
  uid_t owner_;
};

// DIRECTORY/strata-cuda-peers.UID
std::string peer_directory_path(const std::string& directory, uid_t owner);

class PeerEntry {
 public:
  // Announces this process: from here on the entry counts as alive, and askers wait for its socket
  // for a moment. Nothing is left on failure.
  static Result<std::unique_ptr<PeerEntry>> announce(Os& os, const std::string& directory,
                                                     PeerRecord record);
  ~PeerEntry();
  PeerEntry(const PeerEntry&) = delete;
  PeerEntry& operator=(const PeerEntry&) = delete;

  // The socket has its name only once it listens.
  Result<void> listen();
  // Shows to others that this process has nothing and waits for no answer; and, before it asks
  // anybody, that it may have something from now on.
  void show_idle();
  Result<void> show_asking();
  const std::string& name() const { return name_; }
  int listener() const { return listener_.get(); }
  // Takes the names away, where this process gave them.
  void withdraw();

 private:
  PeerEntry(Os& os, std::shared_ptr<PeerDirectory> directory, std::string name, Fd lock)
      : os_(os),
        directory_(std::move(directory)),
        name_(std::move(name)),
        lock_(std::move(lock)),
        pid_(os.process_id()) {}

  Os& os_;
  std::shared_ptr<PeerDirectory> directory_;
  std::string name_;
  Fd lock_;
  Fd listener_;
  pid_t pid_;
  bool is_idle_ = false;
  bool is_withdrawn_ = false;
};

}  // namespace strata::inline v0_1::cuda
