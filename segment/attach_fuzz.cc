// Attach, stat and judge a segment whose header page another process filled with anything.
// The first byte chooses whether the checksums are made to fit, so that what lies behind them
// is reached as well.

#include <sys/mman.h>

#include <cstring>
#include <vector>

#include "base/check.h"
#include "segment/file_payload.h"
#include "segment/new_identity.h"
#include "strata/segment/reclaim.h"
#include "strata/segment/segment.h"

using namespace strata;

namespace {

constexpr std::uint64_t kFileBytes = 4 * kPageBytes;

// A header that attaches, for the input to spoil.
std::array<std::byte, kHeaderBytes> valid_page(Os& os) {
  CreateOptions options;
  options.payload_bytes = kPageBytes;
  options.max_bytes = 2 * kPageBytes;
  options.content = {.type = "array", .element = "<f8", .shape = {16, 32}};
  return make_header_page(make_identity(os, SegmentKind::shm, "mesh", options).value(),
                          SegmentState::ready, options.content);
}

void read_all(Segment& segment) {
  volatile std::byte sink{};
  const auto bytes = segment.host_bytes();
  if (!bytes) return;
  for (std::size_t i = 0; i < bytes->size(); i += kPageBytes)
    sink = (*bytes)[i];
  if (!bytes->empty()) sink = bytes->back();
  (void)sink;
}

// Whatever the header says of elements, they lie within the payload.
void read_elements(const Segment& segment) {
  const auto content = segment.content();
  const auto bytes = segment.host_bytes();
  if (!content || !bytes) return;
  const std::uint64_t taken = content->bytes().value();
  STRATA_CHECK(taken <= bytes->size() && content->shape.size() <= kMaxDimensions);
  volatile std::byte sink{};
  if (taken != 0) sink = (*bytes)[taken - 1];
  (void)sink;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static RealOs os;
  static const auto valid = valid_page(os);
  if (size < 4) return 0;
  const bool is_signed = data[0] & 1;
  const auto access = static_cast<Access>(1 + (data[0] >> 1) % 3);
  const std::size_t at = (data[1] | data[2] << 8) % kHeaderBytes;
  alignas(HeaderPage) auto bytes = valid;
  auto* page = reinterpret_cast<HeaderPage*>(bytes.data());
  page->live.state.value = static_cast<std::uint32_t>(SegmentState::ready);
  std::memcpy(bytes.data() + at, data + 3, std::min(size - 3, kHeaderBytes - at));
  if (is_signed) {
    sign(page->identity);
    sign(page->seal);
    sign(page->content);
  }
  Fd file = os.memfd_create("fuzz", MFD_ALLOW_SEALING).value();
  (void)os.ftruncate(file.get(), kFileBytes);
  (void)os.pwrite(file.get(), bytes, 0);
  if (const auto stat = stat_header(os, file.get(), {"shm", {}, "mesh"})) {
    (void)judge(*stat, {});
  }
  const auto no_payload = [](const IdentityBlock&, uid_t, int) -> Result<Fd> {
    return fail(Code::not_found, "no payload of its own");
  };
  auto mapped = FilePayload::attach(
      os, std::move(file), no_payload,
      {.uri = {"shm", {}, "mesh"}, .access = access, .deadline = Deadline::after_ms(0)});
  if (!mapped) return 0;
  auto segment = Segment::adopt(parts_of({"shm", {}, "mesh"}, std::move(*mapped)));
  if (!segment) return 0;
  read_all(*segment);
  read_elements(*segment);
  (void)segment->verify();
  // Somebody else goes on writing to the header after the attach.
  if (segment->access() == Access::read_write) {
    std::memcpy(static_cast<void*>(&header_page_of(*segment).live), data,
                std::min(size, sizeof(LiveBlock)));
    (void)segment->refresh();
    read_all(*segment);
    (void)segment->participant();
  }
  (void)segment->handle();
  return 0;
}
