// Looks at one crash image of the pool that crash_test works on: opens it as the next start
// would, and says what is wrong. Exit status 0: nothing.
//   usage: crash_oracle IMAGE ACKNOWLEDGED thorough|quick
#include <fmt/format.h>

#include <cstdio>
#include <cstring>

#include "pmem/pmem_backend.h"
#include "pmem/pool_access.h"
#include "pmem/pool_check.h"
#include "pmem/verified_reader.h"
#include "strata/pmem/checkpoint.h"
#include "strata/pmem/pool.h"

namespace strata::inline v0_1 {
namespace {

// The values of the pair, which is always replaced at once; -1 where it is not there.
Result<long> value_of(const Pool& pool, const std::string& name) {
  const auto reader = VerifiedReader::open(pool, name, 0);
  if (!reader && reader.error().code() == Code::not_found) return -1;
  if (!reader) return unexpected(reader.error());
  const auto bytes = reader->unverified();
  long value = 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  for (std::size_t at = 0; at + sizeof value <= bytes.size(); at += sizeof value) {
    if (std::memcmp(bytes.data() + at, &value, sizeof value) != 0) {
      return fail(Code::corrupt, fmt::format("{} is torn at byte {}", name, at));
    }
  }
  return value;
}

Result<void> examine(const std::string& path, long acknowledged, bool is_thorough) {
  RealOs os;
  STRATA_ASSIGN(const Pool pool, Pool::open(os, path));
  STRATA_ASSIGN(const auto entries, pool.entries());
  for (const PoolEntry& each : entries) {
    if (!each.problem.empty()) return fail(Code::corrupt, each.problem);
  }
  STRATA_ASSIGN(const long a, value_of(pool, "a"));
  STRATA_ASSIGN(const long b, value_of(pool, "b"));
  if (a != b) return fail(Code::corrupt, fmt::format("a is {}, b is {}", a, b));
  if (a != acknowledged && a != acknowledged + 1) {
    return fail(Code::corrupt, fmt::format("the pair is {}, {} was acknowledged", a, acknowledged));
  }
  if (!is_thorough) return {};
  STRATA_ASSIGN(const CheckReport report, check_pool(os, path));
  for (const CheckItem& item : report.items) {
    if (item.outcome == CheckOutcome::damaged) {
      return fail(Code::corrupt, item.what + ": " + item.detail);
    }
  }
  // The next start can go on working.
  STRATA_TRY(pool.sweep());
  PmemBackend backend(os);
  const SegmentUri uri{"pmem", path, "after"};
  STRATA_TRY(backend.create(uri, {.payload_bytes = 100}));
  return backend.remove(uri, {});
}

}  // namespace
}  // namespace strata::inline v0_1

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const auto done = strata::examine(argv[1], std::strtol(argv[2], nullptr, 10), argv[3][0] == 't');
  if (done) return 0;
  std::fprintf(stderr, "%s\n", done.error().to_string().c_str());
  return 1;
}
