// Two processes share memory by name: one creates it, the other attaches and writes.
#include <strata/strata.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace {

strata::Result<void> write_greeting(const std::string& uri) {
  strata::Catalog catalog = strata::open_catalog();
  STRATA_ASSIGN(strata::Segment segment, catalog.attach(uri));
  STRATA_ASSIGN(const std::span<std::byte> bytes, segment.writable_bytes());
  std::memcpy(bytes.data(), "hello from another process", 27);
  return {};
}

strata::Result<void> run() {
  strata::Catalog catalog = strata::open_catalog();
  const std::string uri = "shm:example-" + std::to_string(getpid());
  // Lifetime::process: gone when this process is, however it ends.
  STRATA_ASSIGN(const strata::Segment segment,
                catalog.create(
                    uri, {.payload_bytes = strata::MiB(1), .lifetime = strata::Lifetime::process}));
  const pid_t child = fork();
  if (child == 0) _exit(write_greeting(uri) ? 0 : 1);
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) return strata::fail(strata::Code::internal, "the child failed");

  STRATA_ASSIGN(const std::span<const std::byte> bytes, segment.host_bytes());
  std::printf("%s: %s\n", uri.c_str(), reinterpret_cast<const char*>(bytes.data()));
  return {};
}

}  // namespace

int main() {
  const auto result = run();
  if (!result) std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
  return result ? 0 : 1;
}
