// Finding names. Readers take no lock and write nothing; they read a record and then make sure that
// its cell, and the table, are still the same.
#include <fmt/format.h>
// Names are short: a call would cost more than the hash.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <atomic>
#include <bit>
#include <cstring>

#include "heap/heap_core_inline.h"
#include "heap/name_record.h"

namespace strata::inline v0_1 {

using namespace heap_layout;

namespace {

constexpr unsigned kMinTableLog2 = 6, kMaxTableLog2 = 40;
constexpr int kMaxReadTries = 1000;

std::uint64_t load_word(const std::byte* address, std::memory_order order) {
  return std::atomic_ref<std::uint64_t>(
             *const_cast<std::uint64_t*>(reinterpret_cast<const std::uint64_t*>(address)))
      .load(order);
}

std::uint64_t read_8(const char* text) {
  std::uint64_t word;
  std::memcpy(&word, text, 8);
  return word;
}

}  // namespace

std::uint64_t HeapCore::hash_of(std::string_view name) {
  const std::uint64_t hash = XXH3_64bits(name.data(), name.size());
  return hash == 0 ? 1 : hash;
}

bool HeapCore::is_record_sound(const NameCopy& copy) {
  return record_crc(copy.head, copy.name(), copy.type()) == copy.head.crc32c;
}

bool HeapCore::table_of(std::uint64_t root, NameTable& table) const {
  const unsigned log2 = static_cast<unsigned>(root & 63);
  if (log2 < kMinTableLog2 || log2 > kMaxTableLog2) return false;
  std::byte* const cells =
      at(root & kCellOffsetMask & ~std::uint64_t{63}, sizeof(NameCell) << log2);
  if (cells == nullptr) return false;
  table = {reinterpret_cast<NameCell*>(cells), (std::uint64_t{1} << log2) - 1};
  return true;
}

// Copies the record at `offset` word by word, since it may be freed and filled with something else
// meanwhile. False where it cannot be one.
inline bool HeapCore::copy_head(std::uint64_t offset, NameRecord& head) const {
  if (offset % sizeof(std::uint64_t) != 0) return false;
  const std::byte* const from = at(offset, sizeof(NameRecord));
  if (from == nullptr) return false;
  const auto word = [&](std::size_t i) {
    return load_word(from + i * 8, std::memory_order_relaxed);
  };
  head.object = word(0);
  head.bytes = word(1);
  head.layout_hash = word(2);
  const std::uint64_t sizes = word(3), sum = word(4);
  head.align_bytes = static_cast<std::uint32_t>(sizes);
  head.name_bytes = static_cast<std::uint16_t>(sizes >> 32);
  head.type_bytes = static_cast<std::uint16_t>(sizes >> 48);
  head.crc32c = static_cast<std::uint32_t>(sum);
  head.reserved = static_cast<std::uint32_t>(sum >> 32);
  return head.name_bytes <= kMaxObjectNameBytes && head.type_bytes <= kMaxTypeNameBytes;
}

bool HeapCore::copy_record(std::uint64_t offset, NameCopy& copy) const {
  if (!copy_head(offset, copy.head)) return false;
  const auto copy_text = [&](std::uint64_t from, std::uint64_t bytes, char* to) {
    const std::byte* const text = at(from, align_up(bytes, 8));
    if (text == nullptr || from % 8 != 0) return false;
    for (std::uint64_t i = 0; i < bytes; i += 8) {
      const std::uint64_t word = load_word(text + i, std::memory_order_relaxed);
      std::memcpy(to + i, &word, 8);
    }
    return true;
  };
  copy.offset = offset;
  return copy_text(offset + sizeof(NameRecord), copy.head.name_bytes, copy.name_text.data()) &&
         copy_text(type_at(copy.head), copy.head.type_bytes, copy.type_text.data());
}

// Whether that is the name behind the record, whose head says that it has as many bytes.
inline bool HeapCore::has_name(std::uint64_t offset, std::string_view name) const {
  const std::byte* const text = at(offset + sizeof(NameRecord), align_up(name.size(), 8));
  if (text == nullptr) return false;
  const std::size_t rest = name.size() % 8, whole = name.size() - rest;
  for (std::size_t i = 0; i < whole; i += 8) {
    if (load_word(text + i, std::memory_order_relaxed) != read_8(name.data() + i)) return false;
  }
  if (rest == 0) return true;
  std::uint64_t wanted = 0;
  if (whole != 0) {
    wanted = read_8(name.data() + name.size() - 8) >> (64 - 8 * rest);
  } else {
    for (std::size_t i = 0; i < rest; ++i)
      wanted |= std::uint64_t{static_cast<unsigned char>(name[i])} << 8 * i;
  }
  const std::uint64_t found = load_word(text + whole, std::memory_order_relaxed);
  return (found ^ wanted) << (64 - 8 * rest) == 0;
}

HeapCore::Search HeapCore::search(std::string_view name, std::uint64_t hash,
                                  NameFound& found) const {
  const NamesBlock& names = header().names;
  for (int attempt = 0; attempt < kMaxReadTries; ++attempt) {
    const std::uint64_t root = names.root.load(std::memory_order_acquire);
    if (root == 0) return Search::not_found;
    NameTable table;
    if (!table_of(root, table)) return Search::bad_table;
    bool is_stale = false;
    for (std::uint64_t i = 0; i <= table.mask && !is_stale; ++i) {
      NameCell& cell = table.cells[(hash + i) & table.mask];
      const std::uint64_t here = cell.hash.load(std::memory_order_acquire);
      if (here == 0) break;
      if (here != hash) continue;
      const std::uint64_t record = cell.record.load(std::memory_order_acquire);
      found.offset = record & kCellOffsetMask;
      if (found.offset == 0) continue;
      const bool is_read = copy_head(found.offset, found.head);
      const bool is_it =
          is_read && found.head.name_bytes == name.size() && has_name(found.offset, name);
      std::atomic_thread_fence(std::memory_order_acquire);
      is_stale = cell.record.load(std::memory_order_relaxed) != record ||
                 names.root.load(std::memory_order_relaxed) != root;
      if (is_stale) break;
      found.cell = &cell;
      if (!is_read) return Search::bad_record;
      if (is_it) return Search::found;
    }
    // The table that was searched may have been freed, and filled with something else, meanwhile.
    std::atomic_thread_fence(std::memory_order_acquire);
    if (!is_stale && names.root.load(std::memory_order_relaxed) == root) break;
  }
  return Search::not_found;
}

Status HeapCore::search_error(Search how, std::string_view name) const {
  if (how == Search::bad_table) {
    return Status(Code::corrupt,
                  fmt::format("heap: the table of names is at {:#x}", header().names.root.load()));
  }
  if (how == Search::bad_record) {
    return Status(Code::corrupt,
                  fmt::format("find '{}': its record is not in this heap, or is none", name));
  }
  return Status(Code::not_found, fmt::format("find '{}': no object of that name", name));
}

// not_found, or corrupt where a record cannot be read although nobody is changing it.
Result<void> HeapCore::look_up(std::string_view name, NameCopy& copy) const {
  STRATA_TRY(check_object_name(name));
  NameFound found;
  if (const Search how = search(name, hash_of(name), found); how != Search::found) {
    return unexpected(search_error(how, name));
  }
  if (!copy_record(found.offset, copy)) {
    return unexpected(search_error(Search::bad_record, name));
  }
  copy.cell = found.cell;
  return {};
}

// Null where the record says what cannot be.
inline std::byte* HeapCore::object_of(const NameFound& found, std::uint32_t align_bytes) const {
  const NameRecord& head = found.head;
  if (head.object % align_bytes != 0 || head.object < found.offset + sizeof(NameRecord)) {
    return nullptr;
  }
  return at(head.object, head.bytes);
}

Result<void*> HeapCore::checked_object(const NameFound& found, std::string_view name,
                                       const TypeTag* type) const {
  const NameRecord& head = found.head;
  // The hash covers the whole name of the type.
  if (type != nullptr && head.layout_hash != type->layout_hash) [[unlikely]] {
    NameCopy copy;
    if (!copy_record(found.offset, copy)) copy.head.type_bytes = 0;
    return fail(Code::invalid_argument,
                fmt::format("find '{}': it is a {} of {} bytes (layout {:016x}), and not a {} of "
                            "{} bytes (layout {:016x})",
                            name, copy.type(), head.bytes, head.layout_hash, type->name,
                            type->bytes, type->layout_hash));
  }
  std::byte* const object = object_of(found, type == nullptr ? 1 : type->align_bytes);
  if (object == nullptr) {
    return fail(Code::corrupt,
                fmt::format("find '{}': the object is at {:#x}, {} bytes, its record at {:#x}",
                            name, head.object, head.bytes, found.offset));
  }
  return object;
}

Result<void*> HeapCore::find_object(std::string_view name, const TypeTag& type) const {
  NameFound found;
  if (name.size() - 1 < kMaxObjectNameBytes &&
      search(name, hash_of(name), found) == Search::found &&
      found.head.layout_hash == type.layout_hash) [[likely]] {
    if (std::byte* const object = object_of(found, type.align_bytes)) [[likely]]
      return object;
  }
  return find_slowly(name, type);
}

// Looks once more, to say what is wrong. Apart, so that the common path has no strings about it.
[[gnu::noinline]] Result<void*> HeapCore::find_slowly(std::string_view name,
                                                      const TypeTag& type) const {
  STRATA_TRY(check_object_name(name));
  NameFound found;
  if (const Search how = search(name, hash_of(name), found); how != Search::found) {
    return unexpected(search_error(how, name));
  }
  return checked_object(found, name, &type);
}

ObjectInfo HeapCore::info_of(const NameCopy& copy) {
  return {.name = std::string(copy.name()),
          .type = std::string(copy.type()),
          .offset_bytes = copy.head.object,
          .bytes = copy.head.bytes,
          .align_bytes = copy.head.align_bytes,
          .layout_hash = copy.head.layout_hash};
}

Result<ObjectInfo> HeapCore::stat_object(std::string_view name) const {
  NameCopy copy;
  STRATA_TRY(look_up(name, copy));
  return info_of(copy);
}

Result<std::vector<ObjectInfo>> HeapCore::objects() const {
  std::vector<ObjectInfo> objects;
  for (int attempt = 0; attempt < kMaxReadTries; ++attempt) {
    const std::uint64_t root = header().names.root.load(std::memory_order_acquire);
    if (root == 0) return objects;
    NameTable table;
    if (!table_of(root, table)) {
      return fail(Code::corrupt, fmt::format("heap: the table of names is at {:#x}", root));
    }
    objects.clear();
    for (std::uint64_t i = 0; i <= table.mask; ++i) {
      const std::uint64_t record = table.cells[i].record.load(std::memory_order_acquire);
      NameCopy copy;
      if ((record & kCellOffsetMask) == 0 || !copy_record(record & kCellOffsetMask, copy)) continue;
      std::atomic_thread_fence(std::memory_order_acquire);
      // A name that comes or goes meanwhile may be left out.
      if (table.cells[i].record.load(std::memory_order_relaxed) == record) {
        objects.push_back(info_of(copy));
      }
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    if (header().names.root.load(std::memory_order_relaxed) == root) break;
  }
  return objects;
}

}  // namespace strata::inline v0_1
