// A segment grows while others are attached. Addresses stay; they see the new size when they ask.
#include <strata/strata.h>
#include <unistd.h>

#include <cstdio>

namespace {

strata::Result<void> run() {
  strata::Catalog catalog = strata::open_catalog();
  const std::string uri = "shm:example-" + std::to_string(getpid());
  STRATA_ASSIGN(strata::Segment first,
                catalog.create(uri, {.payload_bytes = strata::MiB(1),
                                     .max_bytes = strata::MiB(64),
                                     .lifetime = strata::Lifetime::process}));
  STRATA_ASSIGN(strata::Segment second, catalog.attach(uri));
  STRATA_ASSIGN(const auto before, second.host_bytes());

  STRATA_TRY(first.grow(strata::MiB(8)));
  STRATA_ASSIGN(const std::uint64_t seen, second.refresh());
  STRATA_ASSIGN(const auto after, second.host_bytes());
  std::printf("grew from %zu to %zu bytes, at the same address: %s\n", before.size(), after.size(),
              before.data() == after.data() ? "yes" : "no");
  if (seen != strata::MiB(8) || before.data() != after.data() || after.back() != std::byte{0})
    return strata::fail(strata::Code::internal, "it did not grow as it should");
  return {};
}

}  // namespace

int main() {
  const auto result = run();
  if (!result) std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
  return result ? 0 : 1;
}
