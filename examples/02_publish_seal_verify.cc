// A writer fills a segment before anybody can see it, seals it, and readers check its hash.
#include <strata/strata.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace {

strata::Result<void> run() {
  strata::Catalog catalog = strata::open_catalog();
  const std::string uri = "shm:example-" + std::to_string(getpid());
  STRATA_ASSIGN(strata::Segment writer,
                catalog.create(uri, {.payload_bytes = strata::MiB(4),
                                     .publish = strata::Publish::by_creator,
                                     .lifetime = strata::Lifetime::process}));
  // Until it is published others wait; here, for no time at all.
  const auto early = catalog.attach(uri, {.access = strata::Access::read_only, .timeout_ms = 0});
  std::printf("before publication: %s\n", early ? "attached" : early.error().to_string().c_str());

  STRATA_ASSIGN(const std::span<std::byte> bytes, writer.writable_bytes());
  std::memset(bytes.data(), 42, bytes.size());
  STRATA_TRY(writer.seal());

  STRATA_ASSIGN(const strata::Segment reader,
                catalog.attach(uri, {.access = strata::Access::read_only}));
  STRATA_TRY(reader.verify());
  std::printf("sealed, and the hash is right\n");
  const auto late = catalog.attach(uri, {.access = strata::Access::read_write});
  std::printf("for writing: %s\n", late ? "attached" : late.error().to_string().c_str());
  return !early && !late ? strata::Result<void>()
                         : strata::fail(strata::Code::internal, "somebody got in");
}

}  // namespace

int main() {
  const auto result = run();
  if (!result) std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
  return result ? 0 : 1;
}
