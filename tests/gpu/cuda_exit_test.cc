// Programs that end while they have device memory: static objects that are destroyed after the
// driver, processes that are forked, exits in the middle. Nothing is called that may not be,
// nothing is said, and nothing is left.

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>

#include "strata/segment/catalog.h"
#include "strata/strata.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/gpu/cuda_world.h"

using namespace strata;
using namespace strata::test;

namespace {

struct Ending {
  CudaWorld world;

  Catalog open() const {
    CatalogOptions options;
    options.shm_directory = world.directory();
    options.cuda = world.options();
    return open_catalog(options);
  }

  // Runs `body` in a process that then ends by exit(), with all that destructors of statics do.
  // Empty where it ended well and said nothing.
  std::string end_of(const std::function<void()>& body) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const pid_t child = start_child([&] {
      dup2(ends[1], STDERR_FILENO);
      close(ends[0]);
      close(ends[1]);
      body();
      std::exit(0);
    });
    close(ends[1]);
    std::string said(4096, '\0');
    std::size_t bytes = 0;
    for (ssize_t count = 0; bytes < said.size() &&
                            (count = read(ends[0], said.data() + bytes, said.size() - bytes)) > 0;)
      bytes += static_cast<std::size_t>(count);
    close(ends[0]);
    said.resize(bytes);
    const int status = wait_for(child);
    if (status != 0) said += " (wait status " + std::to_string(status) + ")";
    return said;
  }

  // Nobody is attached any more: the memory is gone, and gc finds at most a header without it.
  void check_gone() {
    REQUIRE(world.tools.reclaim({}, {}));
    CHECK(world.listing().empty());
    CHECK(world.device_bytes() == 0);
  }
};

Segment must(Result<Segment> made) {
  if (made) return std::move(*made);
  std::fprintf(stderr, "%s\n", made.error().to_string().c_str());
  _exit(1);
}

Segment make(Catalog& catalog, const char* uri = "cuda:mine") {
  return must(catalog.create(uri, device_segment()));
}

}  // namespace

TEST_CASE_METHOD(Ending, "statics_over_device_memory_end_well_in_either_order") {
  CHECK(end_of([&] {
          static Catalog catalog = open();
          static Segment segment = make(catalog);
        }) == "");
  check_gone();
  CHECK(end_of([&] {
          // Made before the driver is loaded, so destroyed after it has gone.
          static std::optional<Segment> segment;
          static std::optional<Catalog> catalog;
          catalog = open();
          segment = make(*catalog);
        }) == "");
  check_gone();
  CHECK(end_of([&] {
          static std::optional<Segment> segment;
          Catalog catalog = open();
          segment = make(catalog);
        }) == "");
  check_gone();
}

TEST_CASE_METHOD(Ending, "what_is_never_destroyed_ends_with_the_process") {
  CHECK(end_of([&] {
          auto* const catalog = new Catalog(open());
          new Segment(make(*catalog));
        }) == "");
  check_gone();
}

TEST_CASE_METHOD(Ending, "a_static_that_reads_at_the_end_is_told_that_the_driver_has_gone") {
  struct Reader {
    std::optional<Segment> segment;
    ~Reader() {
      if (!segment) return;
      std::byte byte{};
      const auto read = segment->read(0, std::span(&byte, 1));
      if (read || read.error().message().empty()) std::abort();
    }
  };
  if (is_driver_fake()) {
    CHECK(end_of([&] {
            static Reader reader;
            static Catalog catalog = open();
            reader.segment = make(catalog);
          }) == "");
  }
  check_gone();
}

TEST_CASE_METHOD(Ending, "a_forked_child_that_ends_takes_nothing_from_its_parent") {
  CHECK(end_of([&] {
          static Catalog catalog = open();
          static Segment segment = must([&]() -> Result<Segment> {
            STRATA_ASSIGN(Segment made, catalog.create("cuda:mine", device_segment()));
            STRATA_TRY(made.write(0, pattern(kTestBytes)));
            return made;
          }());
          // It destroys what it inherited, and may not touch the driver for that.
          const int status = in_child([] {
            std::byte byte{};
            const auto read = segment.read(0, std::span(&byte, 1));
            if (read || read.error().message().empty()) _exit(1);
            std::exit(0);
          });
          if (status != 0) _exit(2);
          if (!difference_from_pattern(segment).empty()) _exit(3);
          Segment again = must(catalog.attach("cuda:mine"));
          if (!difference_from_pattern(again).empty()) _exit(4);
        }) == "");
  check_gone();
}
