// Pools as a whole: their directory, checkpoints into them and back.
#include <fmt/format.h>

#include "c/catalog_options.h"
#include "c/handles.h"
#include "strata/copy.h"

using namespace strata;
using namespace strata::c;

namespace {

constexpr std::uint32_t kKeepVersions = 2;
constexpr std::uint64_t kTimeoutMs = 10'000;

Result<CheckpointOptions> checkpoint_options_of(const strata_checkpoint_options* given) {
  STRATA_ASSIGN(const strata_checkpoint_options from, read_options(given, "options"));
  CheckpointOptions options;
  if (from.block_bytes != 0) options.block_bytes = from.block_bytes;
  options.keep_versions = from.keep_versions == 0 ? kKeepVersions : from.keep_versions;
  if (from.keep_versions == STRATA_KEEP_NONE) options.keep_versions = 0;
  options.threads = from.threads;
  options.timeout_ms = from.timeout_ms == 0 ? kTimeoutMs : from.timeout_ms;
  STRATA_ASSIGN(options.content, content_of(from.content));
  return options;
}

void tell(strata_checkpoint_report* into, const CheckpointReport& done) {
  if (into == nullptr) return;
  fill_report(into, {.size = 0,
                     .version = done.version,
                     .blocks = done.blocks,
                     .blocks_written = done.blocks_written,
                     .bytes_written = done.bytes_written});
}

Result<LoadOptions> load_options_of(const strata_load_options& from) {
  LoadOptions options;
  options.threads = from.threads;
  options.even_if_unverified = from.even_if_unverified != 0;
  return options;
}

void tell(strata_load_report* into, const LoadReport& done) {
  if (into == nullptr) return;
  fill_report(into, {.size = 0,
                     .version = done.version,
                     .bytes = done.bytes,
                     .blocks_verified = done.blocks_verified});
}

strata_pool_entry entry_of(const PoolVersion& from) {
  strata_pool_entry entry{};
  entry.size = sizeof entry;
  copy_text(entry.name, from.name);
  entry.version = from.version;
  copy_uuid(entry.uuid, from.uuid);
  entry.payload_bytes = from.payload_bytes;
  entry.max_bytes = from.max_bytes;
  entry.published_unix_ns = from.published_unix_ns;
  entry.keep_versions = from.keep_versions;
  entry.is_current = from.is_current ? 1 : 0;
  entry.is_immutable = from.is_immutable ? 1 : 0;
  entry.has_checksums = from.has_checksums ? 1 : 0;
  copy_text(entry.problem, from.problem);
  return entry;
}

template <typename Body>
int with_name(const char* function, const strata_pool* pool, const char* name, Body&& body) {
  return guarded(function, [&]() -> Result<void> {
    STRATA_TRY(check_handle(pool, "pool"));
    STRATA_ASSIGN(const std::string_view called, text(name, "name"));
    return body(pool->pool, std::string(called));
  });
}

}  // namespace

int strata_pool_create(const char* path, const strata_pool_options* options, strata_pool** pool) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(const std::string_view at, text(path, "path"));
    STRATA_TRY(check_pointer(pool, "pool"));
    STRATA_ASSIGN(const strata_pool_options from, read_options(options, "options"));
    PoolCreateOptions checked;
    checked.bytes = from.bytes;
    checked.slots = from.slots;
    if (from.mode != 0) checked.mode = from.mode;
    STRATA_ASSIGN(Pool made, Pool::create(std::string(at), checked));
    *pool = new strata_pool(std::move(made));
    return {};
  });
}

int strata_pool_open(const char* path, strata_pool** pool) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(const std::string_view at, text(path, "path"));
    STRATA_TRY(check_pointer(pool, "pool"));
    STRATA_ASSIGN(Pool opened, Pool::open(std::string(at)));
    *pool = new strata_pool(std::move(opened));
    return {};
  });
}

void strata_pool_close(strata_pool* pool) { close_handle(pool); }

int strata_pool_list(const strata_pool* pool, strata_pool_visitor visit, void* user) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(pool, "pool"));
    if (visit == nullptr) return is_null("visit");
    STRATA_ASSIGN(const std::vector<PoolVersion> versions, pool->pool.versions());
    for (const PoolVersion& version : versions) {
      const strata_pool_entry told = entry_of(version);
      if (visit(&told, user) != 0) break;
    }
    return {};
  });
}

int strata_pool_remove(const strata_pool* pool, const char* name, int even_if_attached) {
  return with_name(__func__, pool, name, [&](const Pool& from, std::string called) {
    Pool::RemoveRequest request;
    request.name = std::move(called);
    request.even_if_attached = even_if_attached != 0;
    return from.remove(request);
  });
}

int strata_pool_rename(const strata_pool* pool, const char* from, const char* to) {
  return with_name(__func__, pool, from, [&](const Pool& in, const std::string& called) {
    return [&]() -> Result<void> {
      STRATA_ASSIGN(const std::string_view wanted, text(to, "to"));
      return in.rename(called, std::string(wanted));
    }();
  });
}

int strata_pool_resize(const strata_pool* pool, const char* name, uint64_t new_payload_bytes) {
  return with_name(__func__, pool, name, [&](const Pool& in, const std::string& called) {
    return in.resize(called, new_payload_bytes);
  });
}

int strata_pool_rollback(const strata_pool* pool, const char* name, uint64_t version) {
  return with_name(__func__, pool, name, [&](const Pool& in, const std::string& called) {
    return in.rollback(called, version);
  });
}

int strata_pool_trim(const strata_pool* pool, const char* name, uint32_t keep, uint32_t* removed) {
  return with_name(__func__, pool, name,
                   [&](const Pool& in, const std::string& called) -> Result<void> {
                     STRATA_ASSIGN(const std::uint32_t went, in.trim(called, keep));
                     if (removed != nullptr) *removed = went;
                     return {};
                   });
}

int strata_pool_checkpoint(const strata_pool* pool, const char* name, const strata_segment* from,
                           const strata_checkpoint_options* options,
                           strata_checkpoint_report* report) {
  return with_name(__func__, pool, name,
                   [&](const Pool& into, const std::string& called) -> Result<void> {
                     STRATA_TRY(check_handle(from, "from"));
                     if (report != nullptr) STRATA_TRY(check_report(report, "report"));
                     STRATA_ASSIGN(const CheckpointOptions checked, checkpoint_options_of(options));
                     STRATA_ASSIGN(const CheckpointReport done,
                                   checkpoint(from->segment, into, called, checked));
                     tell(report, done);
                     return {};
                   });
}

int strata_pool_checkpoint_bytes(const strata_pool* pool, const char* name, const void* from,
                                 uint64_t bytes, const strata_checkpoint_options* options,
                                 strata_checkpoint_report* report) {
  return with_name(
      __func__, pool, name, [&](const Pool& into, const std::string& called) -> Result<void> {
        STRATA_ASSIGN(const std::span<const std::byte> source, bytes_at(from, bytes, "from"));
        if (report != nullptr) STRATA_TRY(check_report(report, "report"));
        STRATA_ASSIGN(const CheckpointOptions checked, checkpoint_options_of(options));
        STRATA_ASSIGN(const CheckpointReport done, checkpoint(source, into, called, checked));
        tell(report, done);
        return {};
      });
}

int strata_pool_load(const strata_pool* pool, const char* name, strata_segment* to,
                     const strata_load_options* options, strata_load_report* report) {
  return with_name(
      __func__, pool, name, [&](const Pool& in, const std::string& called) -> Result<void> {
        STRATA_TRY(check_handle(to, "to"));
        if (report != nullptr) STRATA_TRY(check_report(report, "report"));
        STRATA_ASSIGN(const strata_load_options from, read_options(options, "options"));
        STRATA_ASSIGN(const LoadOptions checked, load_options_of(from));
        STRATA_ASSIGN(const LoadReport done,
                      load_version(in, called, from.version, to->segment, checked));
        tell(report, done);
        return {};
      });
}

int strata_pool_load_bytes(const strata_pool* pool, const char* name, void* to,
                           uint64_t capacity_bytes, const strata_load_options* options,
                           strata_load_report* report) {
  return with_name(
      __func__, pool, name, [&](const Pool& in, const std::string& called) -> Result<void> {
        STRATA_ASSIGN(const std::span<std::byte> into, bytes_at(to, capacity_bytes, "to"));
        if (report != nullptr) STRATA_TRY(check_report(report, "report"));
        STRATA_ASSIGN(const strata_load_options from, read_options(options, "options"));
        STRATA_ASSIGN(const LoadOptions checked, load_options_of(from));
        STRATA_ASSIGN(const LoadReport done, load_version(in, called, from.version, into, checked));
        tell(report, done);
        return {};
      });
}

int strata_pool_verify(const strata_pool* pool, const char* name, uint64_t version,
                       uint64_t* blocks_verified) {
  return with_name(
      __func__, pool, name, [&](const Pool& in, const std::string& called) -> Result<void> {
        STRATA_ASSIGN(const VerifyReport report, verify_blocks(in, called, version));
        if (blocks_verified != nullptr) *blocks_verified = report.blocks_verified;
        if (report.bad_block_count == 0) return {};
        const BadBlock& first = report.bad_blocks.front();
        return fail(Code::corrupt,
                    fmt::format("{}#{} version {}: {} damaged blocks, the first is block {}, {} "
                                "bytes at offset {}",
                                in.path(), called, report.version, report.bad_block_count,
                                first.block, first.bytes, first.offset_bytes));
      });
}
