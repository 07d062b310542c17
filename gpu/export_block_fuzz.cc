// Reads what the header of a device segment says of its memory, from bytes that any process of the
// user may have written. The bits of the first byte say what is made to fit, so that what lies
// behind it is reached as well: 1 magic, version and checksum, 2 the mechanism.

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "gpu/export_block.h"

using namespace strata;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::uint8_t fit = data[0];
  ExportBlock block{};
  std::memcpy(&block, data + 1, std::min(size - 1, sizeof block));
  if ((fit & 2) != 0) block.mechanism = 1 + block.mechanism % 3;
  if ((fit & 1) != 0) sign(block);
  HeaderPage page{};
  std::memcpy(page.backend.data(), &block, sizeof block);
  IdentityBlock identity{};
  // The payload is the hostile bytes' own as well.
  std::memcpy(&identity.max_bytes, block.reserved.data(), sizeof identity.max_bytes);
  const auto read = read_export_block(page, identity);
  if (!read) return 0;
  // What was accepted can be used without another look.
  const std::uint64_t room_bytes = read->allocation_bytes - read->offset_bytes;
  const bool is_sound = read->offset_bytes < read->allocation_bytes &&
                        identity.max_bytes <= room_bytes &&
                        padded_text(read->pci_address).size() < read->pci_address.size() &&
                        padded_text(read->device_name).size() < read->device_name.size();
  if (!is_sound) std::abort();
  return 0;
}
