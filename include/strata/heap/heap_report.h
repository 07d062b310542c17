// What a heap says about itself: check's findings, use and fragmentation, objects. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

// What check() found wrong, by kind; the text says where, and what stands there.
struct HeapFinding {
  enum class Kind : std::uint8_t {
    header,      // identity, limits or counters of the heap's header
    descriptor,  // of a unit: impossible kind, class, length, owner or overlap
    bitmap,      // a block state that no operation leaves
    hint,        // a derived word disagrees; harmless, repaired by recover()
    slot,        // a thread's record: impossible owner or intent
    dead_owner,  // something that a dead process still holds; recover() frees it
    name,        // a cell or record of the names
    lock,        // a lock word that no lock operation makes
    log,         // the transaction log: its head, marks, or a record
  };
  Kind kind;
  std::uint64_t offset_bytes;  // where in the payload
  std::string text;
};
std::string finding_kind_name(HeapFinding::Kind kind);

struct HeapReport {
  // What was verified.
  std::uint64_t units = 0;
  std::uint64_t spans = 0;
  std::uint64_t blocks = 0;            // places for blocks, used or not
  std::uint64_t allocated_blocks = 0;  // allocated or freeing
  std::uint64_t allocated_bytes = 0;
  std::uint64_t unfinished_blocks = 0;  // tentative or freeing: a transaction has them in hand
  std::uint64_t slots = 0;              // in use
  std::uint64_t names = 0;
  std::uint64_t log_slots = 0;        // of the transaction log; 0: there is none
  std::uint64_t log_records = 0;      // that a power failure now would repeat or undo
  std::vector<HeapFinding> findings;  // at most kMaxFindings
  std::uint64_t finding_count = 0;    // all of them

  static constexpr std::size_t kMaxFindings = 1000;
  // Nothing but what a dead process left behind, or hints that lag.
  bool is_consistent() const;
  // Not even that.
  bool is_clean() const { return finding_count == 0; }
  // "verified 1024 units, 17 spans, … : 2 findings"
  std::string to_string() const;
};

struct RecoveryReport {
  std::uint64_t slots = 0;           // of dead threads, now free
  std::uint64_t intents = 0;         // half-done operations completed or undone
  std::uint64_t spans = 0;           // given to whoever needs them
  std::uint64_t units = 0;           // of spans that were empty
  std::uint64_t deferred_slots = 0;  // wait for the recovery of a transaction
};

struct ObjectInfo {
  std::string name;
  std::string type;
  std::uint64_t offset_bytes = 0;
  std::uint64_t bytes = 0;
  std::uint32_t align_bytes = 0;
  std::uint64_t layout_hash = 0;
};

struct BlockInfo {
  std::uint64_t offset_bytes;
  std::uint64_t bytes;
};

struct HeapUsage {
  std::uint64_t payload_bytes = 0;
  std::uint64_t max_bytes = 0;
  std::uint64_t table_bytes = 0;  // the heap's own
  std::uint64_t span_bytes = 0;   // in spans
  std::uint64_t allocated_bytes = 0;
  std::uint64_t free_unit_bytes = 0;
  std::uint64_t largest_free_bytes = 0;  // the largest object that a free run could hold
  std::uint64_t threads = 0;             // that hold a slot
  std::uint64_t names = 0;

  struct Class {
    std::uint64_t block_bytes = 0;  // 0: large objects
    std::uint64_t spans = 0;
    std::uint64_t blocks = 0;
    std::uint64_t allocated_blocks = 0;
    std::uint64_t allocated_bytes = 0;
  };
  std::vector<Class> classes;  // those that have spans
  struct Node {
    int node = 0;
    std::uint64_t units = 0;
    std::uint64_t used_units = 0;
  };
  std::vector<Node> nodes;
  // One byte per unit: 0 free, 255 tables, otherwise 1 to 100 percent allocated (1: empty span).
  std::vector<std::uint8_t> unit_fill;

  // Allocated bytes over the bytes of spans that hold them.
  double space_used_well() const {
    return span_bytes == 0 ? 1.0
                           : static_cast<double>(allocated_bytes) / static_cast<double>(span_bytes);
  }
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
