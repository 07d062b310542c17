#include "strata/heap/list.h"

#include <fmt/format.h>

#include <bit>

#include "base/crc32c.h"

namespace strata::inline v0_1 {
namespace {

constexpr char kMagic[8] = {'S', 'T', 'R', 'A', 'L', 'I', 'S', 'T'};

std::uint32_t crc_of(const ListHead& head) {
  return crc32c(std::as_bytes(std::span(&head, 1)).first(offsetof(ListHead, crc32c)));
}

// Bytes of a list of this kind, or nothing where they overflow or contradict each other.
bool total_bytes(const ListHead& head, std::uint64_t& total) {
  std::uint64_t tables = 0;
  switch (static_cast<ListKind>(head.kind)) {
    case ListKind::int64:
    case ListKind::float64:
      if (head.count > ~std::uint64_t{0} / 8 || head.payload_bytes != head.count * 8) return false;
      break;
    case ListKind::bytes:
    case ListKind::utf8:
      if (head.count >= (std::uint64_t{1} << 60)) return false;
      tables = (head.count + 1) * sizeof(std::uint64_t);
      break;
    case ListKind::bits:
      if (head.payload_bytes % 8 != 0 ||
          head.payload_bytes / 8 != head.count / 64 + (head.count % 64 != 0)) {
        return false;
      }
      break;
    default: return false;
  }
  if (head.payload_bytes > (std::uint64_t{1} << 62)) return false;
  total = sizeof(ListHead) + tables + head.payload_bytes;
  return true;
}

}  // namespace

namespace list_internal {

Result<ListHead> read_head(std::span<const std::byte> bytes, ListKind kind) {
  ListHead head;
  if (bytes.size() < sizeof(head)) return fail(Code::corrupt, "list: shorter than its head");
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % 8 != 0) {
    return fail(Code::invalid_argument, "list: its bytes have to be aligned to 8");
  }
  std::memcpy(&head, bytes.data(), sizeof(head));
  if (std::memcmp(head.magic, kMagic, sizeof(kMagic)) != 0) {
    return fail(Code::corrupt, "list: no magic");
  }
  if (head.version != kListVersion) {
    return fail(Code::unsupported,
                fmt::format("list: version {}, known is {}", head.version, kListVersion));
  }
  if (head.crc32c != crc_of(head))
    return fail(Code::corrupt, "list: checksum of its head is wrong");
  if (head.kind != static_cast<std::uint32_t>(kind)) {
    return fail(Code::unsupported, fmt::format("list: of kind {}, asked for kind {}", head.kind,
                                               static_cast<std::uint32_t>(kind)));
  }
  std::uint64_t total = 0;
  if (!total_bytes(head, total) || total > bytes.size()) {
    return fail(Code::corrupt, fmt::format("list: {} items of {} bytes do not fit into {} bytes",
                                           head.count, head.payload_bytes, bytes.size()));
  }
  return head;
}

Result<void> write_head(std::span<std::byte> to, ListKind kind, std::uint64_t count,
                        std::uint64_t payload_bytes, std::uint64_t total_bytes) {
  if (to.size() < total_bytes) {
    return fail(Code::exhausted,
                fmt::format("list: needs {} bytes, there are {}", total_bytes, to.size()));
  }
  if (reinterpret_cast<std::uintptr_t>(to.data()) % 8 != 0) {
    return fail(Code::invalid_argument, "list: its bytes have to be aligned to 8");
  }
  ListHead head{};
  std::memcpy(head.magic, kMagic, sizeof(kMagic));
  head.version = kListVersion;
  head.kind = static_cast<std::uint32_t>(kind);
  head.count = count;
  head.payload_bytes = payload_bytes;
  head.crc32c = crc_of(head);
  std::memcpy(to.data(), &head, sizeof(head));
  return {};
}

}  // namespace list_internal

std::uint64_t BytesList::bytes_for(std::span<const std::string_view> items) {
  std::uint64_t payload = 0;
  for (const std::string_view item : items)
    payload += item.size();
  return sizeof(ListHead) + (items.size() + 1) * sizeof(std::uint64_t) + payload;
}

Result<void> BytesList::write_as(ListKind kind, std::span<std::byte> to,
                                 std::span<const std::string_view> items) {
  const std::uint64_t total = bytes_for(items);
  const std::uint64_t offsets_bytes = (items.size() + 1) * sizeof(std::uint64_t);
  const std::uint64_t payload_bytes = total - sizeof(ListHead) - offsets_bytes;
  STRATA_TRY(list_internal::write_head(to, kind, items.size(), payload_bytes, total));
  std::byte* offsets = to.data() + sizeof(ListHead);
  std::byte* const payload = offsets + offsets_bytes;
  std::uint64_t at = 0;
  for (const std::string_view item : items) {
    std::memcpy(offsets, &at, sizeof(at));
    offsets += sizeof(at);
    if (!item.empty()) std::memcpy(payload + at, item.data(), item.size());
    at += item.size();
  }
  std::memcpy(offsets, &at, sizeof(at));
  return {};
}

Result<BytesList> BytesList::open_as(ListKind kind, std::span<const std::byte> bytes) {
  STRATA_ASSIGN(const ListHead head, list_internal::read_head(bytes, kind));
  return BytesList(bytes.data() + sizeof(head), head.count, head.payload_bytes);
}

Result<void> BytesList::write(std::span<std::byte> to, std::span<const std::string_view> items) {
  return write_as(ListKind::bytes, to, items);
}

Result<BytesList> BytesList::open(std::span<const std::byte> bytes) {
  return open_as(ListKind::bytes, bytes);
}

Result<void> BytesList::check() const {
  if (offset(0) != 0 || offset(count_) != payload_bytes_) {
    return fail(Code::corrupt, "list: its offsets do not span the payload");
  }
  for (std::uint64_t i = 0; i < count_; ++i) {
    if (offset(i) > offset(i + 1) || offset(i + 1) > payload_bytes_) {
      return fail(Code::corrupt, fmt::format("list: item {} ends before it begins, or outside", i));
    }
  }
  return {};
}

Result<void> StringList::write(std::span<std::byte> to, std::span<const std::string_view> items) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!is_utf8(items[i])) {
      return fail(Code::invalid_argument, fmt::format("list: item {} is not UTF-8", i));
    }
  }
  return write_as(ListKind::utf8, to, items);
}

Result<StringList> StringList::open(std::span<const std::byte> bytes) {
  STRATA_ASSIGN(const BytesList list, open_as(ListKind::utf8, bytes));
  return StringList(list);
}

Result<void> StringList::check() const {
  STRATA_TRY(BytesList::check());
  for (std::uint64_t i = 0; i < size(); ++i)
    if (!is_utf8((*this)[i]))
      return fail(Code::corrupt, fmt::format("list: item {} is not UTF-8", i));
  return {};
}

Result<void> BitList::write(std::span<std::byte> to, std::span<const std::uint64_t> words,
                            std::uint64_t count) {
  const std::uint64_t needed = count / 64 + (count % 64 != 0);
  if (words.size() < needed) {
    return fail(Code::invalid_argument, fmt::format("list: {} bits take {} words, given are {}",
                                                    count, needed, words.size()));
  }
  STRATA_TRY(list_internal::write_head(to, ListKind::bits, count, needed * 8, bytes_for(count)));
  if (needed == 0) return {};
  std::memcpy(to.data() + sizeof(ListHead), words.data(), needed * 8);
  if (count % 64 != 0) {
    const std::uint64_t last = words[needed - 1] & ((std::uint64_t{1} << (count % 64)) - 1);
    std::memcpy(to.data() + sizeof(ListHead) + (needed - 1) * 8, &last, sizeof(last));
  }
  return {};
}

Result<BitList> BitList::open(std::span<const std::byte> bytes) {
  STRATA_ASSIGN(const ListHead head, list_internal::read_head(bytes, ListKind::bits));
  const auto* words = reinterpret_cast<const std::uint64_t*>(bytes.data() + sizeof(head));
  return BitList({words, head.payload_bytes / 8}, head.count);
}

std::uint64_t BitList::count_set() const {
  std::uint64_t set = 0;
  for (const std::uint64_t word : words_)
    set += static_cast<std::uint64_t>(std::popcount(word));
  return set;
}

bool is_utf8(std::string_view text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = at + text.size();
  while (at != end) {
    if (end - at >= 8) {  // eight ASCII bytes at a time
      std::uint64_t word;
      std::memcpy(&word, at, sizeof(word));
      if ((word & 0x8080808080808080u) == 0) {
        at += 8;
        continue;
      }
    }
    const unsigned char first = *at++;
    if (first < 0x80) continue;
    const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
    if (first < 0xC2 || first > 0xF4 || end - at < more) return false;
    // The second byte decides about overlong forms, surrogates and the upper end.
    const unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (*at < low || *at > high) return false;
    for (int i = 1; i < more; ++i)
      if ((at[i] & 0xC0) != 0x80) return false;
    at += more;
  }
  return true;
}

}  // namespace strata::inline v0_1
