#include "strata/segment/header.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "strata/segment/content_hash.h"

namespace strata::inline v0_1 {
namespace {

// Bits that this version knows, by mask; none has been needed yet.
constexpr std::uint64_t kKnownRequired = 0;
constexpr std::uint64_t kKnownReadOnly = 0;

template <typename Block>
std::uint32_t crc_of(const Block& block) {
  return crc32c(std::as_bytes(std::span(&block, 1)).first(offsetof(Block, crc32c)));
}

Unexpected corrupt(std::string why) { return fail(Code::corrupt, "header: " + std::move(why)); }

bool is_power_of_two(std::uint64_t value) { return value && !(value & (value - 1)); }

// Relations between fields that no writer of ours can break.
Result<void> check_bounds(const IdentityBlock& identity) {
  if (identity.header_bytes != kHeaderBytes) {
    return corrupt(fmt::format("is {} bytes, not {}", identity.header_bytes, kHeaderBytes));
  }
  if (!segment_kind(identity.kind)) return corrupt(fmt::format("kind {}", identity.kind));
  if (identity.lifetime < 1 || identity.lifetime > 4) {
    return corrupt(fmt::format("lifetime {}", identity.lifetime));
  }
  if (identity.page_size < 1 || identity.page_size > 4) {
    return corrupt(fmt::format("page size {}", identity.page_size));
  }
  if (!is_power_of_two(identity.page_bytes) || identity.page_bytes < kPageBytes ||
      identity.page_bytes > GiB(1)) {
    return corrupt(fmt::format("pages of {} bytes", identity.page_bytes));
  }
  if (identity.payload_is_apart > 1) return corrupt("payload_is_apart is neither 0 nor 1");
  const std::uint64_t least_offset = identity.payload_is_apart ? 0 : kHeaderBytes;
  if (identity.payload_offset_bytes < least_offset ||
      identity.payload_offset_bytes % kPageBytes != 0 ||
      identity.payload_offset_bytes > std::uint64_t{1} << 47) {
    return corrupt(fmt::format("payload offset {}", identity.payload_offset_bytes));
  }
  if (identity.created_payload_bytes == 0 || identity.max_bytes < identity.created_payload_bytes ||
      identity.max_bytes > std::uint64_t{1} << 47) {
    return corrupt(fmt::format("payload of {} bytes that may grow to {}",
                               identity.created_payload_bytes, identity.max_bytes));
  }
  if (identity.name.back() || identity.job_id.back() || identity.placement.back()) {
    return corrupt("a text field has no end");
  }
  return {};
}

}  // namespace

std::string_view kind_name(SegmentKind kind) {
  switch (kind) {
    case SegmentKind::shm: return "shm";
    case SegmentKind::pmem: return "pmem";
    case SegmentKind::cuda: return "cuda";
    case SegmentKind::fake: return "fake";
  }
  return "unknown";
}

std::optional<SegmentKind> segment_kind(std::uint64_t number) {
  constexpr auto kFirst = static_cast<std::uint64_t>(SegmentKind::shm);
  constexpr auto kLast = static_cast<std::uint64_t>(SegmentKind::fake);
  if (number < kFirst || number > kLast) return std::nullopt;
  return static_cast<SegmentKind>(number);
}

std::string_view state_name(SegmentState state) {
  switch (state) {
    case SegmentState::blank: return "blank";
    case SegmentState::initialising: return "initialising";
    case SegmentState::ready: return "ready";
    case SegmentState::sealed: return "sealed";
    case SegmentState::retired: return "retired";
  }
  return "unknown";
}

void sign(IdentityBlock& identity) { identity.crc32c = crc_of(identity); }
void sign(SealBlock& seal) { seal.crc32c = crc_of(seal); }
void sign(PlacementBlock& placement) { placement.crc32c = crc_of(placement); }
void sign(MigrationBlock& migration) { migration.crc32c = crc_of(migration); }
void sign(ContentBlock& content) { content.crc32c = crc_of(content); }

Result<IdentityBlock> read_identity_block(std::span<const std::byte> page) {
  if (page.size() < kHeaderBytes) {
    return corrupt(fmt::format("only {} bytes, not {}", page.size(), kHeaderBytes));
  }
  // One copy first: what is checked below is what the caller gets, whoever writes meanwhile.
  IdentityBlock identity;
  std::memcpy(&identity, page.data(), sizeof identity);
  if (identity.magic != kHeaderMagic) return corrupt("not a Strata segment (wrong magic)");
  if (identity.version_major != kHeaderVersionMajor) {
    return fail(identity.crc32c == crc_of(identity) ? Code::unsupported : Code::corrupt,
                fmt::format("header: version {}.{}, this library reads {}.x",
                            identity.version_major, identity.version_minor, kHeaderVersionMajor));
  }
  if (const std::uint64_t unknown = identity.features_required & ~kKnownRequired) {
    return fail(identity.crc32c == crc_of(identity) ? Code::unsupported : Code::corrupt,
                fmt::format("header: is {}.{}, feature bits {:#x} unknown", identity.version_major,
                            identity.version_minor, unknown));
  }
  if (identity.crc32c != crc_of(identity)) {
    return corrupt(
        fmt::format("checksum {:08x}, its bytes give {:08x}", identity.crc32c, crc_of(identity)));
  }
  if (auto checked = check_bounds(identity); !checked) return unexpected(checked.error());
  return identity;
}

bool must_attach_read_only(const IdentityBlock& identity) {
  return (identity.features_read_only & ~kKnownReadOnly) != 0;
}

SealBlock make_seal_block(std::uint64_t sealed_bytes, const std::array<std::uint8_t, 16>& hash) {
  SealBlock seal{};
  seal.sealed_bytes = sealed_bytes;
  seal.hash = hash;
  seal.hash_algorithm = kHashXxh3;
  sign(seal);
  return seal;
}

Result<SealBlock> read_seal_block(const HeaderPage& page) {
  SealBlock seal;
  std::memcpy(&seal, &page.seal, sizeof seal);
  if (seal.crc32c != crc_of(seal)) return corrupt("the seal fails its checksum");
  if (seal.hash_algorithm != kHashXxh3) {
    return fail(Code::unsupported, fmt::format("header: hash algorithm {}", seal.hash_algorithm));
  }
  return seal;
}

void record_migration(HeaderPage& page, const Placement& placement) {
  const std::string text = placement.to_string();
  MigrationBlock migration{};
  std::copy_n(text.begin(), std::min(text.size(), migration.placement.size() - 1),
              migration.placement.begin());
  sign(migration);
  std::memcpy(&page.migration, &migration, sizeof migration);
}

std::string placement_now(const HeaderPage& page, const IdentityBlock& identity) {
  MigrationBlock migration;
  std::memcpy(&migration, &page.migration, sizeof migration);
  const std::string_view moved = padded_text(migration.placement);
  const bool is_told = !moved.empty() && migration.crc32c == crc_of(migration);
  return std::string(is_told ? moved : padded_text(identity.placement));
}

std::string uuid_text(const std::array<std::uint8_t, 16>& uuid) {
  std::string text;
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", uuid[i]);
  }
  return text;
}

}  // namespace strata::inline v0_1
