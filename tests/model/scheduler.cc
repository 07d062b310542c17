#include "tests/model/scheduler.h"

#include <ucontext.h>

#include <array>
#include <cstring>
#include <memory>

#include "base/check.h"
#include "strata/base/step.h"
#include "strata/os/deadline.h"
#include "strata/os/futex.h"
#include "strata/sync/owner.h"

namespace strata::inline v0_1::model {
namespace {

constexpr std::size_t kStackBytes = 128 * 1024;
constexpr unsigned kMaxSteps = 20'000;
// How often slices may end in one execution before it counts as a hang.
constexpr unsigned kMaxSlices = 40;
constexpr std::uint64_t kSliceNs = 40'000'000;
constexpr int kNobody = -1;

// Written for messages, never read by an algorithm.
constexpr std::array kUnswitched = {"note_holder", "count_wait", "held", "describe"};

class TokenOwner final : public Owner {
 public:
  explicit TokenOwner(std::uint32_t token)
      : Owner(&mine_, static_cast<pid_t>(token), 0), mine_(token) {}
  Result<bool> is_alive(std::uint32_t token) const override { return !was_killed(token); }
  std::string describe(std::uint32_t token) const override {
    return "thread " + std::to_string(token);
  }

 private:
  std::uint32_t mine_;
};

struct Fiber {
  enum class State { ready, blocked, ended, killed };
  State state = State::ready;
  ucontext_t context{};
  const void* waits_on = nullptr;
  bool timed_out = false;
  const char* at = "start";
  std::function<void(const SyncContext&)> body;
};

struct Choice {
  unsigned taken;
  unsigned count;
};

struct Event {
  int thread;
  const char* where;
};

class Run {
 public:
  Run(const Bounds& bounds, std::vector<Choice>& choices, Report& report,
      std::vector<std::vector<char>>& stacks)
      : bounds_(bounds), choices_(choices), report_(report), stacks_(stacks) {}

  void play(Scenario scenario);
  void yield(const char* where);
  FutexWait block(const void* word);
  int wake(const void* word, int count);
  void fail(const char* what);
  bool is_inside() const { return running_ != kNobody; }
  bool was_killed(std::uint32_t token) const {
    return token >= 1 && token <= fibers_.size() &&
           fibers_[token - 1].state == Fiber::State::killed;
  }
  std::uint64_t now_ns() const { return now_ns_; }

 private:
  static void enter();
  void start(std::size_t index);
  void resume(int index);
  unsigned choose(unsigned count);
  bool pass_time();
  bool is_unfinished() const;
  std::string schedule() const;

  const Bounds& bounds_;
  std::vector<Choice>& choices_;
  Report& report_;
  std::vector<std::vector<char>>& stacks_;
  std::vector<Fiber> fibers_;
  std::vector<std::unique_ptr<TokenOwner>> owners_;
  std::vector<SyncContext> contexts_;
  std::vector<Event> events_;
  ucontext_t main_{};
  int running_ = kNobody;
  std::size_t next_choice_ = 0;
  unsigned preemptions_ = 0, kills_ = 0, switches_ = 0, slices_ = 0;
  std::uint64_t now_ns_ = 1;
};

Run* current = nullptr;

void Run::enter() {
  Run& run = *current;
  const int self = run.running_;
  run.fibers_[self].body(run.contexts_[self]);
  run.fibers_[self].state = Fiber::State::ended;
  swapcontext(&run.fibers_[self].context, &run.main_);
}

void Run::start(std::size_t index) {
  Fiber& fiber = fibers_[index];
  if (stacks_.size() <= index) stacks_.emplace_back(kStackBytes);
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = stacks_[index].data();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, &Run::enter, 0);
}

unsigned Run::choose(unsigned count) {
  if (count == 1) return 0;
  if (next_choice_ == choices_.size()) choices_.push_back({0, count});
  Choice& choice = choices_[next_choice_++];
  STRATA_CHECK(choice.count == count);  // the same choices lead to the same state
  return choice.taken;
}

void Run::resume(int index) {
  running_ = index;
  swapcontext(&main_, &fibers_[index].context);
  running_ = kNobody;
}

void Run::yield(const char* where) {
  for (const char* name : kUnswitched)
    if (std::strcmp(where, name) == 0) return;
  const int self = running_;
  fibers_[self].at = where;
  swapcontext(&fibers_[self].context, &main_);
}

FutexWait Run::block(const void* word) {
  Fiber& self = fibers_[running_];
  self.state = Fiber::State::blocked;
  self.waits_on = word;
  self.timed_out = false;
  yield("asleep");
  return self.timed_out ? FutexWait::timed_out : FutexWait::woken;
}

int Run::wake(const void* word, int count) {
  int woken = 0;
  for (Fiber& fiber : fibers_) {
    if (woken == count) break;
    if (fiber.state != Fiber::State::blocked || fiber.waits_on != word) continue;
    fiber.state = Fiber::State::ready;
    ++woken;
  }
  return woken;
}

bool Run::pass_time() {
  bool has_sleepers = false;
  for (Fiber& fiber : fibers_) {
    if (fiber.state != Fiber::State::blocked) continue;
    fiber.state = Fiber::State::ready;
    fiber.timed_out = true;
    has_sleepers = true;
  }
  now_ns_ += kSliceNs;
  if (has_sleepers && ++slices_ > kMaxSlices) fail("hangs");
  return has_sleepers;
}

void Run::play(Scenario scenario) {
  for (std::size_t i = 0; i <= scenario.threads.size(); ++i) {
    owners_.push_back(std::make_unique<TokenOwner>(static_cast<std::uint32_t>(i + 1)));
    contexts_.emplace_back(*owners_.back(), 1, 0);
  }
  fibers_.resize(scenario.threads.size());
  for (std::size_t i = 0; i < fibers_.size(); ++i) {
    fibers_[i].body = scenario.threads[i];
    start(i);
  }
  int last = kNobody;
  while (report_.failure.empty()) {
    // The one that ran last comes first: going on is no preemption.
    std::vector<int> options;
    const bool goes_on = last != kNobody && fibers_[last].state == Fiber::State::ready;
    if (goes_on) options.push_back(last);
    if (!goes_on || preemptions_ < bounds_.preemptions) {
      for (std::size_t i = 0; i < fibers_.size(); ++i)
        if (static_cast<int>(i) != last && fibers_[i].state == Fiber::State::ready)
          options.push_back(static_cast<int>(i));
    }
    // The one that ran last may die where it stands, awake or asleep.
    const bool may_die = last != kNobody && kills_ < bounds_.kills &&
                         (goes_on || fibers_[last].state == Fiber::State::blocked);
    if (options.empty() && !may_die) {
      if (!pass_time()) break;
      last = kNobody;
      continue;
    }
    const unsigned taken = choose(static_cast<unsigned>(options.size()) + (may_die ? 1 : 0));
    if (taken == options.size()) {
      fibers_[last].state = Fiber::State::killed;
      events_.push_back({last, "KILLED"});
      ++kills_;
      last = kNobody;
      continue;
    }
    const int next = options[taken];
    if (goes_on && next != last) ++preemptions_;
    if (next != last) ++switches_;
    events_.push_back({next, fibers_[next].at});
    last = next;
    resume(next);
    if (events_.size() > kMaxSteps) fail("makes no progress");
  }
  if (report_.failure.empty() && scenario.check) scenario.check(contexts_.back());
  ++report_.executions;
  report_.steps += events_.size();
  report_.kills += kills_;
  report_.longest = std::max(report_.longest, static_cast<unsigned>(events_.size()));
  report_.most_switches = std::max(report_.most_switches, switches_);
  report_.time_passed += slices_ > 0 ? 1 : 0;
}

std::string Run::schedule() const {
  std::string text;
  const std::size_t from = events_.size() > 200 ? events_.size() - 200 : 0;
  for (std::size_t i = from; i < events_.size(); ++i)
    text += "\n  " + std::to_string(events_[i].thread + 1) + " " + events_[i].where;
  return text;
}

void Run::fail(const char* what) {
  if (report_.failure.empty()) report_.failure = what + (", after" + schedule());
}

}  // namespace

Report explore(const Bounds& bounds, const std::function<Scenario()>& make) {
  Report report;
  std::vector<Choice> choices;
  std::vector<std::vector<char>> stacks;
  do {
    Run run(bounds, choices, report, stacks);
    Scenario scenario = make();
    current = &run;
    run.play(std::move(scenario));
    current = nullptr;
    // The next sequence: the last choice that has another way to go takes it.
    while (!choices.empty() && choices.back().taken + 1 == choices.back().count)
      choices.pop_back();
    if (!choices.empty()) ++choices.back().taken;
  } while (!choices.empty() && report.failure.empty());
  return report;
}

void require(bool ok, const char* what) {
  if (!ok) current->fail(what);
}

bool was_killed(std::uint32_t token) { return current != nullptr && current->was_killed(token); }

}  // namespace strata::inline v0_1::model

// What the real ones are replaced by.
namespace strata::inline v0_1 {

using model::current;

void step(const char* where) {
  if (current != nullptr && current->is_inside()) current->yield(where);
}

FutexWait futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, Deadline,
                     std::uint32_t) {
  if (word.load() != expected) return FutexWait::changed;
  STRATA_CHECK(current->is_inside());
  return current->block(&word);
}

int futex_wake(const std::atomic<std::uint32_t>& word, int count, std::uint32_t) {
  return current == nullptr ? 0 : current->wake(&word, count);
}

std::uint64_t monotonic_ns() { return current == nullptr ? 1 : current->now_ns(); }
std::uint64_t coarse_monotonic_ns() { return monotonic_ns(); }

Deadline Deadline::after_ms(std::uint64_t timeout_ms) { return after_ns(timeout_ms * 1'000'000); }
Deadline Deadline::after_ns(std::uint64_t timeout_ns) {
  return timeout_ns == 0 ? now() : Deadline(monotonic_ns() + timeout_ns);
}
std::uint64_t Deadline::remaining_ns() const {
  return at_ns_ > monotonic_ns() ? at_ns_ - monotonic_ns() : 0;
}
Deadline Deadline::slice(std::uint64_t) const { return *this; }
timespec Deadline::absolute() const { return {}; }

}  // namespace strata::inline v0_1
