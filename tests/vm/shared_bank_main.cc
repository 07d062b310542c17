// Three processes that do transfers in a SharedBank, while a fourth checkpoints a segment into the
// same pool, version after version.
//
// usage: shared_bank_program create PATH LABEL SEED
//        shared_bank_program recover PATH LABEL [thorough]
//        shared_bank_program run PATH LABEL none|early_acknowledgement
//
// The same words to the host as bank_main.cc. The one that checkpoints counts as process 3.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "pmem/pool_check.h"
#include "strata/pmem/checkpoint.h"
#include "strata/pmem/pool.h"
#include "tests/vm/shared_bank.h"

namespace strata::inline v0_1::test {
namespace {

constexpr std::uint64_t kBlockBytes = KiB(4);
constexpr std::uint64_t kVersionBlocks = 16;
constexpr std::uint64_t kChangesEvery = 4;  // versions, a block
constexpr int kTransfersPerCheckpoint = 97;

Result<void> create(const std::string& path, std::uint64_t seed) {
  RealOs os;
  STRATA_TRY(Pool::create(os, path, {.bytes = kBankPoolBytes}));
  return SharedBank::create(path, seed);
}

// Every word of block `block` in version `version`: a quarter of the blocks differs from the
// version before.
std::uint64_t word_of(std::uint64_t version, std::uint64_t block) {
  return version - std::min(version, (version + block) % kChangesEvery);
}

std::vector<std::byte> content_of(std::uint64_t version) {
  std::vector<std::byte> bytes(kVersionBlocks * kBlockBytes);
  auto* words = reinterpret_cast<std::uint64_t*>(bytes.data());
  for (std::uint64_t block = 0; block < kVersionBlocks; ++block) {
    words = std::fill_n(words, kBlockBytes / sizeof(std::uint64_t), word_of(version, block));
  }
  return bytes;
}

// The number of the current version, whose checksums and words must be right. 0: none yet.
Result<std::uint64_t> current_version(const Pool& pool) {
  std::vector<std::byte> found(kVersionBlocks * kBlockBytes);
  const auto restored = load_version(pool, "version", 0, found,
                                     {.threads = 1, .deadline = Deadline::after_ms(kTimeoutMs)});
  if (!restored && restored.error().code() == Code::not_found) return 0;
  if (!restored) return unexpected(restored.error());
  if (found != content_of(restored->version)) {
    return fail(Code::corrupt, fmt::format("version {} is torn", restored->version));
  }
  return restored->version;
}

Result<void> checkpoint_until_power_fails(const std::string& path, const char* label) {
  RealOs os;
  STRATA_ASSIGN(const Pool pool, Pool::open(os, path));
  STRATA_ASSIGN(std::uint64_t version, current_version(pool));
  for (;;) {
    STRATA_ASSIGN(const CheckpointReport report,
                  checkpoint(content_of(version + 1), pool, "version",
                             {.block_bytes = kBlockBytes,
                              .keep_versions = 1,
                              .threads = 1,
                              .timeout_ms = kTimeoutMs}));
    if (report.version != ++version) {
      return fail(Code::corrupt, fmt::format("version {} came after {}", report.version, version));
    }
    acknowledge(label, kBankProcesses, version);
  }
}

Result<void> transfer_until_power_fails(const std::string& path, int process,
                                        SharedBank::Tells when, const char* label) {
  STRATA_ASSIGN(const auto bank, SharedBank::open(path));
  const auto tell = [&](std::uint64_t number) { acknowledge(label, process, number); };
  for (int i = 1;; ++i) {
    if (auto done = bank->transfer(process, when, tell); !done) {
      return unexpected(done.error().in("with " + bank->describe_heap()));
    }
    if (i % kTransfersPerCheckpoint == 0) STRATA_TRY(bank->checkpoint_log());
  }
}

int run(const std::string& path, const char* label, SharedBank::Tells when) {
  for (int process = 0; process <= kBankProcesses; ++process) {
    if (fork() != 0) continue;
    const Result<void> ended = process == kBankProcesses
                                   ? checkpoint_until_power_fails(path, label)
                                   : transfer_until_power_fails(path, process, when, label);
    _exit(tell_broken(label,
                      "process " + std::to_string(process) + ": " + ended.error().to_string()));
  }
  wait(nullptr);
  return 1;
}

// What `strata pool check` does.
Result<void> check_whole_pool(const std::string& path) {
  RealOs os;
  STRATA_ASSIGN(const CheckReport report, check_pool(os, path, {.threads = 1}));
  for (const CheckItem& item : report.items) {
    if (item.outcome == CheckOutcome::damaged) {
      return fail(Code::corrupt, "pool check: " + item.what + ": " + item.detail);
    }
  }
  return {};
}

Result<std::vector<std::uint64_t>> recovered(const std::string& path, bool is_thorough) {
  STRATA_ASSIGN(const auto bank, SharedBank::open(path));
  STRATA_TRY(bank->check());
  RealOs os;
  STRATA_ASSIGN(const Pool pool, Pool::open(os, path));
  STRATA_ASSIGN(const std::uint64_t version, current_version(pool));
  if (is_thorough) STRATA_TRY(check_whole_pool(path));
  std::vector<std::uint64_t> done(bank->data().done.begin(), bank->data().done.end());
  done.push_back(version);
  return done;
}

// The labels are promises too: a DAX suite on a paged file would prove nothing.
Result<void> check_label(const std::string& path, const char* label) {
  STRATA_ASSIGN(const auto bank, SharedBank::open(path));
  const bool is_dax = std::strcmp(label, "dax") == 0;
  if ((bank->granularity_bytes() == 64) == is_dax) return {};
  return fail(Code::corrupt, fmt::format("granularity {}", bank->granularity_bytes()));
}

}  // namespace
}  // namespace strata::inline v0_1::test

int main(int argc, char** argv) {
  using namespace strata::test;
  if (argc < 4) return 2;
  const std::string command = argv[1], path = argv[2];
  const char* const label = argv[3];
  const std::string argument = argc > 4 ? argv[4] : "";
  if (command == "create") {
    auto created = create(path, std::strtoull(argument.c_str(), nullptr, 0));
    if (created) created = check_label(path, label);
    return created ? 0 : tell_broken(label, created.error().to_string());
  }
  if (command == "recover") {
    const auto done = recovered(path, argument == "thorough");
    if (!done) return tell_broken(label, done.error().to_string());
    tell_done(label, *done);
    return 0;
  }
  if (command == "run") {
    const bool is_early = argument == "early_acknowledgement";
    return run(path, label, is_early ? SharedBank::Tells::too_early : SharedBank::Tells::when_safe);
  }
  return 2;
}
