#include "tests/vm/transfers.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace strata::inline v0_1::test {
namespace {

// splitmix64, from https://prng.di.unimi.it/splitmix64.c: any input gives a well mixed output.
uint64_t mixed(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

}  // namespace

Transfer transfer_number(uint64_t seed, int process, uint64_t number) {
  const uint64_t random = mixed(mixed(seed ^ (static_cast<uint64_t>(process) << 56)) + number);
  const uint64_t from = random % kAccounts;
  const uint64_t distance = 1 + (random >> 16) % (kAccounts - 1);
  return {{from, (from + distance) % kAccounts}, static_cast<int64_t>(1 + (random >> 32) % 100)};
}

std::vector<int64_t> balances_after(uint64_t seed, std::span<const uint64_t> done) {
  std::vector<int64_t> balances(kAccounts, kOpeningBalance);
  for (int process = 0; process < kBankProcesses; ++process) {
    for (uint64_t number = 0; number < done[process]; ++number) {
      const Transfer transfer = transfer_number(seed, process, number);
      balances[transfer.account[0]] -= transfer.amount;
      balances[transfer.account[1]] += transfer.amount;
    }
  }
  return balances;
}

std::string compare_balances(std::span<const int64_t> found, std::span<const int64_t> wanted) {
  for (int i = 0; i < kAccounts; ++i) {
    if (found[i] != wanted[i]) {
      return "account " + std::to_string(i) + " holds " + std::to_string(found[i]) +
             ", the transfers done say " + std::to_string(wanted[i]);
    }
  }
  return "";
}

void acknowledge(const char* label, int process, uint64_t number) {
  char line[64];
  const int size = std::snprintf(line, sizeof line, "@@ACK %s %d %llu\n", label, process,
                                 static_cast<unsigned long long>(number));
  // One write call, so that lines of several processes never mix.
  if (write(STDOUT_FILENO, line, static_cast<size_t>(size)) != size) std::_Exit(4);
}

void tell_done(const char* label, std::span<const uint64_t> done) {
  std::string line = std::string("@@DONE ") + label;
  for (uint64_t number : done)
    line += " " + std::to_string(number);
  std::puts(line.c_str());
  std::fflush(stdout);
}

int tell_broken(const char* label, std::string why) {
  // The host reads one line.
  std::replace(why.begin(), why.end(), '\n', ';');
  std::printf("@@BROKEN %s %s\n", label, why.c_str());
  std::fflush(stdout);
  return 1;
}

}  // namespace strata::inline v0_1::test
