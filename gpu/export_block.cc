#include "gpu/export_block.h"

#include <fmt/format.h>

#include <cstring>

#include "base/crc32c.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kMaxAllocationBytes = std::uint64_t{1} << 47;

std::uint32_t crc_of(const ExportBlock& block) {
  return crc32c(std::as_bytes(std::span(&block, 1)).first(offsetof(ExportBlock, crc32c)));
}

Unexpected corrupt(std::string why) {
  return fail(Code::corrupt, "header of device memory: " + std::move(why));
}

}  // namespace

DeviceBlock& device_block_of(HeaderPage& page) {
  return *reinterpret_cast<DeviceBlock*>(page.backend.data());
}

void sign(ExportBlock& block) {
  block.magic = kExportMagic;
  block.version = kExportVersion;
  block.crc32c = crc_of(block);
}

Result<ExportBlock> read_export_block(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(ExportBlock)) return corrupt("it is cut off");
  // One copy first: what is checked below is what the caller gets.
  ExportBlock block;
  std::memcpy(&block, bytes.data(), sizeof block);
  if (block.magic != kExportMagic) return corrupt("it does not say where the memory is");
  if (block.crc32c != crc_of(block)) return corrupt("it fails its checksum");
  if (block.version != kExportVersion) {
    return fail(Code::unsupported, fmt::format("header of device memory: version {}, this library "
                                               "reads {}",
                                               block.version, kExportVersion));
  }
  const auto mechanism = static_cast<DeviceMechanism>(block.mechanism);
  if (mechanism != DeviceMechanism::vmm_fd && mechanism != DeviceMechanism::legacy_ipc &&
      mechanism != DeviceMechanism::fabric) {
    return fail(Code::unsupported,
                fmt::format("header of device memory: mechanism {}", block.mechanism));
  }
  if (block.allocation_bytes == 0 || block.allocation_bytes > kMaxAllocationBytes ||
      block.offset_bytes >= block.allocation_bytes) {
    return corrupt(fmt::format("an allocation of {} bytes with the payload at {}",
                               block.allocation_bytes, block.offset_bytes));
  }
  if (block.pci_address.back() != '\0' || block.device_name.back() != '\0') {
    return corrupt("a text field has no end");
  }
  return block;
}

Result<ExportBlock> read_export_block(const HeaderPage& page, const IdentityBlock& identity) {
  STRATA_ASSIGN(const ExportBlock block, read_export_block(std::as_bytes(std::span(page.backend))));
  if (identity.max_bytes > block.allocation_bytes - block.offset_bytes) {
    return corrupt(fmt::format("a payload of {} bytes at {} of an allocation of {}",
                               identity.max_bytes, block.offset_bytes, block.allocation_bytes));
  }
  return block;
}

}  // namespace strata::inline v0_1
