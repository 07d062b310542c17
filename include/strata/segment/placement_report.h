// Where the pages of a segment are: what placement got. numa/page_report.h asks the kernel for it;
// here is how it stands in the header page.
//   Threads:  store() one at a time (the holder of the segment's change lock); load_report() any.
//   Errors:   the block is evidence for people, and hostile: load_report() checks a copy.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "strata/base/result.h"
#include "strata/segment/header.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

struct NodePages {
  int node;
  std::uint64_t pages;  // of 4 KiB, whatever the size they are mapped with
  bool operator==(const NodePages&) const = default;
};

struct PlacementReport {
  std::uint64_t pages_total = 0;         // of 4 KiB, as all counts here
  std::uint64_t pages_absent = 0;        // no memory yet
  std::uint64_t huge_bytes = 0;          // mapped by pages above 4 KiB
  std::vector<NodePages> pages_on_node;  // sorted by node
  // What was done differently than asked, and why: policy calls refused, no huge pages.
  std::vector<std::string> notes;

  std::uint64_t pages_on(int node) const;
};

// Writes the report into the header page; a reader sees the old or the new one.
void store(const PlacementReport& report, PlacementBlock& block);
// A checked copy. Errors: not_found where none was written; corrupt; timed_out when a writer
// died or keeps writing.
Result<PlacementReport> load_report(const PlacementBlock& block);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
