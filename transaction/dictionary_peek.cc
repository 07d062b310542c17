// A Dictionary as it is read without its lock: look, and see by the sequence afterwards whether
// anybody changed something meanwhile (as Linux's seqlocks do).
#include <fmt/format.h>

#include <atomic>
#include <exception>

#include "transaction/dictionary_walk.h"

namespace strata::inline v0_1 {
namespace {

using Walk = DictionaryWalk;
using Peek = Dictionary::Peek;

constexpr std::size_t kMaxFindings = 32;

// A stretch of reading that nobody may have disturbed.
class Undisturbed {
 public:
  explicit Undisturbed(const SharedWord<std::uint64_t>& sequence)
      : sequence_(sequence), seen_(sequence.load(std::memory_order_acquire)) {}
  bool may_begin() const { return seen_ % 2 == 0; }
  bool was() const {
    std::atomic_thread_fence(std::memory_order_acquire);
    return sequence_.load(std::memory_order_relaxed) == seen_;
  }

 private:
  const SharedWord<std::uint64_t>& sequence_;
  std::uint64_t seen_;
};

}  // namespace

Peek Dictionary::peek(std::span<const std::byte> payload, const DictionaryKey& key,
                      std::string& room, DictionaryValue& value) const {
  const RacingReader reader{payload};
  const std::uint64_t hash = dictionary_hash(key, RacingReader::load(seed_));
  const Undisturbed look(sequence_);
  if (!look.may_begin()) return Peek::changed;
  Walk::Spot spot;
  const Walk::End end = Walk::find(reader, table_, key, hash, spot);
  if (!look.was()) return Peek::changed;
  if (end == Walk::End::lost) return Peek::lost;
  if (end == Walk::End::absent) return Peek::absent;
  value = Walk::value_of(spot.node, nullptr);
  if (!value.has_bytes()) return Peek::found;

  const std::uint64_t bytes = spot.node.value.word;
  try {
    room.resize(bytes);
  } catch (const std::exception&) {
    return Peek::lost;  // no value that anybody has set here was larger than what there is
  }
  RacingReader::copy(room.data(), spot.place + value_at(spot.node), bytes);
  value.bytes = room;
  if (look.was()) return Peek::found;
  // Others have changed something meanwhile: this one, too? A node that is there is as it was made.
  const Undisturbed again(sequence_);
  if (!again.may_begin()) return Peek::changed;
  Walk::Spot later;
  const Walk::End found = Walk::find(reader, table_, key, hash, later);
  const bool is_same = found == Walk::End::found && later.offset == spot.offset &&
                       later.node.stamp == spot.node.stamp;
  return again.was() && is_same ? Peek::found : Peek::changed;
}

Peek Dictionary::peek_key(std::span<const std::byte> payload, const DictionaryKey& key) const {
  const std::uint64_t hash = dictionary_hash(key, RacingReader::load(seed_));
  const Undisturbed look(sequence_);
  if (!look.may_begin()) return Peek::changed;
  Walk::Spot spot;
  const Walk::End end = Walk::find(RacingReader{payload}, table_, key, hash, spot);
  if (!look.was()) return Peek::changed;
  if (end == Walk::End::lost) return Peek::lost;
  return end == Walk::End::found ? Peek::found : Peek::absent;
}

bool Dictionary::peek_discarded() const { return RacingReader::load(discarded_.buckets) != 0; }

Peek Dictionary::peek_size(std::uint64_t& size) const {
  const Undisturbed look(sequence_);
  size = RacingReader::load(count_);
  return look.may_begin() && look.was() ? Peek::found : Peek::changed;
}

Result<Peek> Dictionary::peek_each(std::span<const std::byte> payload, const Visit& visit) const {
  const RacingReader reader{payload};
  const Undisturbed look(sequence_);
  if (!look.may_begin()) return Peek::changed;
  const std::uint64_t buckets = RacingReader::load(table_.buckets);
  std::string key_room, value_room;
  std::uint64_t copied = 0;  // nodes do not overlap
  for (std::uint64_t bucket = 0; bucket < buckets; ++bucket) {
    const std::uint64_t* const head = Walk::head(reader, table_, bucket);
    if (!look.was()) return Peek::changed;
    if (head == nullptr) return Peek::lost;
    Result<void> visited;
    bool is_lost = false;
    Walk::Spot spot;
    const Walk::End end = Walk::chain(reader, head, spot, [&](const Walk::Spot& here) {
      const DictionaryNode& node = here.node;
      const std::uint64_t bytes = node_bytes(node);
      is_lost = !Walk::has_kinds(node) || Walk::bucket_of(node.hash, buckets) != bucket ||
                bytes == 0 || reader.at(here.offset, bytes) == nullptr ||
                (copied += bytes) > payload.size() || !look.was();
      if (is_lost) return true;
      const std::uint64_t value_bytes = has_bytes(node.value) ? node.value.word : 0;
      try {
        key_room.resize(node.key_bytes);
        value_room.resize(value_bytes);
      } catch (const std::exception&) {
        visited = fail(Code::exhausted,
                       fmt::format("dictionary: no memory to copy a value of {} bytes", bytes));
        return true;
      }
      RacingReader::copy(key_room.data(), here.place + sizeof(node), node.key_bytes);
      RacingReader::copy(value_room.data(), here.place + value_at(node), value_bytes);
      visited = visit(Walk::key_of(node, reinterpret_cast<const std::byte*>(key_room.data())),
                      Walk::value_of(node, reinterpret_cast<const std::byte*>(value_room.data())));
      return !visited.has_value();
    });
    if (!look.was()) return Peek::changed;
    if (is_lost || end == Walk::End::lost) return Peek::lost;
    STRATA_TRY(std::move(visited));
  }
  return look.was() ? Peek::found : Peek::changed;
}

Peek Dictionary::check(std::span<const std::byte> payload, DictionaryReport& report) const {
  const RacingReader reader{payload};
  const Undisturbed look(sequence_);
  if (!look.may_begin()) return Peek::changed;
  const auto finding = [&](std::string text) {
    if (report.findings.size() < kMaxFindings) report.findings.push_back(std::move(text));
  };
  // The nodes of one table; a discarded one is looked through from where it was swept to.
  const auto walk = [&](const Table& table, std::uint64_t from, std::uint64_t& nodes,
                        std::string_view what) {
    const std::uint64_t buckets = RacingReader::load(table.buckets);
    for (std::uint64_t bucket = from; bucket < buckets; ++bucket) {
      const std::uint64_t* const head = Walk::head(reader, table, bucket);
      if (!look.was()) return;
      if (head == nullptr) {
        return finding(
            fmt::format("{}: bucket {} of {} is not in the payload", what, bucket, buckets));
      }
      std::uint64_t length = 0;
      Walk::Spot spot;
      const Walk::End end = Walk::chain(reader, head, spot, [&](const Walk::Spot& here) {
        const DictionaryNode& node = here.node;
        const std::uint64_t bytes = node_bytes(node);
        ++length;
        if (!Walk::has_kinds(node) || bytes == 0 || reader.at(here.offset, bytes) == nullptr) {
          return true;
        }
        report.node_bytes += bytes;
        if (report.node_bytes > payload.size()) return true;  // nodes do not overlap
        if (Walk::bucket_of(node.hash, buckets) != bucket) {
          finding(fmt::format("{}: the node at 0x{:x} is in bucket {} and of another", what,
                              here.offset, bucket));
          return false;
        }
        if (node.key_kind == static_cast<std::uint8_t>(DictionaryKey::Kind::integer) &&
            node.key_bytes != sizeof(std::int64_t)) {
          return true;
        }
        const DictionaryKey key = Walk::key_of(node, here.place + sizeof(node));
        if (dictionary_hash(key, RacingReader::load(seed_)) != node.hash) {
          finding(fmt::format("{}: the key of the node at 0x{:x} has another hash than it says",
                              what, here.offset));
        }
        return false;
      });
      if (!look.was()) return;
      if (end != Walk::End::absent) {
        finding(
            fmt::format("{}: the node at 0x{:x} in bucket {} is no node, or the chain of the "
                        "bucket comes back to itself",
                        what, spot.offset, bucket));
      }
      nodes += length;
      report.longest_chain = std::max(report.longest_chain, length);
    }
  };
  report.buckets = RacingReader::load(table_.buckets);
  walk(table_, 0, report.keys, "table");
  walk(discarded_, RacingReader::load(swept_), report.discarded_nodes, "discarded table");
  const std::uint64_t count = RacingReader::load(count_);
  if (report.keys != count && report.findings.empty()) {
    finding(fmt::format("it counts {} keys and holds {}", count, report.keys));
  }
  return look.was() ? Peek::found : Peek::changed;
}

}  // namespace strata::inline v0_1
