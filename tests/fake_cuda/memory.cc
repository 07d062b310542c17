#include "tests/fake_cuda/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "tests/fake_cuda/settings.h"
#include "tests/fake_cuda/state_directory.h"

namespace strata::inline v0_1::fake_cuda {
namespace {

constexpr char kMagic[] = "FAKECUDA";
// Both ends of an allocation: enough to be seen, and no time for gigabytes.
constexpr std::size_t kPoisonedBytes = 65536;
constexpr int kNewBytes = 0xA5;  // memory is not zero when it is new
constexpr int kFreedBytes = 0xDB;

bool read_trailer(int fd, Trailer* trailer) {
  struct stat facts {};
  if (::fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) return false;
  if (facts.st_size < static_cast<off_t>(kTrailerBytes)) return false;
  const off_t at = facts.st_size - static_cast<off_t>(kTrailerBytes);
  if (::pread(fd, trailer, sizeof *trailer, at) != static_cast<ssize_t>(sizeof *trailer)) {
    return false;
  }
  return std::memcmp(trailer->magic, kMagic, sizeof trailer->magic) == 0 &&
         trailer->bytes == static_cast<std::uint64_t>(at);
}

void fill_ends(char* bytes, std::size_t size, int value) {
  const std::size_t part = std::min(size, kPoisonedBytes);
  std::memset(bytes, value, part);
  std::memset(bytes + size - part, value, part);
}

}  // namespace

std::shared_ptr<Memory> Memory::create(Trailer wanted, CuResult* why) {
  std::memcpy(wanted.magic, kMagic, sizeof wanted.magic);
  (void)!::getrandom(&wanted.id, sizeof wanted.id, 0);
  *why = kOutOfMemory;
  const MachineLock lock;
  if (wanted.device_number != kNoDeviceFile) {
    const std::uint64_t all = settings().device_bytes;
    const std::uint64_t used = count_used_bytes(wanted.device_number);
    if (used > all || wanted.bytes > all - used) return nullptr;
  }
  std::shared_ptr<Memory> memory(new Memory);
  memory->facts_ = wanted;
  memory->fd_ = ::open(memory_file(wanted.device_number, wanted.id).c_str(),
                       O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (memory->fd_ < 0) return nullptr;
  const auto end = static_cast<off_t>(wanted.bytes);
  if (::ftruncate(memory->fd_, end + static_cast<off_t>(kTrailerBytes)) != 0) return nullptr;
  if (::pwrite(memory->fd_, &wanted, sizeof wanted, end) != static_cast<ssize_t>(sizeof wanted)) {
    return nullptr;
  }
  if (!memory->map()) return nullptr;
  fill_ends(memory->bytes_, wanted.bytes, kNewBytes);
  *why = kSuccess;
  return memory;
}

std::shared_ptr<Memory> Memory::adopt(int fd) {
  std::shared_ptr<Memory> memory(new Memory);
  if (!read_trailer(fd, &memory->facts_) || memory->facts_.is_lost) return nullptr;
  memory->fd_ = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (memory->fd_ < 0 || !memory->map()) return nullptr;
  return memory;
}

std::shared_ptr<Memory> Memory::find(int device_number, std::uint64_t id) {
  const MachineLock lock;
  if (device_number != kNoDeviceFile) count_used_bytes(device_number);
  const int fd = ::open(memory_file(device_number, id).c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return nullptr;
  std::shared_ptr<Memory> memory = adopt(fd);
  ::close(fd);
  return memory;
}

bool Memory::map() {
  void* const mapped = ::mmap(nullptr, facts_.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (mapped == MAP_FAILED) return false;
  bytes_ = static_cast<char*>(mapped);
  return true;
}

Memory::~Memory() {
  if (bytes_) ::munmap(bytes_, facts_.bytes);
  if (fd_ >= 0) ::close(fd_);
}

void Memory::poison() { fill_ends(bytes_, facts_.bytes, kFreedBytes); }

void mark_lost(int fd) {
  Trailer trailer{};
  if (!read_trailer(fd, &trailer)) return;
  trailer.is_lost = 1;
  (void)!::pwrite(fd, &trailer, sizeof trailer, static_cast<off_t>(trailer.bytes));
}

}  // namespace strata::inline v0_1::fake_cuda
