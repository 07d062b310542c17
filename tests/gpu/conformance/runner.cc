#include "tests/gpu/conformance/runner.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>

namespace strata::inline v0_1::conformance {
namespace {

// A row that takes longer has hung.
constexpr int kPatienceMs = 60'000;

// Where this process answers, and what: -1 in a row's second process, and outside of rows.
int answer_fd = -1;
int answered_row = 0;

void write_answer(int row, const Answer& answer) {
  const std::string line =
      std::to_string(row) + (answer.was_asked ? "\t+" : "\t-") + answer.text + "\n";
  (void)!::write(answer_fd, line.data(), line.size());
}

Answer ask_with_second(const Row& row, const Place& place) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) give_up("no socket pair");
  const pid_t first = ::getpid();
  const pid_t second = ::fork();
  if (second == 0) {
    ::close(ends[0]);
    answer_fd = -1;
    Channel channel(ends[1], first);
    row.second(place, channel);
    ::_exit(0);
  }
  ::close(ends[1]);
  Channel channel(ends[0], second);
  const Answer answer = row.ask_with(place, channel);
  ::kill(second, SIGKILL);
  return answer;
}

// So that a row which ends its process is known.
void say_begun(int row) {
  answered_row = row;
  const std::string line = std::to_string(row) + "\t?\n";
  (void)!::write(answer_fd, line.data(), line.size());
}

// The rows of one process, in turn.
void ask_here(const std::vector<Row>& rows, const Place& place) {
  say_begun(rows.front().number);
  if (rows.front().begin == Begin::bare) {
    const Row& row = rows.front();
    write_answer(row.number, row.ask_with ? ask_with_second(row, place) : row.ask_bare(place));
    return;
  }
  Machine machine(place);
  for (const Row& row : rows) {
    say_begun(row.number);
    write_answer(row.number, row.ask(machine));
  }
}

// What a process writes until it ends, handed on line by line. False: it hung.
bool read_lines(int fd, const std::function<void(const std::string& line)>& take) {
  std::string text;
  for (;;) {
    pollfd readable{fd, POLLIN, 0};
    if (::poll(&readable, 1, kPatienceMs) != 1) return false;
    char bytes[4096];
    const ssize_t got = ::read(fd, bytes, sizeof bytes);
    if (got <= 0) return true;
    text.append(bytes, static_cast<std::size_t>(got));
    for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
      take(text.substr(0, end));
      text.erase(0, end + 1);
    }
  }
}

// Runs `body` in a process of its own group, whose lines are handed on. Returns how it ended: "" is
// well.
std::string in_process(const std::function<void()>& body,
                       const std::function<void(const std::string& line)>& take) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return "no pipe";
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::setpgid(0, 0);
    ::close(ends[0]);
    answer_fd = ends[1];
    body();
    // Without the driver's tear-down, which may wait for streams that wait for ever.
    ::_exit(0);
  }
  ::close(ends[1]);
  const bool has_ended = read_lines(ends[0], take);
  ::close(ends[0]);
  if (!has_ended) ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  // What it has forked, too.
  ::kill(-child, SIGKILL);
  if (!has_ended) return "no answer";
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  return "";
}

// Returns the row that the line is of.
int take_answer(const std::string& line, std::map<int, Answer>* answers) {
  const std::size_t tab = line.find('\t');
  const int row = std::atoi(line.c_str());
  const bool is_answer = tab != std::string::npos && line.size() > tab + 1 && line[tab + 1] != '?';
  if (is_answer) (*answers)[row] = {line.substr(tab + 2), line[tab + 1] == '+'};
  return row;
}

}  // namespace

void give_up(const std::string& why) {
  if (answer_fd >= 0) write_answer(answered_row, said(why));
  ::_exit(0);
}

std::map<int, Answer> ask_all(const std::vector<Row>& rows, const Place& place) {
  std::map<int, Answer> answers;
  std::vector<Row> shared;
  std::vector<std::vector<Row>> processes;
  for (const Row& row : rows) {
    if (!row.why_not.empty()) {
      answers[row.number] = not_asked(row.why_not);
    } else if (row.begin == Begin::ready) {
      shared.push_back(row);
    } else {
      processes.push_back({row});
    }
  }
  while (!shared.empty() || !processes.empty()) {
    std::vector<Row>& now = shared.empty() ? processes.back() : shared;
    int last = now.front().number;
    const std::string end =
        in_process([&] { ask_here(now, place); },
                   [&](const std::string& line) { last = take_answer(line, &answers); });
    // The row that ended the process early; those after it get another one.
    answers.try_emplace(last, said(end.empty() ? "the process ended" : end));
    std::erase_if(now, [&](const Row& row) { return answers.contains(row.number); });
    if (!processes.empty() && processes.back().empty()) processes.pop_back();
  }
  return answers;
}

DriverFacts read_facts(const Place& place) {
  DriverFacts facts;
  std::vector<std::string> lines;
  const std::string end = in_process(
      [&] {
        const Machine machine(place);
        int version = 0;
        (void)machine.call().cuDriverGetVersion(&version);
        const std::string text =
            std::to_string(version) + "\n" + machine.name() + "\n" +
            std::to_string(machine.attribute(kAttributeComputeCapabilityMajor)) + "\n" +
            std::to_string(machine.attribute(kAttributeComputeCapabilityMinor)) + "\n";
        (void)!::write(answer_fd, text.data(), text.size());
      },
      [&](const std::string& line) { lines.push_back(line); });
  if (lines.size() == 4) {
    facts.version = std::atoi(lines[0].c_str());
    facts.device = lines[1];
    facts.compute_major = std::atoi(lines[2].c_str());
    facts.compute_minor = std::atoi(lines[3].c_str());
  } else {
    // give_up() wrote "0\t+why".
    facts.trouble = lines.empty() ? end : lines.back().substr(lines.back().find('\t') + 2);
  }
  return facts;
}

}  // namespace strata::inline v0_1::conformance
