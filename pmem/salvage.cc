#include "pmem/salvage.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "pmem/pool_access.h"
#include "strata/base/bytes.h"
#include "strata/segment/header.h"

namespace strata::inline v0_1 {
namespace {

// The entry that stands in the header page at `at`, if it is one and is sound.
bool read_entry_copy(const PoolFile& file, std::uint64_t at, std::span<const std::byte> page,
                     DirectoryEntry& entry) {
  if (std::memcmp(page.data(), kHeaderMagic.data(), kHeaderMagic.size()) != 0) return false;
  std::memcpy(&entry, page.data() + offsetof(HeaderPage, backend), sizeof entry);
  const auto covered = std::as_bytes(std::span(&entry, 1)).first(offsetof(DirectoryEntry, crc32c));
  if (crc32c(covered) != entry.crc32c || entry.header_offset_bytes != at) return false;
  if (!check_entry(entry, file.file_bytes)) return false;
  const auto identity = read_identity_block(page);
  // Of a later program: it is there, and whoever copies it says that this one cannot.
  if (!identity) return identity.error().code() == Code::unsupported;
  return identity->uuid == entry.uuid;
}

// Looks at every page of the file for header pages.
Result<std::vector<PoolEntry>> search_header_pages(const PoolFile& file) {
  std::vector<PoolEntry> found;
  std::vector<std::byte> chunk(MiB(4));
  for (std::uint64_t at = 0; at < file.file_bytes; at += chunk.size()) {
    STRATA_ASSIGN(const std::size_t got, file.os->pread(file.fd.get(), chunk, at));
    for (std::size_t page = 0; page + kHeaderBytes <= got; page += kPageBytes) {
      PoolEntry each;
      if (read_entry_copy(file, at + page, std::span(chunk).subspan(page, kHeaderBytes),
                          each.entry)) {
        found.push_back(each);
      }
    }
  }
  std::sort(found.begin(), found.end(), [](const PoolEntry& a, const PoolEntry& b) {
    return a.entry.published_unix_ns > b.entry.published_unix_ns;
  });
  return found;
}

bool overlap(const DirectoryEntry& a, const DirectoryEntry& b) {
  return a.object_offset_bytes < b.object_offset_bytes + b.object_bytes &&
         b.object_offset_bytes < a.object_offset_bytes + a.object_bytes;
}

bool is_same_name(const DirectoryEntry& a, const DirectoryEntry& b) {
  return padded_text(a.name) == padded_text(b.name);
}

// Freed objects keep their pages until the room is used again: what overlaps something newer, or is
// an older current version of the same name, is of the past.
bool is_of_the_past(const DirectoryEntry& entry, const std::vector<PoolEntry>& kept) {
  return std::any_of(kept.begin(), kept.end(), [&](const PoolEntry& other) {
    const bool are_both_current = has_state(entry, EntryState::current) &&
                                  has_state(other.entry, EntryState::current) &&
                                  is_same_name(entry, other.entry);
    return are_both_current || overlap(entry, other.entry);
  });
}

// What a slot was, whose entry is damaged, as far as can be read.
std::string describe_slot(const DirectoryCopy& copy, std::uint32_t slot) {
  const std::string_view name = padded_text(copy.entries[slot].name);
  const bool is_its_name = hash_name(name) == copy.index[slot].name_hash;
  return is_its_name ? fmt::format("{} version {}", name, copy.entries[slot].version)
                     : fmt::format("the segment of slot {}", slot);
}

// Of each damaged slot that was in use: something else must have been found for it.
void name_missing(const DirectoryCopy& copy, std::vector<const PoolEntry*> found,
                  Salvage& salvage) {
  for (std::uint32_t slot = 0; slot < copy.entries.size(); ++slot) {
    const std::uint32_t hash = copy.index[slot].name_hash;
    if (copy.problems[slot].empty() || hash == 0) continue;
    const auto match = std::find_if(found.begin(), found.end(), [&](const PoolEntry* each) {
      return hash_name(padded_text(each->entry.name)) == hash;
    });
    if (match != found.end()) {
      found.erase(match);
    } else {
      salvage.lost.push_back(describe_slot(copy, slot) + ": " + copy.problems[slot]);
    }
  }
}

}  // namespace

Result<Salvage> salvage(const PoolFile& file) {
  Salvage result;
  const auto copy = Pool::at(*file.os, file.path).directory_as_it_is(Deadline::after_ms(1000));
  if (copy) {
    result.slots = copy->head.header.slot_count;
    for (PoolEntry& each : entries_of(*copy)) {
      result.object_offsets.insert(each.entry.object_offset_bytes);
      if (each.problem.empty()) result.entries.push_back(std::move(each));
    }
    const bool is_whole = std::all_of(copy->problems.begin(), copy->problems.end(),
                                      [](const std::string& why) { return why.empty(); });
    if (is_whole) return result;
  }
  // What is missing is memory or a right, and says nothing of the directory.
  if (!copy &&
      (copy.error().code() == Code::exhausted || copy.error().code() == Code::permission_denied)) {
    return unexpected(copy.error());
  }
  result.directory_was_rebuilt = true;
  result.lost.push_back("directory: " + (copy ? "entries are damaged" : copy.error().message()) +
                        "; made anew from the segments");
  STRATA_ASSIGN(const auto pages, search_header_pages(file));
  const std::size_t from_directory = result.entries.size();
  for (const PoolEntry& each : pages) {
    const bool is_wanted =
        has_state(each.entry, EntryState::current) || has_state(each.entry, EntryState::previous);
    if (!is_wanted || is_of_the_past(each.entry, result.entries)) continue;
    result.object_offsets.insert(each.entry.object_offset_bytes);
    result.entries.push_back(each);
  }
  if (copy) {
    std::vector<const PoolEntry*> found;
    for (std::size_t i = from_directory; i < result.entries.size(); ++i)
      found.push_back(&result.entries[i]);
    name_missing(*copy, std::move(found), result);
  } else if (result.entries.empty()) {
    const Code code = copy.error().code() == Code::unsupported ? Code::unsupported : Code::corrupt;
    return fail(code, "no segment can be found in it: " + copy.error().message());
  }
  return result;
}

}  // namespace strata::inline v0_1
