#include "tests/vm/bank.h"

#include <vector>

namespace strata::inline v0_1::test {
bool plant_from_name(const std::string& name, Plant& plant) {
  const std::pair<const char*, Plant> names[] = {
      {"none", Plant::kNone},
      {"missing_flush", Plant::kMissingFlush},
      {"missing_snapshot", Plant::kMissingSnapshot},
      {"wrong_order", Plant::kWrongOrder},
      {"early_acknowledgement", Plant::kEarlyAcknowledgement},
  };
  for (const auto& [known, value] : names) {
    if (name == known) {
      plant = value;
      return true;
    }
  }
  return false;
}

void Bank::create(uint64_t seed) {
  BankLayout& bank = layout();
  bank = {};
  bank.seed = seed;
  for (auto& account : bank.accounts)
    account.balance = kOpeningBalance;
  flush(bank);
  medium_.drain();
  bank.magic = BankLayout::kMagic;  // last: what has it, is complete
  flush(bank.magic);
  medium_.drain();
}

void Bank::recover() {
  BankLayout& bank = layout();
  const auto& log = bank.log;
  if (log.valid != 1) return;
  for (int side : {0, 1}) {
    auto& account = bank.accounts[log.account[side] % kAccounts];
    account.balance = log.old_balance[side];
    flush(account.balance);
  }
  auto& done = bank.done[log.process % kBankProcesses];
  done.transfers = log.old_done;
  flush(done.transfers);
  medium_.drain();
  bank.log.valid = 0;
  flush(bank.log.valid);
  medium_.drain();
}

std::string Bank::check() const {
  const BankLayout& bank = layout();
  if (bank.magic != BankLayout::kMagic) return "no bank";
  if (bank.log.valid != 0) return "not recovered";
  std::vector<uint64_t> counts;
  for (int process = 0; process < kBankProcesses; ++process)
    counts.push_back(done(process));
  std::vector<int64_t> found;
  for (const auto& account : bank.accounts)
    found.push_back(account.balance);
  return compare_balances(found, balances_after(bank.seed, counts));
}

void Bank::write_log(int process, const uint64_t (&account)[2]) {
  BankLayout& bank = layout();
  auto& log = bank.log;
  log.process = static_cast<uint64_t>(process);
  log.old_done = bank.done[process].transfers;
  for (int side : {0, 1}) {
    const uint64_t logged = account[plant_ == Plant::kMissingSnapshot ? 0 : side];
    log.account[side] = logged;
    log.old_balance[side] = bank.accounts[logged].balance;
  }
  flush(log);
  if (plant_ != Plant::kWrongOrder) medium_.drain();
  log.valid = 1;
  flush(log.valid);
  medium_.drain();
}

void Bank::transfer(int process, const std::function<void(uint64_t)>& acknowledge) {
  BankLayout& bank = layout();
  auto& done = bank.done[process];
  const Transfer transfer = transfer_number(bank.seed, process, done.transfers);
  write_log(process, transfer.account);
  if (plant_ == Plant::kEarlyAcknowledgement) acknowledge(done.transfers + 1);
  auto& from = bank.accounts[transfer.account[0]];
  auto& to = bank.accounts[transfer.account[1]];
  from.balance -= transfer.amount;
  to.balance += transfer.amount;
  ++done.transfers;
  flush(from.balance);
  if (plant_ != Plant::kMissingFlush) flush(to.balance);
  flush(done.transfers);
  medium_.drain();
  bank.log.valid = 0;
  flush(bank.log.valid);
  medium_.drain();
  if (plant_ != Plant::kEarlyAcknowledgement) acknowledge(done.transfers);
}

}  // namespace strata::inline v0_1::test
