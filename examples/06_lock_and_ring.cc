// A lock whose holder is killed, and a ring that carries messages without a copy, between two
// processes and in bytes that both have mapped.
#include <signal.h>
#include <strata/strata.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

namespace {

using strata::Deadline;
using strata::Result;

constexpr std::uint64_t kRingOffset = 4096;
constexpr strata::RingOptions kRing = {.slots = 8, .message_bytes = 256};

strata::RobustMutex& lock_in(std::span<std::byte> bytes) {
  return *reinterpret_cast<strata::RobustMutex*>(bytes.data());  // zeroed bytes: unlocked
}

Result<void> greet_lock_and_die(const std::string& uri) {
  strata::Catalog catalog = strata::open_catalog();
  STRATA_ASSIGN(strata::Segment segment, catalog.attach(uri));
  STRATA_ASSIGN(const std::span<std::byte> bytes, segment.writable_bytes());
  STRATA_ASSIGN(const strata::SyncContext context, segment.sync_context());

  STRATA_ASSIGN(auto producer, strata::SpscProducer::open(bytes.subspan(kRingOffset), context));
  STRATA_ASSIGN(const std::span<std::byte> slot, producer.loan(Deadline::after_ms(5'000)));
  const std::string_view greeting = "written where it is read";
  std::memcpy(slot.data(), greeting.data(), greeting.size());
  STRATA_TRY(producer.publish(greeting.size()));

  STRATA_TRY(lock_in(bytes).lock(context, Deadline::after_ms(5'000)));
  raise(SIGKILL);
  return {};
}

Result<void> run() {
  strata::Catalog catalog = strata::open_catalog();
  const std::string uri = "shm:example-" + std::to_string(getpid());
  STRATA_ASSIGN(strata::Segment segment,
                catalog.create(uri, {.payload_bytes = strata::KiB(64),
                                     .lifetime = strata::Lifetime::process}));
  STRATA_ASSIGN(const std::span<std::byte> bytes, segment.writable_bytes());
  STRATA_TRY(strata::format_spsc_ring(bytes.subspan(kRingOffset), kRing));

  const pid_t child = fork();
  if (child == 0) _exit(greet_lock_and_die(uri) ? 0 : 1);

  STRATA_ASSIGN(const strata::SyncContext context, segment.sync_context());
  STRATA_ASSIGN(auto consumer, strata::SpscConsumer::open(bytes.subspan(kRingOffset), context));
  STRATA_ASSIGN(const auto message, consumer.receive(Deadline::after_ms(5'000)));
  std::printf("received: %.*s\n", static_cast<int>(message.size()),
              reinterpret_cast<const char*>(message.data()));
  STRATA_TRY(consumer.release());

  int status = 0;
  waitpid(child, &status, 0);
  STRATA_ASSIGN(const strata::Acquired how,
                lock_in(bytes).lock(context, Deadline::after_ms(5'000)));
  if (how != strata::Acquired::owner_died) {
    return strata::fail(strata::Code::internal, "nobody said that the holder had died");
  }
  std::printf("the holder died: what the lock guards is repaired here\n");
  STRATA_TRY(lock_in(bytes).mark_repaired(context));
  return lock_in(bytes).unlock(context);
}

}  // namespace

int main() {
  const auto result = run();
  if (!result) std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
  return result ? 0 : 1;
}
