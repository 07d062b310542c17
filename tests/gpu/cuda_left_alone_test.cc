// The memory of a device segment is gone when the only process that has it ends, though others are
// just attaching: they find out from each other, and one of them makes it anew.

#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "gpu/cuda_backend.h"
#include "gpu/descriptor_exchange.h"
#include "strata/segment/catalog.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/gpu/cuda_world.h"

using namespace strata;
using namespace strata::test;

namespace {

const SegmentUri kUri{"cuda", {}, "left"};
// For one who waits for others on a machine that does much else.
constexpr std::uint64_t kPatienceMs = 120'000;

// A process that wants the segment whoever makes it, and then keeps it until it is let go.
class Rival {
 public:
  explicit Rival(const CudaOptions& options) {
    int ends[2];
    STRATA_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    ours_.reset(ends[0]);
    Fd theirs(ends[1]);
    pid_ = start_child([&] {
      ours_.reset();
      const std::string told = want(options);
      (void)!write(theirs.get(), told.data(), told.size());
      shutdown(theirs.get(), SHUT_WR);
      char end = 0;
      (void)!read(theirs.get(), &end, 1);
    });
  }
  ~Rival() {
    (void)!write(ours_.get(), "e", 1);  // those that were forked later have this end too
    wait_for(pid_);
  }
  Rival(const Rival&) = delete;
  Rival& operator=(const Rival&) = delete;

  // "created", "attached", or what went wrong.
  std::string told() {
    std::string text;
    char buffer[512];
    for (ssize_t count = 0; (count = read(ours_.get(), buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<std::size_t>(count));
    return text;
  }

 private:
  // The segment lives as long as the process.
  static std::string want(const CudaOptions& options) {
    static RealOs os;
    std::vector<std::unique_ptr<Backend>> backends;
    backends.push_back(std::make_unique<CudaBackend>(os, options));
    static auto* const catalog = new Catalog(std::move(backends), os);
    static auto* const got = new Result<CreatedOrAttached>(catalog->create_or_attach(
        kUri.to_string(), device_segment(),
        [](Segment& fresh) { return fresh.write(0, pattern(fresh.payload_bytes())); },
        {.timeout_ms = kPatienceMs}));
    if (!*got) return got->error().to_string();
    if (const std::string wrong = difference_from_pattern((*got)->segment); !wrong.empty())
      return wrong;
    return (*got)->was_created ? "created" : "attached";
  }

  Fd ours_;
  pid_t pid_ = 0;
};

}  // namespace

TEST_CASE("where_the_only_owner_ends_while_others_attach_one_of_them_makes_it_anew") {
  constexpr std::size_t kRivals = 4;
  CudaWorld world;
  const auto owner = world.keep_new(kUri, device_segment());
  REQUIRE(owner->failure() == "");
  const auto uuid = world.tools.stat(kUri).value().identity.uuid;
  // It takes every connection, and says nothing: so all of them are asking when it ends.
  owner->stop();
  std::vector<std::unique_ptr<Rival>> rivals;
  while (rivals.size() < kRivals)
    rivals.push_back(std::make_unique<Rival>(world.options()));
  while (cuda::consumers(world.os, {world.directory()}, uuid).value().size() <= kRivals)
    usleep(1000);
  owner->kill();
  std::size_t created = 0;
  for (const auto& rival : rivals) {
    const std::string told = rival->told();
    INFO(told);
    CHECK((told == "created" || told == "attached"));
    created += told == "created" ? 1 : 0;
  }
  CHECK(created == 1);
}

TEST_CASE("where_the_only_owner_ends_all_who_attach_are_told_that_nothing_is_left") {
  CudaWorld world;
  const auto owner = world.keep_new(kUri, device_segment());
  REQUIRE(owner->failure() == "");
  const auto uuid = world.tools.stat(kUri).value().identity.uuid;
  owner->stop();
  std::vector<pid_t> attaching;
  for (int i = 0; i < 3; ++i) {
    attaching.push_back(start_child([&] {
      RealOs os;
      CudaBackend backend(os, world.options());
      const auto segment = backend.attach(kUri, {.timeout_ms = kPatienceMs});
      return !segment && segment.error().code() == Code::not_found ? 0 : 1;
    }));
  }
  while (cuda::consumers(world.os, {world.directory()}, uuid).value().size() <= attaching.size())
    usleep(1000);
  owner->kill();
  for (const pid_t each : attaching)
    CHECK(wait_for(each) == 0);
  // Nobody is left who could keep the name.
  REQUIRE(world.tools.reclaim({}, {}));
  CHECK(world.listing().empty());
}
