// The bytes that peers of the descriptor exchange leave and send: docs/format/device_peers.md.
//   Threads:  values.
//   Errors:   corrupt from the readers: every byte may have been written by anybody who runs as
//             this user.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "gpu/descriptor_exchange.h"
#include "strata/base/result.h"

namespace strata::inline v0_1::cuda {

inline constexpr std::uint16_t kPeerVersion = 1;
inline constexpr std::array<char, 4> kRecordMagic = {'S', 'R', 'P', 'E'};
inline constexpr std::array<char, 4> kAskMagic = {'S', 'R', 'P', 'Q'};
inline constexpr std::array<char, 4> kAnswerMagic = {'S', 'R', 'P', 'A'};

// What a ".peer" file holds: facts for people. Its lock alone proves anything.
struct PeerRecord {
  std::array<char, 4> magic;
  std::uint16_t version;
  std::uint16_t record_bytes;
  std::uint32_t role;    // PeerRole
  std::uint32_t access;  // Access
  SegmentUuid uuid;
  std::uint64_t generation;
  std::uint32_t pid;
  std::uint32_t uid;
  std::uint64_t start_time_ticks;
  std::uint64_t pid_namespace;
  std::uint64_t since_unix_ns;
  std::array<char, 64> command;  // zero padded
  std::array<std::uint8_t, 116> reserved;
  std::uint32_t crc32c;  // of the bytes before it
};
static_assert(sizeof(PeerRecord) == 256);
static_assert(offsetof(PeerRecord, uuid) == 16 && offsetof(PeerRecord, pid) == 40);
static_assert(offsetof(PeerRecord, command) == 72 && offsetof(PeerRecord, crc32c) == 252);

enum class PeerOp : std::uint16_t { give = 1, leave = 2, release = 3 };

struct PeerQuestion {
  std::array<char, 4> magic;
  std::uint16_t version;
  std::uint16_t op;  // PeerOp
  SegmentUuid uuid;
  std::uint64_t generation;
  std::array<std::uint8_t, 16> reserved;
};
static_assert(sizeof(PeerQuestion) == 48);

enum class PeerOutcome : std::uint16_t {
  given = 1,    // one descriptor rides along
  nothing = 2,  // it has none, or no longer
  stale = 3,    // it has another generation: the one in the answer
  done = 4,     // it left, or released
  refused = 5,  // it does not do that, or this is not its segment
};

struct PeerAnswer {
  std::array<char, 4> magic;
  std::uint16_t version;
  std::uint16_t outcome;  // PeerOutcome
  SegmentUuid uuid;
  std::uint64_t generation;  // the peer's
  std::array<std::uint8_t, 16> reserved;
};
static_assert(sizeof(PeerAnswer) == 48);

void sign(PeerRecord& record);
Result<PeerRecord> read_peer_record(std::span<const std::byte> bytes);

PeerQuestion make_question(PeerOp op, const SegmentUuid& uuid, std::uint64_t generation);
// None where it is not one that this version knows.
std::optional<PeerOp> op_of(const PeerQuestion& question);
PeerAnswer make_answer(PeerOutcome outcome, const SegmentUuid& uuid, std::uint64_t generation);
std::optional<PeerOutcome> outcome_of(const PeerAnswer& answer, const SegmentUuid& uuid);

// The names of an entry: the uuid in 32 hexadecimal digits, a dot, 16 of a random number, and an
// ending.
inline constexpr std::string_view kPeerEnding = ".peer";  // the record, and the lock
inline constexpr std::string_view kSocketEnding = ".sock";
inline constexpr std::string_view kUnfinishedEnding = ".new";  // a socket that may not listen yet

std::string entry_beginning(const SegmentUuid& uuid);
// The name without its ending; none where it is not of an entry.
std::optional<std::string> entry_of(std::string_view file_name);
SegmentUuid uuid_of_entry(std::string_view entry);

}  // namespace strata::inline v0_1::cuda
