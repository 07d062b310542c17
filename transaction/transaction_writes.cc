#include "transaction/transaction_writes.h"

#include <algorithm>
#include <cstring>

#include "strata/base/bytes.h"

namespace strata::inline v0_1 {

void PendingWrites::add(std::uint64_t offset, std::uint64_t bytes, std::byte* data) {
  writes_.push_back({offset, bytes, data});
  low_ = std::min(low_, offset);
  high_ = std::max(high_, offset + bytes);
  if (writes_.size() <= kLookThrough) return;
  if (index_ == nullptr) {
    index_ = std::make_unique<Index>();
    for (std::uint32_t i = 0; i < kLookThrough; ++i)
      add_to_index(i);
  }
  add_to_index(static_cast<std::uint32_t>(writes_.size() - 1));
}

void PendingWrites::add_to_index(std::uint32_t write) {
  const Write& one = writes_[write];
  if (one.bytes == 0) return;
  const std::uint64_t last = (one.offset + one.bytes - 1) / kCacheLineBytes;
  for (std::uint64_t line = one.offset / kCacheLineBytes; line <= last; ++line) {
    const auto link = static_cast<std::uint32_t>(index_->links.size());
    const auto [place, is_new] = index_->lines.try_emplace(line, link);
    index_->links.push_back({write, is_new ? kNone : place->second});
    place->second = link;
  }
}

bool PendingWrites::overlaps(std::uint64_t offset, std::uint64_t bytes) const {
  if (!may_overlap(offset, bytes)) return false;
  return std::any_of(writes_.begin(), writes_.end(), [&](const Write& write) {
    return write.offset < offset + bytes && offset < write.offset + write.bytes;
  });
}

std::byte* PendingWrites::find(std::uint64_t offset, std::uint64_t bytes) const {
  if (bytes == 0 || !may_overlap(offset, bytes)) return nullptr;
  if (index_ == nullptr) {
    for (auto write = writes_.rbegin(); write != writes_.rend(); ++write) {
      if (write->offset == offset && write->bytes == bytes) return write->data;
      if (write->offset < offset + bytes && offset < write->offset + write->bytes) return nullptr;
    }
    return nullptr;
  }
  // A range of several lines could be overlapped in any of them: not worth the search.
  const std::uint64_t line = offset / kCacheLineBytes;
  if ((offset + bytes - 1) / kCacheLineBytes != line) return nullptr;
  const auto place = index_->lines.find(line);
  if (place == index_->lines.end()) return nullptr;
  for (std::uint32_t link = place->second; link != kNone; link = index_->links[link].older) {
    const Write& write = writes_[index_->links[link].write];
    if (write.offset == offset && write.bytes == bytes) return write.data;
    if (write.offset < offset + bytes && offset < write.offset + write.bytes) return nullptr;
  }
  return nullptr;
}

void PendingWrites::copy(const Write& write, std::byte* to, std::uint64_t offset,
                         std::uint64_t bytes) {
  const std::uint64_t from = std::max(offset, write.offset);
  const std::uint64_t end = std::min(offset + bytes, write.offset + write.bytes);
  if (from < end) std::memcpy(to + (from - offset), write.data + (from - write.offset), end - from);
}

void PendingWrites::overlay(std::byte* to, std::uint64_t offset, std::uint64_t bytes) const {
  if (bytes == 0 || !may_overlap(offset, bytes)) return;
  if (index_ == nullptr) {
    for (const Write& write : writes_)
      copy(write, to, offset, bytes);
    return;
  }
  boost::container::small_vector<std::uint32_t, 32> newest_first;
  const std::uint64_t last = (offset + bytes - 1) / kCacheLineBytes;
  for (std::uint64_t line = offset / kCacheLineBytes; line <= last; ++line) {
    const auto place = index_->lines.find(line);
    if (place == index_->lines.end()) continue;
    newest_first.clear();
    for (std::uint32_t link = place->second; link != kNone; link = index_->links[link].older)
      newest_first.push_back(index_->links[link].write);
    const std::uint64_t from = std::max(offset, line * kCacheLineBytes);
    const std::uint64_t end = std::min(offset + bytes, (line + 1) * kCacheLineBytes);
    for (auto write = newest_first.rbegin(); write != newest_first.rend(); ++write)
      copy(writes_[*write], to + (from - offset), from, end - from);
  }
}

}  // namespace strata::inline v0_1
