#include "segment/new_identity.h"

#include <fmt/format.h>

#include "strata/os/deadline.h"
namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kMaxPayloadBytes = std::uint64_t{1}
                                           << 46;  // 64 TiB: half the address space

template <std::size_t N>
Result<void> copy_text(std::array<char, N>& field, std::string_view text, std::string_view what) {
  if (text.size() >= N) {
    return fail(Code::invalid_argument,
                fmt::format("{} has {} bytes, at most {} fit", what, text.size(), N - 1));
  }
  if (text.find('\0') != std::string_view::npos) {
    return fail(Code::invalid_argument, fmt::format("{} holds a NUL", what));
  }
  std::copy(text.begin(), text.end(), field.begin());
  return {};
}

// Whatever the elements are, there is room for all of them.
Result<void> check_content(const CreateOptions& options) {
  STRATA_ASSIGN(const std::uint64_t bytes, options.content.bytes());
  if (bytes <= options.payload_bytes) return {};
  return fail(Code::invalid_argument,
              fmt::format("size {}: its content, {}, takes {} bytes", options.payload_bytes,
                          options.content.to_string(), bytes));
}

}  // namespace

Result<void> complete_create_options(CreateOptions& options) {
  if (options.payload_bytes != 0 || options.content.element.empty()) return {};
  STRATA_ASSIGN(const std::uint64_t bytes, options.content.bytes());
  // An array without elements, to which rows may come.
  options.payload_bytes = std::max<std::uint64_t>(bytes, 1);
  return {};
}

Result<void> check_create_options(const CreateOptions& options) {
  if (options.payload_bytes == 0) {
    return fail(Code::invalid_argument, "size 0: a segment holds at least one byte");
  }
  if (options.payload_bytes > kMaxPayloadBytes || options.max_bytes > kMaxPayloadBytes) {
    return fail(Code::invalid_argument,
                fmt::format("size {}: at most {}",
                            format_bytes(std::max(options.payload_bytes, options.max_bytes)),
                            format_bytes(kMaxPayloadBytes)));
  }
  if (options.max_bytes != 0 && options.max_bytes < options.payload_bytes) {
    return fail(Code::invalid_argument,
                fmt::format("max size {} is less than the size {}", format_bytes(options.max_bytes),
                            format_bytes(options.payload_bytes)));
  }
  if (options.mode > 0777) {
    return fail(Code::invalid_argument,
                fmt::format("mode {:o}: only permission bits, up to 777", options.mode));
  }
  if ((options.mode & 0600) != 0600) {
    return fail(Code::invalid_argument,
                fmt::format("mode {:04o}: the owner must be able to read and write, as in 0600",
                            options.mode));
  }
  if (options.lifetime.value_or(Lifetime::until_removed) == Lifetime::job &&
      options.job_id.empty()) {
    return fail(Code::invalid_argument, "lifetime job: no job id was given");
  }
  return check_content(options);
}

Result<IdentityBlock> make_identity(Os& os, SegmentKind kind, std::string_view name,
                                    const CreateOptions& options) {
  STRATA_TRY(check_create_options(options));
  const Lifetime lifetime = options.lifetime.value_or(Lifetime::until_removed);
  IdentityBlock identity{};
  identity.magic = kHeaderMagic;
  identity.version_major = kHeaderVersionMajor;
  identity.version_minor = kHeaderVersionMinor;
  identity.header_bytes = kHeaderBytes;
  identity.kind = static_cast<std::uint32_t>(kind);
  identity.lifetime = static_cast<std::uint32_t>(lifetime);
  STRATA_TRY(os.get_random(std::as_writable_bytes(std::span(identity.uuid))));
  identity.created_payload_bytes = options.payload_bytes;
  identity.max_bytes = std::max(options.max_bytes, options.payload_bytes);
  identity.page_bytes = page_bytes_of(options.page_size);
  identity.page_size = static_cast<std::uint32_t>(options.page_size);
  identity.payload_is_apart =
      options.page_size == PageSize::huge_2m || options.page_size == PageSize::huge_1g;
  // Within one file the payload begins on a page of its own size, so that huge pages fit.
  identity.payload_offset_bytes = identity.payload_is_apart ? 0 : identity.page_bytes;
  const ProcessIdentity& self = os.identity();
  identity.creator_pid = static_cast<std::uint32_t>(self.pid);
  identity.creator_uid = self.uid;
  identity.creator_start_time_ticks = self.start_time_ticks;
  identity.creator_pid_namespace = self.pid_namespace;
  identity.boot_id = self.boot_id;
  identity.created_unix_ns = unix_ns();
  STRATA_TRY(copy_text(identity.name, name, "name"));
  STRATA_TRY(copy_text(identity.job_id, options.job_id, "job id"));
  STRATA_TRY(copy_text(identity.placement, options.placement.to_string(), "placement"));
  sign(identity);
  return identity;
}

std::array<std::byte, kHeaderBytes> make_header_page(const IdentityBlock& identity,
                                                     SegmentState state, const Content& content) {
  alignas(HeaderPage) std::array<std::byte, kHeaderBytes> bytes{};
  auto* page = new (bytes.data()) HeaderPage{};
  page->identity = identity;
  page->live.state.value = static_cast<std::uint32_t>(state);
  page->live.generation.value = 1;
  page->live.payload_bytes.value = identity.created_payload_bytes;
  page->live.next_participant.value = 1;
  page->content = make_content_block(content).value();
  return bytes;
}

}  // namespace strata::inline v0_1
