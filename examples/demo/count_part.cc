#include "examples/demo/count_part.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <sstream>

#include "examples/demo/corpus.h"
#include "examples/demo/process.h"
#include "examples/demo/shares.h"
#include "os/os.h"

namespace demo {
namespace {

using strata::Code;
using strata::Deadline;
using strata::Result;
using strata::tools::Align;
using strata::tools::Table;

constexpr std::uint64_t kTimeoutMs = 120'000;
constexpr std::size_t kSharesPerWorker = 24;
constexpr std::size_t kMinShareBytes = 64;
constexpr std::size_t kMaxShareBytes = 16U << 20;

std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (int at = static_cast<int>(text.size()) - 3; at > 0; at -= 3)
    text.insert(static_cast<std::size_t>(at), ",");
  return text;
}

// What `wc` says of each file.
Result<std::vector<Tally>> ask_wc(const std::vector<std::string>& files) {
  std::string command = "LC_ALL=C wc -l -w -c --";
  for (const std::string& file : files)
    command += " " + shell_quoted(file);
  const CommandOutput output = run_command(command);
  if (output.status != 0) return strata::fail(Code::internal, "wc failed");
  std::istringstream lines(output.text);
  std::vector<Tally> tallies(files.size());
  for (Tally& tally : tallies) {
    std::string line;
    std::getline(lines, line);
    std::istringstream(line) >> tally.lines >> tally.words >> tally.bytes;
  }
  return tallies;
}

Result<void> expect_success(Child& child, const std::string& what) {
  STRATA_ASSIGN(const int status, child.wait(Deadline::after_ms(kTimeoutMs)));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return strata::fail(Code::internal, fmt::format("{} ended with wait status {}", what, status));
}

// A share that the worker has taken and not finished.
Share* held_share(Work& work, std::uint32_t token) {
  for (Share& share : work.shares())
    if (token != 0 && share.owner.load() == token && share.is_done.load() == 0) return &share;
  return nullptr;
}

// Waits for half of the work to be done and for the victim to be in the middle of something.
Result<void> kill_half_way(Story& story, strata::Os& os, Work& work, Child& victim,
                           std::size_t index) {
  const Deadline deadline = Deadline::after_ms(kTimeoutMs);
  while (work.shares_done.load() < work.share_count) {
    const std::uint32_t token = work.workers[index].token.load();
    if (work.shares_done.load() >= work.share_count / 2 && held_share(work, token) != nullptr) {
      const pid_t pid = victim.pid();
      victim.kill();
      STRATA_TRY(victim.wait(deadline));
      const Share* const orphan = held_share(work, token);
      story.say(fmt::format(
          "worker {} (pid {}) is killed with SIGKILL when {} of {} shares are done{}", index + 1,
          pid, work.shares_done.load(), work.share_count,
          orphan ? fmt::format("; it leaves share {} unfinished", orphan - work.shares().data())
                 : std::string()));
      return {};
    }
    if (deadline.expired()) return strata::fail(Code::timed_out, "the workers do not get on");
    os.sleep_ns(200'000);
  }
  story.say("too little work: all was done before anybody could be killed");
  return {};
}

Result<void> work_and_kill(Story& story, strata::Os& os, const DemoOptions& options, Work& work,
                           std::vector<pid_t>& pids) {
  story.step(
      fmt::format("{} workers attach by name and take shares of the texts", options.workers));
  std::vector<Child> workers;
  for (std::size_t i = 0; i < options.workers; ++i) {
    STRATA_ASSIGN(Child worker,
                  Child::start_self({"--worker", std::to_string(i), options.corpus_uri(),
                                     options.work_uri(), options.scratch_uri(i)}));
    pids.push_back(worker.pid());
    workers.push_back(std::move(worker));
  }
  const std::size_t victim = options.workers / 2;
  if (options.workers > 1) STRATA_TRY(kill_half_way(story, os, work, workers[victim], victim));
  for (std::size_t i = 0; i < workers.size(); ++i)
    if (workers[i].pid() > 0) STRATA_TRY(expect_success(workers[i], "a worker"));
  for (const Share& share : work.shares()) {
    if (share.taken_from.load() == 0) continue;
    for (std::size_t i = 0; i < options.workers; ++i) {
      if (work.workers[i].token.load() == share.owner.load())
        story.check(true, fmt::format("worker {} took share {} over and counted it again", i + 1,
                                      &share - work.shares().data()));
    }
  }
  return {};
}

void show_totals(Story& story, Work& work, const std::vector<Tally>& expected) {
  story.step("The totals, beside wc");
  std::vector<Tally> counted(expected.size());
  for (const Share& share : work.shares())
    counted[share.text] += share.result;
  Tally all_counted;
  Tally all_expected;
  std::size_t equal = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    all_counted += counted[i];
    all_expected += expected[i];
    equal += counted[i] == expected[i] ? 1 : 0;
  }
  Table table({{""}, {"lines", Align::right}, {"words", Align::right}, {"bytes", Align::right}});
  for (const auto& [name, tally] : {std::pair("workers", all_counted), {"wc", all_expected}})
    table.add({name, grouped(tally.lines), grouped(tally.words), grouped(tally.bytes)});
  story.table(table);
  story.check(all_counted == all_expected && equal == expected.size(),
              fmt::format("equal for {} of {} texts", equal, expected.size()));
}

void show_memory(Story& story, const Work& work, const DemoOptions& options,
                 const std::vector<pid_t>& pids, std::uint64_t corpus_bytes) {
  story.step("Nobody copied: memory that a worker has to itself");
  Table table({{"worker"},
               {"pid", Align::right},
               {"shares", Align::right},
               {"taken over", Align::right},
               {"private before", Align::right},
               {"private after", Align::right}});
  for (std::size_t i = 0; i < options.workers; ++i) {
    const WorkerRecord& record = work.workers[i];
    const bool has_ended_well = record.private_bytes_after != 0;
    table.add({std::to_string(i + 1), std::to_string(pids[i]), std::to_string(record.shares),
               std::to_string(record.shares_taken_over),
               strata::format_bytes(record.private_bytes_before),
               has_ended_well ? strata::format_bytes(record.private_bytes_after) : "killed"});
  }
  story.table(table);
  story.say(fmt::format("{} of text, once in memory, were read by all of them",
                        strata::format_bytes(corpus_bytes)));
}

}  // namespace

Result<strata::Segment> load(Story& story, strata::Catalog& catalog, const DemoOptions& options) {
  story.step("A loader process puts the texts into a segment, seals it, and ends");
  std::vector<std::string> arguments = {"--loader", options.corpus_uri()};
  arguments.insert(arguments.end(), options.files.begin(), options.files.end());
  STRATA_ASSIGN(Child loader, Child::start_self(arguments));
  STRATA_TRY(expect_success(loader, "the loader"));
  STRATA_ASSIGN(strata::Segment corpus,
                catalog.attach(options.corpus_uri(), {.access = strata::Access::read_only}));
  STRATA_TRY(corpus.verify());
  story.check(true,
              fmt::format("{}: {} texts, {}, content hash verified", options.corpus_uri(),
                          options.files.size(), strata::format_bytes(corpus.payload_bytes())));
  return corpus;
}

Result<void> count_shares(Story& story, strata::Catalog& catalog, strata::Os& os,
                          const DemoOptions& options, const strata::Segment& corpus) {
  STRATA_ASSIGN(const std::vector<Tally> expected, ask_wc(options.files));
  STRATA_ASSIGN(const std::vector<std::string_view> texts, texts_of(corpus));
  const std::size_t share_bytes =
      std::clamp(corpus.payload_bytes() / (options.workers * kSharesPerWorker), kMinShareBytes,
                 kMaxShareBytes);
  STRATA_ASSIGN(strata::Segment work_segment,
                create_work(catalog, options.work_uri(), texts, share_bytes));
  STRATA_ASSIGN(Work* const work, work_of(work_segment));
  std::vector<pid_t> pids;
  STRATA_TRY(work_and_kill(story, os, options, *work, pids));
  show_totals(story, *work, expected);
  show_memory(story, *work, options, pids, corpus.payload_bytes());
  story.step("What the tools say");
  story.strata("info " + options.corpus_uri());
  story.strata("map " + options.corpus_uri());
  return {};
}

}  // namespace demo
