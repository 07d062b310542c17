// All rows, and those that this program never asks.
#include <algorithm>

#include "tests/gpu/conformance/row.h"

namespace strata::inline v0_1::conformance {

Answer not_asked(std::string why) { return {std::move(why), false}; }
Answer said(std::string text) { return {std::move(text), true}; }

Answer codes(const std::vector<CuResult>& results) {
  std::vector<int> seen;
  std::string text;
  for (const CuResult result : results) {
    const int code = static_cast<int>(result);
    if (std::find(seen.begin(), seen.end(), code) != seen.end()) continue;
    seen.push_back(code);
    text += (text.empty() ? "" : " ") + std::to_string(code);
  }
  return said(std::move(text));
}

std::vector<Row> rows_that_nobody_asks() {
  using enum Evidence;
  const auto special = [](int number, std::string what, std::vector<std::string> expected,
                          Evidence evidence, std::string why_not) {
    return Row{.number = number,
               .what = std::move(what),
               .expected = std::move(expected),
               .evidence = evidence,
               .where = Where::special,
               .why_not = std::move(why_not)};
  };
  const auto never = [](int number, std::string what, Evidence evidence, std::string why_not) {
    return Row{.number = number,
               .what = std::move(what),
               .expected = {},
               .evidence = evidence,
               .where = Where::never,
               .why_not = std::move(why_not)};
  };
  const char* const pools = "memory of pools is adopted only; no pool is made here";
  const char* const multicast = "multicast objects are not used";
  return {
      special(1, "any entry point of the toolkit's stub library", {"34"}, measured,
              "gpu/driver_test asks it where a toolkit is found"),
      never(10, "GetAllocationGranularity(prop null)", observed, "the driver crashes"),
      special(17, "cuMemCreate HOST_NUMA, get_mempolicy filtered", {}, observed,
              "needs a container that filters get_mempolicy"),
      special(19, "cuMemCreate POSIX_FD on WSL2", {"101"}, observed, "needs WSL2"),
      special(31, "Import FABRIC without the same IMEX channel", {"800"}, documented,
              "needs a fabric"),
      never(37, "Release of an invalid handle", documented, "undefined"),
      special(70, "as 69, another process with the same pid value (containers)", {"201"},
              unverified, "needs two containers"),
      special(75, "open under Kubernetes DRA isolation", {"205"}, observed, "needs Kubernetes"),
      never(76, "exporter frees before the importer closes", documented, "undefined"),
      special(81, "IPC events without a common /dev/shm", {}, observed, "needs two containers"),
      special(95, "ECC error", {"214"}, documented, "needs damaged memory"),
      special(98, "MemPoolImportPointer twice", {"0"}, observed, pools),
      special(99, "allocate from an imported pool", {}, documented, pools),
      special(100, "MemPoolSetAccess, owner's entry not RW", {}, observed, pools),
      special(102, "MulticastBindMem before all devices are added", {"blocks"}, documented,
              multicast),
      special(103, "MulticastBindMem, fabric manager down", {"802", "401"}, documented, multicast),
  };
}

std::vector<Row> all_rows() {
  std::vector<Row> all;
  for (const auto& part :
       {rows_of_start(), rows_of_allocation(), rows_of_addresses(), rows_of_access(),
        rows_of_descriptors(), rows_of_processes(), rows_of_pointers(), rows_of_ipc(),
        rows_of_host_memory(), rows_of_streams(), rows_that_nobody_asks()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  std::sort(all.begin(), all.end(), [](const Row& a, const Row& b) { return a.number < b.number; });
  return all;
}

}  // namespace strata::inline v0_1::conformance
