// Segments of reserved huge pages, on a machine that has some to spare. What is counted where is in
// limits_test, by made-up pools.

#include <sys/wait.h>

#include "numa/sysfs.h"
#include "shm/shm_backend.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/skip.h"

using namespace strata;

namespace {

struct Pool {
  RealOs os;
  ShmBackend backend{os};

  HugePagePool pool() {
    for (const HugePagePool& each : huge_page_pools(os, -1)) {
      if (each.page_bytes == MiB(2)) return each;
    }
    return {};
  }
  std::uint64_t free_pages() { return pool().free_pages; }
  Result<Segment> make(std::uint64_t pages, std::uint64_t max_pages = 0) {
    CreateOptions options;
    options.payload_bytes = pages * MiB(2);
    options.max_bytes = max_pages * MiB(2);
    options.page_size = PageSize::huge_2m;
    return backend.create_anonymous(options);
  }
};

#define NEEDS_PAGES(pages)                                                                      \
  if ((pages) < 4)                                                                              \
  SKIP_TEST("needs 4 free huge pages of 2 MiB, as by echo 20 > /proc/sys/vm/nr_hugepages; has " \
            << (pages))

}  // namespace

TEST_CASE_METHOD(Pool, "one_segment_may_take_every_free_huge_page") {
  const std::uint64_t free = free_pages();
  NEEDS_PAGES(free);
  {
    auto made = make(free);
    if (!made) FAIL(made.error().to_string());
    CHECK(free_pages() == 0);
    std::fill(made->writable_bytes()->begin(), made->writable_bytes()->end(), std::byte{7});
  }
  CHECK(free_pages() == free);
}

TEST_CASE_METHOD(Pool, "what_a_segment_may_grow_to_takes_no_huge_pages") {
  const std::uint64_t free = free_pages();
  NEEDS_PAGES(free);
  auto made = make(1, 64 * free);
  if (!made) FAIL(made.error().to_string());
  CHECK(free_pages() == free - 1);
  REQUIRE(made->grow(2 * MiB(2)));
  CHECK(free_pages() == free - 2);
  const auto grown = made->grow(64 * free * MiB(2));
  REQUIRE(!grown);
  CHECK(grown.error().code() == Code::exhausted);
  CHECK(made->payload_bytes() == 2 * MiB(2));
}

TEST_CASE_METHOD(Pool, "committed_huge_pages_stay_when_others_take_the_rest") {
  const std::uint64_t free = free_pages();
  NEEDS_PAGES(free);
  auto made = make(2, 4 * free);
  if (!made) FAIL(made.error().to_string());
  const auto others = make(free - 2);
  REQUIRE(others);
  // A page that were not there would end the child by SIGBUS.
  const int status = test::in_child([&] {
    const auto bytes = made->writable_bytes().value();
    std::fill(bytes.begin(), bytes.end(), std::byte{7});
  });
  CHECK(status == 0);
  CHECK((pool().on_demand_pages > 0 || !made->grow(3 * MiB(2))));
}

TEST_CASE_METHOD(Pool,
                 "huge_pages_without_a_name_cannot_be_taken_back_by_shrinking_and_still_grow") {
  NEEDS_PAGES(free_pages());
  auto made = make(1, 2);
  if (!made) FAIL(made.error().to_string());
  REQUIRE(made->descriptors().size() == 2);
  for (const int fd : made->descriptors()) {
    CHECK(os.ftruncate(fd, 0).error().code() == Code::permission_denied);
  }
  CHECK(made->grow(2 * MiB(2)));
  std::vector<Fd> sent;
  for (const int fd : made->descriptors())
    sent.push_back(os.dup(fd).value());
  CHECK(backend.attach_handle(made->handle().value(), std::move(sent), {}));
}
