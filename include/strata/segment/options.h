// How a segment is made and opened: typed, with defaults that are safe rather than fast.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "strata/segment/content.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

// Who may reclaim a named segment, and when.
enum class Lifetime : std::uint32_t {
  process = 1,        // when its creator exits or dies
  last_detach = 2,    // when nobody is attached any more
  job = 3,            // when the job that made it has ended
  until_removed = 4,  // only by remove()
};

enum class PageSize : std::uint32_t {
  base = 1,     // 4 KiB
  thp = 2,      // 2 MiB where the kernel grants them, else 4 KiB; what was got is reported
  huge_2m = 3,  // hugetlb, reserved by the administrator; no fallback
  huge_1g = 4,
};

// Bytes of one page of this size as mapped: 4 KiB, 2 MiB (also for THP) or 1 GiB.
std::uint64_t page_bytes_of(PageSize size);

enum class Tier : std::uint32_t { bandwidth = 1, latency = 2, capacity = 3 };

// Where the pages go.
struct Placement {
  enum class Kind : std::uint32_t {
    local = 1,       // the node of the creating thread
    node = 2,        // nodes[0], and no other
    preferred = 3,   // nodes in order of preference; others when these are full
    interleave = 4,  // page by page over `nodes`
    weighted = 5,    // weights[i] pages on nodes[i], in turn
    near_pci = 6,    // the node nearest to a PCI device
    tier = 7,        // the nodes with the best `tier` attribute
    split = 8,       // a contiguous part on each of `nodes`, equal but for the last
  };
  Kind kind = Kind::local;
  std::vector<int> nodes = {};
  std::vector<std::uint32_t> weights = {};
  std::string pci_address = {};  // "0000:3b:00.0"
  Tier tier = Tier::bandwidth;
  // Fail the creation where a page lands elsewhere; otherwise report it.
  bool is_strict = false;

  // "interleave:0,1", "weighted:0=3,1=1", "tier:bandwidth", with "!" behind it when strict.
  std::string to_string() const;
};

inline Placement on_local_node() { return {}; }
inline Placement on_node(int node) {
  return {.kind = Placement::Kind::node, .nodes = {node}, .weights = {}, .pci_address = {}};
}
inline Placement interleaved(std::vector<int> nodes) {
  return {.kind = Placement::Kind::interleave,
          .nodes = std::move(nodes),
          .weights = {},
          .pci_address = {}};
}

// For structures that keep each node's share together: see strata/heap/heap_nodes.h.
inline Placement split_over(std::vector<int> nodes) {
  return {
      .kind = Placement::Kind::split, .nodes = std::move(nodes), .weights = {}, .pci_address = {}};
}

// Whether the pages are there when create() returns. Sparse memory can fail with SIGBUS at the
// first touch, long after a successful create: it has to be asked for.
enum class Commit : std::uint32_t { up_front = 1, sparse = 2 };

// Whether create() publishes the segment, or leaves it to Segment::publish() after the creator
// has filled it. Until then attachers wait.
enum class Publish : std::uint32_t { at_once = 1, by_creator = 2 };

// How device memory is made so that other processes can attach it. Numbers stand in headers and
// handles.
enum class DeviceMechanism : std::uint32_t {
  automatic = 0,   // vmm_fd, or an error that says why not: never another one
  vmm_fd = 1,      // a driver allocation behind a descriptor; it outlives its creator
  legacy_ipc = 2,  // a CUDA IPC handle; the memory ends with its creator
  fabric = 3,      // a fabric handle, also for other machines of one NVLink domain
};
std::string_view mechanism_name(DeviceMechanism mechanism);

// Of device memory only.
struct DeviceRequest {
  std::string device =
      {};  // number or UUID ("GPU-…"); empty: that of the current CUDA context, or 0
  DeviceMechanism mechanism = DeviceMechanism::automatic;
  // The creator writes every byte before it publishes, so that nothing is filled with zeros first.
  bool is_filled_by_creator = false;

  bool operator==(const DeviceRequest&) const = default;
};

struct CreateOptions {
  std::uint64_t payload_bytes = 0;  // 0: what the elements of `content` take
  // The segment can grow up to this; 0: it cannot grow. Address space only, no memory.
  std::uint64_t max_bytes = 0;
  Placement placement = {};
  PageSize page_size = PageSize::base;
  Commit commit = Commit::up_front;
  Publish publish = Publish::at_once;
  // Without one: as the backend declares it (strata/segment/capabilities.h).
  std::optional<Lifetime> lifetime = {};
  std::uint32_t mode = 0600;  // permission bits of the named object
  std::string job_id = {};    // for Lifetime::job
  DeviceRequest device = {};
  Content content = {};
};

enum class Access : std::uint32_t {
  read_only = 1,      // a write faults
  read_write = 2,     // shared with everybody
  copy_on_write = 3,  // edits are private to this process and never seen by others
};

struct AttachOptions {
  Access access = Access::read_write;
  // How long to wait for a segment whose creator is still filling it.
  std::uint64_t timeout_ms = 1000;
  // Map 2 MiB pages and fault everything in at once, for those who will touch all of it.
  bool populate = false;
  // The device to map device memory into, as in DeviceRequest; empty: the one that it is on.
  std::string device = {};
};

struct RemoveOptions {
  // Remove it although processes are attached: they keep their memory, the name is gone.
  bool even_if_attached = false;
  // Remove this very segment alone, and not another that has its name by now (not_found). All
  // zeros: whichever has the name.
  std::array<std::uint8_t, 16> uuid = {};
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
