// Transfers between accounts that follow from (seed, process, number) alone. Whoever knows how many
// each process has done knows every balance: the oracle of all banks that lose their power.
//   Threads:  any; pure functions.
//   Cost:     balances_after: a few nanoseconds for each transfer ever done.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace strata::inline v0_1::test {

inline constexpr int kBankProcesses = 3;
inline constexpr int kAccounts = 256;
inline constexpr int64_t kOpeningBalance = 1000;

struct Transfer {
  uint64_t account[2];  // from, to; never the same
  int64_t amount;
};

Transfer transfer_number(uint64_t seed, int process, uint64_t number);

// The balances once each process has done so many transfers.
std::vector<int64_t> balances_after(uint64_t seed, std::span<const uint64_t> done);

// "" when they are the same; else which account differs and how.
std::string compare_balances(std::span<const int64_t> found, std::span<const int64_t> wanted);

// What the host listens to: tests/vm/power_failure.py.
void acknowledge(const char* label, int process, uint64_t number);
void tell_done(const char* label, std::span<const uint64_t> done);
int tell_broken(const char* label, std::string why);  // returns the exit status

}  // namespace strata::inline v0_1::test
