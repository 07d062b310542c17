#include "tests/fake_cuda/state_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/fake_cuda/memory.h"
#include "tests/fake_cuda/settings.h"

namespace strata::inline v0_1::fake_cuda {
namespace {

std::string in_directory(const std::string& name) { return settings().directory + "/" + name; }

bool make_directory(const std::string& path) {
  return ::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST;
}

// Whether nobody but `fd` has the file open.
bool is_alone(int fd) {
  // Who opens the file while the lease is held makes the kernel send this signal, and its default
  // would end the process.
  (void)::fcntl(fd, F_SETSIG, SIGURG);
  if (::fcntl(fd, F_SETLEASE, F_WRLCK) != 0) return false;
  (void)::fcntl(fd, F_SETLEASE, F_UNLCK);
  return true;
}

// Calls `visit(path)` for every allocation of a device.
template <typename Visit>
void for_each_memory_file(int device, Visit visit) {
  const std::string prefix = std::to_string(device) + "-";
  DIR* const folder = ::opendir(in_directory("memory").c_str());
  if (!folder) return;
  while (const dirent* const entry = ::readdir(folder)) {
    const std::string_view name = entry->d_name;
    if (name.starts_with(prefix)) visit(in_directory("memory/" + std::string(name)));
  }
  ::closedir(folder);
}

void lose_memory(int device) {
  for_each_memory_file(device, [](const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    mark_lost(fd);
    ::close(fd);
    ::unlink(path.c_str());
  });
}

}  // namespace

bool prepare_state_directory(int devices) {
  if (!make_directory(settings().directory)) return false;
  if (!make_directory(in_directory("memory"))) return false;
  for (int device = 0; device < devices; ++device) {
    const int fd = ::open(device_file(device).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return false;
    ::close(fd);
  }
  return true;
}

std::string device_file(int device) { return in_directory("nvidia" + std::to_string(device)); }

std::string memory_file(int device, std::uint64_t id) {
  char name[64];
  std::snprintf(name, sizeof name, "memory/%d-%016llx", device,
                static_cast<unsigned long long>(id));
  return in_directory(name);
}

MachineLock::MachineLock()
    : fd_(::open(in_directory("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
  if (fd_ < 0) std::abort();
  while (::flock(fd_, LOCK_EX) != 0) {
  }
}
MachineLock::~MachineLock() { ::close(fd_); }

void open_device_file(int device) {
  const MachineLock lock;
  const int fd = ::open(device_file(device).c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) std::abort();
  if (is_alone(fd) && !settings().is_persistent) lose_memory(device);
  // `fd` stays open.
}

std::uint64_t count_used_bytes(int device) {
  std::uint64_t used = 0;
  for_each_memory_file(device, [&used](const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    struct stat facts {};
    if (is_alone(fd)) {
      ::unlink(path.c_str());
    } else if (::fstat(fd, &facts) == 0) {
      used += static_cast<std::uint64_t>(facts.st_size) - kTrailerBytes;
    }
    ::close(fd);
  });
  return used;
}

}  // namespace strata::inline v0_1::fake_cuda
