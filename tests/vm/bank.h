// A bank whose every transfer is all-or-nothing, with an oracle that knows every balance. It uses
// nothing of the library: when it fails, the rig is at fault; when it holds and a suite of the
// library fails, the library is.
//
// `check` compares every balance with what the transfers done say: a lost, torn or doubled transfer
// shows, not only a wrong total.
//   Threads:  one; processes take turns under a lock that the caller holds (it never persists).
//   Lifetime: the medium must outlive the bank.
//   Errors:   `check` returns what is wrong, empty when nothing is.
//   Persists: every transfer that `transfer` returned from (unless a bug is planted).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "tests/vm/medium.h"
#include "tests/vm/transfers.h"

namespace strata::inline v0_1::test {

// Bugs that the rig must find.
enum class Plant {
  kNone,
  kMissingFlush,          // one of the two balances is stored and never flushed
  kMissingSnapshot,       // one of the two balances is not in the undo log
  kWrongOrder,            // the log is declared valid in the same drain as its content
  kEarlyAcknowledgement,  // promised before the drain that makes it true
};

// The plant of that name (missing_flush, ...), kNone for "none"; false for another name.
bool plant_from_name(const std::string& name, Plant& plant);

// The bytes on the medium. Accounts lie 256 bytes apart, so that neighbours share few pages and
// a missing sync of one is not made good by another's.
struct BankLayout {
  static constexpr uint64_t kMagic = 0x6b6e616274617274;

  struct Account {
    int64_t balance;
    uint8_t reserved[248];
  };
  struct Done {
    uint64_t transfers;
    uint8_t reserved[248];
  };
  struct UndoLog {
    uint64_t valid;  // 1: a transfer is under way; its old values follow
    uint64_t process;
    uint64_t old_done;
    uint64_t account[2];
    int64_t old_balance[2];
    uint8_t reserved[200];
  };

  uint64_t magic;
  uint64_t seed;
  uint8_t reserved[240];
  UndoLog log;
  Done done[kBankProcesses];
  Account accounts[kAccounts];
};
static_assert(sizeof(BankLayout) == 256 * (2 + kBankProcesses + kAccounts));

class Bank {
 public:
  explicit Bank(Medium& medium, Plant plant = Plant::kNone) : medium_(medium), plant_(plant) {}

  void create(uint64_t seed);
  // Rolls back what was under way. Idempotent: it may itself be cut off anywhere.
  void recover();
  // Compares every balance with what the promised transfers say. Call after recover().
  std::string check() const;
  uint64_t done(int process) const { return layout().done[process].transfers; }

  // Does the process's next transfer; calls `acknowledge` with its number once it is safe.
  void transfer(int process, const std::function<void(uint64_t)>& acknowledge);

 private:
  BankLayout& layout() { return *reinterpret_cast<BankLayout*>(medium_.bytes()); }
  const BankLayout& layout() const { return *reinterpret_cast<BankLayout*>(medium_.bytes()); }
  template <typename T>
  void flush(const T& value) {
    medium_.flush(&value, sizeof value);
  }
  void write_log(int process, const uint64_t (&account)[2]);

  Medium& medium_;
  const Plant plant_;
};

}  // namespace strata::inline v0_1::test
