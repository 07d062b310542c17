// The bank as a program of the guest, for power failures that the host brings about.
//
// usage:
//   bank_program create PATH LABEL SEED   a new bank
//   bank_program recover PATH LABEL       rolls back and checks: @@DONE LABEL N N N, or
//                                         @@BROKEN LABEL WHY
//   bank_program run PATH LABEL PLANT     three processes transfer until the power fails, and say
//                                         @@ACK LABEL PROCESS N after each
//
// The host remembers every @@ACK that left the machine and compares it with the next @@DONE.
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "tests/vm/bank.h"

namespace strata::inline v0_1::test {
namespace {

int fail(const char* what, const std::string& on) {
  std::printf("%s %s: %s\n", what, on.c_str(), std::strerror(errno));
  return 2;
}

// Makes the file's blocks and its name durable before the first byte of the bank is written.
bool make_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  const bool made = posix_fallocate(fd, 0, sizeof(BankLayout)) == 0 && fsync(fd) == 0;
  close(fd);
  const int directory =
      open(path.substr(0, path.rfind('/')).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool named = directory >= 0 && fsync(directory) == 0;
  if (directory >= 0) close(directory);
  return made && named;
}

// A lock for the children of this process; it dies with the machine, as every lock should.
pthread_mutex_t* shared_lock() {
  void* room = mmap(nullptr, sizeof(pthread_mutex_t), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return nullptr;
  auto* lock = static_cast<pthread_mutex_t*>(room);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(lock, &attributes);
  pthread_mutexattr_destroy(&attributes);
  return lock;
}

int recover(Medium& medium, const char* label) {
  Bank bank(medium);
  bank.recover();
  const std::string wrong = bank.check();
  if (!wrong.empty()) return tell_broken(label, wrong);
  std::vector<uint64_t> done;
  for (int process = 0; process < kBankProcesses; ++process)
    done.push_back(bank.done(process));
  tell_done(label, done);
  return 0;
}

int run(Medium& medium, const char* label, Plant plant) {
  pthread_mutex_t* lock = shared_lock();
  if (lock == nullptr) return fail("map", "the lock");
  for (int process = 0; process < kBankProcesses; ++process) {
    if (fork() != 0) continue;
    Bank bank(medium, plant);
    for (;;) {
      pthread_mutex_lock(lock);
      bank.transfer(process, [&](uint64_t number) { acknowledge(label, process, number); });
      pthread_mutex_unlock(lock);
    }
  }
  wait(nullptr);
  return tell_broken(label, "a process ended by itself");
}

}  // namespace
}  // namespace strata::inline v0_1::test

int main(int argc, char** argv) {
  using namespace strata::test;
  if (argc < 4) return 2;
  const std::string command = argv[1];
  const std::string path = argv[2];
  const char* label = argv[3];
  if (command == "create" && !make_file(path)) return fail("make", path);
  const auto medium = FileMedium::open(path.c_str(), sizeof(BankLayout));
  if (medium == nullptr) return fail("map", path);
  // The labels are promises too: a DAX suite on a paged file would prove nothing.
  if (medium->by_cache_line() != (std::strcmp(label, "dax") == 0)) {
    return tell_broken(label, std::string("the file is mapped by ") +
                                  (medium->by_cache_line() ? "cache line" : "page"));
  }
  if (command == "create" && argc == 5) {
    Bank(*medium).create(std::strtoull(argv[4], nullptr, 0));
    return 0;
  }
  if (command == "recover") return recover(*medium, label);
  Plant plant;
  if (command == "run" && argc == 5 && plant_from_name(argv[4], plant)) {
    return run(*medium, label, plant);
  }
  return 2;
}
