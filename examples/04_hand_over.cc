// Memory without a name, handed to another process over a UNIX socket: nothing to clean up.
#include <strata/strata.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>

namespace {

strata::Result<void> answer(int socket) {
  strata::Catalog catalog = strata::open_catalog();
  STRATA_ASSIGN(strata::Segment segment,
                catalog.receive(socket, {.access = strata::Access::read_write},
                                strata::Deadline::after_ms(10'000)));
  STRATA_ASSIGN(const std::span<std::byte> bytes, segment.writable_bytes());
  bytes[0] = std::byte{42};
  return {};
}

strata::Result<void> run() {
  strata::Catalog catalog = strata::open_catalog();
  std::array<int, 2> sockets{};
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets.data()) != 0)
    return strata::fail(strata::Code::internal, "no sockets");
  const pid_t child = fork();
  if (child == 0) {
    close(sockets[0]);
    _exit(answer(sockets[1]) ? 0 : 1);
  }
  close(sockets[1]);

  STRATA_ASSIGN(const strata::Segment segment,
                catalog.create_anonymous({.payload_bytes = strata::MiB(1)}));
  STRATA_TRY(catalog.send(segment, sockets[0], strata::Deadline::after_ms(10'000)));
  int status = 0;
  waitpid(child, &status, 0);
  STRATA_ASSIGN(const std::span<const std::byte> bytes, segment.host_bytes());
  std::printf("the other process wrote %d\n", std::to_integer<int>(bytes[0]));
  if (status != 0 || bytes[0] != std::byte{42})
    return strata::fail(strata::Code::internal, "the hand-over failed");
  return {};
}

}  // namespace

int main() {
  const auto result = run();
  if (!result) std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
  return result ? 0 : 1;
}
