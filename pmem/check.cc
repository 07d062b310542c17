#include "pmem/check.h"

#include <fmt/format.h>
#include <libpmempool.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "base/bytes.h"
#include "os/run_apart.h"
#include "pmem/checkpoint.h"
#include "pmem/object_pool.h"

namespace strata {
namespace {

void add(CheckReport& report, std::string what, CheckOutcome outcome, std::string detail) {
  report.items.push_back({std::move(what), outcome, std::move(detail)});
}

// libpmempool's verdict, empty where the pool is consistent.
std::string ask_pmempool(const std::string& path) {
  pmempool_check_args arguments{};
  arguments.path = path.c_str();
  arguments.pool_type = PMEMPOOL_POOL_TYPE_OBJ;
  arguments.flags = PMEMPOOL_CHECK_FORMAT_STR;
  PMEMpoolcheck* const check = pmempool_check_init(&arguments, sizeof arguments);
  if (check == nullptr) return fmt::format("pmempool: {}", pmempool_errormsg());
  std::string problems;
  while (const pmempool_check_status* status = pmempool_check(check)) {
    if (status->type == PMEMPOOL_CHECK_MSG_TYPE_ERROR) {
      problems += (problems.empty() ? "" : "; ") + std::string(status->str.msg);
    }
  }
  const pmempool_check_result result = pmempool_check_end(check);
  if (result == PMEMPOOL_CHECK_RESULT_CONSISTENT) return {};
  return "pmempool: " + (problems.empty() ? "not consistent" : problems);
}

// Opens the pool copy-on-write and walks its heap; one line for each object, or what is wrong.
std::string walk_heap(Os& os, const std::string& path) {
  use_copy_on_write();
  auto pool = ObjectPool::open(os, path, kPoolLayoutName, Deadline::after_ms(5000));
  if (!pool) {
    return (pool.error().code() == Code::timed_out ? "? " : "! ") + pool.error().message();
  }
  std::string lines = fmt::format("root {}\n", pool->root_bytes());
  for (const ObjectPool::Object& object : pool->objects()) {
    lines += fmt::format("{} {} {}\n", object.offset_bytes, object.bytes, object.type);
  }
  return lines + "end\n";
}

struct Heap {
  std::map<std::uint64_t, std::pair<std::uint64_t, std::uint64_t>> objects;  // offset: bytes, type
  bool is_complete = false;
};

Heap parse_heap(const std::string& lines) {
  Heap heap;
  std::size_t at = lines.find('\n') + 1;
  while (at < lines.size()) {
    unsigned long long offset = 0, bytes = 0, type = 0;
    if (std::sscanf(lines.c_str() + at, "%llu %llu %llu", &offset, &bytes, &type) != 3) break;
    heap.objects[offset] = {bytes, type};
    at = lines.find('\n', at) + 1;
  }
  heap.is_complete = lines.ends_with("end\n");
  return heap;
}

void check_libpmemobj(Os& os, const std::string& path, const CheckOptions& options,
                      CheckReport& report, Heap& heap) {
  const auto verdict =
      run_apart([&] { return ask_pmempool(path); }, Deadline::after_ms(options.timeout_ms));
  if (!verdict || !verdict->empty()) {
    add(report, "pmempool", CheckOutcome::damaged, verdict ? *verdict : verdict.error().message());
  } else {
    add(report, "pmempool", CheckOutcome::sound, "pool header and descriptor");
  }
  const auto walked =
      run_apart([&] { return walk_heap(os, path); }, Deadline::after_ms(options.timeout_ms));
  if (!walked) {
    add(report, "libpmemobj", CheckOutcome::damaged, walked.error().message());
    return;
  }
  if (walked->starts_with("? ")) {
    add(report, "libpmemobj", CheckOutcome::skipped, walked->substr(2));
    return;
  }
  if (walked->starts_with("! ")) {
    add(report, "libpmemobj", CheckOutcome::damaged, walked->substr(2));
    return;
  }
  heap = parse_heap(*walked);
  add(report, "libpmemobj", CheckOutcome::sound,
      fmt::format("opens (copy-on-write), {} objects", heap.objects.size()));
}

// Every object that the directory names must be in the heap, once, and no other.
void check_against_heap(const DirectoryCopy& copy, const Heap& heap, CheckReport& report) {
  std::map<std::uint64_t, std::uint32_t> named;
  std::string problems;
  for (std::uint32_t slot = 0; slot < copy.entries.size(); ++slot) {
    const DirectoryEntry& entry = copy.entries[slot];
    if (has_state(entry, EntryState::free) || !copy.problems[slot].empty()) continue;
    const auto object = heap.objects.find(entry.object_offset_bytes);
    if (object == heap.objects.end() || object->second.first < entry.object_bytes) {
      problems += fmt::format("; slot {} names no object of the heap", slot);
    }
    if (!named.emplace(entry.object_offset_bytes, slot).second) {
      problems += fmt::format("; slots {} and {} name the same object",
                              named[entry.object_offset_bytes], slot);
    }
  }
  std::uint64_t leaked = 0;
  for (const auto& [offset, facts] : heap.objects) {
    if (facts.second == kSegmentObjectType && !named.contains(offset)) ++leaked;
  }
  if (leaked != 0) problems += fmt::format("; {} objects are named by no slot", leaked);
  if (problems.empty()) {
    add(report, "objects", CheckOutcome::sound,
        fmt::format("the objects of {} are in the heap, none is lost",
                    count_of(named.size(), "segment version")));
  } else {
    add(report, "objects", CheckOutcome::damaged, problems.substr(2));
  }
}

void check_segment(Os& os, const PoolSegmentInfo& info, const CheckOptions& options,
                   CheckReport& report) {
  const std::string what = fmt::format("segment {} version {}", info.name, info.version);
  report.segments_checked += 1;
  if (!info.problem.empty()) return add(report, what, CheckOutcome::damaged, info.problem);
  const bool is_readable = info.state == EntryState::current || info.state == EntryState::previous;
  std::string verified = fmt::format("header ({})", entry_state_name(info.state));
  if (info.checksum_block_bytes == 0 || !is_readable || !options.read_blocks) {
    if (info.checksum_block_bytes == 0) verified += "; it has no checksums";
    return add(report, what, CheckOutcome::sound, verified);
  }
  const auto blocks =
      verify_blocks(Pool::at(os, report.path), info.name, info.version, options.threads);
  if (!blocks) return add(report, what, CheckOutcome::damaged, blocks.error().message());
  report.blocks_verified += blocks->blocks_verified;
  if (blocks->bad_block_count == 0) {
    return add(report, what, CheckOutcome::sound,
               fmt::format("{}; {} blocks", verified, blocks->blocks_verified));
  }
  std::string list;
  for (const BadBlock& bad : blocks->bad_blocks)
    list += fmt::format("{}{}", list.empty() ? "" : ", ", bad.block);
  add(report, what, CheckOutcome::damaged,
      fmt::format("{} of {} blocks differ from their checksums: {}", blocks->bad_block_count,
                  blocks->blocks_verified, list));
}

}  // namespace

bool CheckReport::is_sound() const {
  return std::none_of(items.begin(), items.end(),
                      [](const CheckItem& item) { return item.outcome == CheckOutcome::damaged; });
}

Result<CheckReport> check_pool(Os& os, const std::string& path, const CheckOptions& options) {
  CheckReport report;
  report.path = path;
  STRATA_ASSIGN(const PoolInfo info, inspect(os, path));
  if (info.kind != "strata") {
    return fail(info.kind == "none" ? Code::invalid_argument : Code::unsupported,
                fmt::format("check {}: is {}, not a Strata pool", path,
                            info.kind == "none" ? "no pool" : "a " + info.kind + " pool"));
  }
  Heap heap;
  check_libpmemobj(os, path, options, report, heap);
  const auto copy = Pool::at(os, path).directory_as_it_is(Deadline::after_ms(1000));
  if (!copy && copy.error().code() == Code::not_ready) {
    add(report, "directory", CheckOutcome::skipped,
        "a change is under way, or was interrupted: then the next use completes it or rolls it "
        "back");
    return report;
  }
  if (!copy) {
    add(report, "directory", CheckOutcome::damaged, copy.error().message());
    return report;
  }
  add(report, "directory", CheckOutcome::sound,
      fmt::format("header, state, index; {} of {} slots used, {} changes", info.used_slots,
                  info.slots, info.changes));
  if (heap.is_complete) {
    check_against_heap(*copy, heap, report);
  } else {
    add(report, "objects", CheckOutcome::skipped, "the heap could not be walked");
  }
  for (const PoolSegmentInfo& segment : info.segments)
    check_segment(os, segment, options, report);
  return report;
}

}  // namespace strata
