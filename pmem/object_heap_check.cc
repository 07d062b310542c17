#include "pmem/object_heap_check.h"

#include <fmt/format.h>
#include <libpmempool.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "os/run_apart.h"
#include "pmem/object_pool.h"
#include "pmem/rehearsal.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1 {
namespace {

// Answers of the children: what was found, or why it was not looked at.
constexpr char kFound = '+', kWrong = '!', kNotSeen = '?';

std::string answer(char kind, const std::string& text) { return kind + text; }

std::string answer(const Status& status) {
  return answer(status.code() == Code::corrupt ? kWrong : kNotSeen, status.message());
}

bool is_of_the_machine(int error) {
  return error == ENOMEM || error == EMFILE || error == ENFILE || error == EACCES ||
         error == EPERM || error == EAGAIN || error == EINTR || error == ENOENT;
}

// Settings for the libraries are for programs: a wrong one reads like a pool that is wrong.
void forget_settings() {
  for (const char* name : {"PMEMOBJ_CONF", "PMEMOBJ_CONF_FILE"})
    (void)::unsetenv(name);
}

std::string ask_pmempool(const std::string& path) {
  forget_settings();
  pmempool_check_args arguments{};
  arguments.path = path.c_str();
  arguments.pool_type = PMEMPOOL_POOL_TYPE_OBJ;
  arguments.flags = PMEMPOOL_CHECK_FORMAT_STR;
  PMEMpoolcheck* const check = pmempool_check_init(&arguments, sizeof arguments);
  if (check == nullptr) {
    return answer(is_of_the_machine(errno) ? kNotSeen : kWrong, pmempool_errormsg());
  }
  std::string problems;
  while (const pmempool_check_status* status = pmempool_check(check)) {
    if (status->type == PMEMPOOL_CHECK_MSG_TYPE_ERROR) {
      problems += (problems.empty() ? "" : "; ") + std::string(status->str.msg);
    }
  }
  switch (pmempool_check_end(check)) {
    case PMEMPOOL_CHECK_RESULT_CONSISTENT: return answer(kFound, "pool header and descriptor");
    case PMEMPOOL_CHECK_RESULT_ERROR:
      return answer(kNotSeen, problems.empty() ? pmempool_errormsg() : problems);
    default: return answer(kWrong, problems.empty() ? "not consistent" : problems);
  }
}

// As the next to open the pool: completes or rolls back what a dead changer left.
std::string recover(Os& os, const std::string& path) {
  forget_settings();
  const auto pool = ObjectPool::open(os, path, kPoolLayoutName, Deadline::after_ms(0));
  return pool ? answer(kFound, "") : answer(pool.error());
}

// One line for each object.
std::string walk_heap(Os& os, const std::string& path) {
  forget_settings();
  use_copy_on_write();
  const auto pool = ObjectPool::open(os, path, kPoolLayoutName, Deadline::after_ms(0));
  if (!pool) return answer(pool.error());
  std::string lines;
  for (const ObjectPool::Object& object : pool->objects())
    lines += fmt::format("{} {} {}\n", object.offset_bytes, object.bytes, object.type);
  return answer(kFound, lines);
}

HeapObjects parse_objects(const std::string& lines) {
  HeapObjects heap;
  std::size_t at = 0;
  while (at < lines.size()) {
    unsigned long long offset = 0, bytes = 0, type = 0;
    if (std::sscanf(lines.c_str() + at, "%llu %llu %llu", &offset, &bytes, &type) != 3) return heap;
    heap.by_offset[offset] = {bytes, type};
    at = lines.find('\n', at) + 1;
  }
  heap.is_complete = true;
  return heap;
}

struct Answer {
  CheckOutcome outcome;
  std::string text;
};

template <typename Look>
Answer look_apart(const PoolCopy& copy, const CheckOptions& options, Look look) {
  // A busy machine is no fault of the pool's.
  const auto said =
      run_apart([&] { return look(copy.path()); }, Deadline::after_ms(10 * options.timeout_ms),
                options.timeout_ms / 1000 + 1);
  if (!said) {
    // A crash is the pool's fault; of everything else nobody knows.
    const bool crashed = said.error().code() == Code::corrupt;
    return {crashed ? CheckOutcome::damaged : CheckOutcome::unknown, said.error().message()};
  }
  const char kind = said->empty() ? kNotSeen : said->front();
  return {kind == kFound   ? CheckOutcome::sound
          : kind == kWrong ? CheckOutcome::damaged
                           : CheckOutcome::unknown,
          copy.with_original_name(said->empty() ? "" : said->substr(1))};
}

void check_recovery(Os& os, PoolCopy& copy, const CheckOptions& options, CheckReport& report) {
  Answer recovered =
      look_apart(copy, options, [&](const std::string& path) { return recover(os, path); });
  if (recovered.outcome == CheckOutcome::sound) {
    if (const auto done = copy.declare_recovered(); !done) {
      recovered = {outcome_of(done.error().code()), done.error().message()};
    } else {
      recovered.text = "it can be recovered, which the next use does; what follows is after that";
    }
  }
  add_item(report, "interrupted change", recovered.outcome, recovered.text);
}

// The rehearsal has a child of its own; this one is there to forget the settings.
std::string rehearse(Os& os, const std::string& path) {
  forget_settings();
  const auto done = rehearse_change(os, path, kPoolLayoutName);
  return done ? answer(kFound, "one was rehearsed on the copy") : answer(done.error());
}

}  // namespace

void add_item(CheckReport& report, std::string what, CheckOutcome outcome, std::string detail) {
  report.items.push_back({std::move(what), outcome, std::move(detail)});
}

HeapObjects check_libpmemobj(Os& os, PoolCopy& copy, const CheckOptions& options,
                             CheckReport& report) {
  const Answer header = look_apart(copy, options, ask_pmempool);
  add_item(report, "pmempool", header.outcome, header.text);
  if (copy.is_interrupted()) check_recovery(os, copy, options, report);
  const Answer walked =
      look_apart(copy, options, [&](const std::string& path) { return walk_heap(os, path); });
  if (walked.outcome != CheckOutcome::sound) {
    add_item(report, "libpmemobj", walked.outcome, walked.text);
    return {};
  }
  HeapObjects heap = parse_objects(walked.text);
  add_item(report, "libpmemobj", heap.is_complete ? CheckOutcome::sound : CheckOutcome::unknown,
           fmt::format("opens, {} objects", heap.by_offset.size()));
  const Answer change =
      look_apart(copy, options, [&](const std::string& path) { return rehearse(os, path); });
  add_item(report, "changes", change.outcome, change.text);
  return heap;
}

void check_objects(const DirectoryCopy& directory, const HeapObjects& heap, CheckReport& report) {
  if (!heap.is_complete) {
    return add_item(report, "objects", CheckOutcome::unknown, "the heap could not be walked");
  }
  std::map<std::uint64_t, std::uint32_t> named;
  std::string problems;
  for (std::uint32_t slot = 0; slot < directory.entries.size(); ++slot) {
    const DirectoryEntry& entry = directory.entries[slot];
    if (has_state(entry, EntryState::free) || !directory.problems[slot].empty()) continue;
    const auto object = heap.by_offset.find(entry.object_offset_bytes);
    if (object == heap.by_offset.end() || object->second.bytes < entry.object_bytes) {
      problems += fmt::format("; slot {} names no object of the heap", slot);
    }
    if (!named.emplace(entry.object_offset_bytes, slot).second) {
      problems += fmt::format("; slots {} and {} name the same object",
                              named[entry.object_offset_bytes], slot);
    }
  }
  std::uint64_t leaked = 0;
  std::vector<ObjectPool::Object> others;
  for (const auto& [offset, facts] : heap.by_offset) {
    if (facts.type != kSegmentObjectType) {
      others.push_back({offset, facts.bytes, facts.type});
    } else if (!named.contains(offset)) {
      ++leaked;
    }
  }
  if (leaked != 0) problems += fmt::format("; {} objects are named by no slot", leaked);
  const std::uint64_t typed_root = directory.head.state.user_root_offset_bytes;
  if (typed_root != 0 && !heap.by_offset.contains(typed_root)) {
    problems += fmt::format("; the typed root at {} is no object of the heap", typed_root);
  }
  add_item(report, "objects", problems.empty() ? CheckOutcome::sound : CheckOutcome::damaged,
           problems.empty() ? fmt::format("the objects of {} are in the heap, none is lost",
                                          count_of(named.size(), "segment version"))
                            : problems.substr(2));
  report.other_objects = other_objects(others, {});
  add_item(report, "other objects", CheckOutcome::sound,
           report.other_objects.empty() ? "none: all objects are segments"
                                        : report.other_objects.describe());
}

}  // namespace strata::inline v0_1
