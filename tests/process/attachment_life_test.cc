// An attachment ends with the last that holds it, in whatever order: segments, heaps and catalogs
// that are moved, returned, kept in statics, inherited over fork.

#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "os/os.h"
#include "strata/heap/heap.h"
#include "strata/pmem/pool.h"
#include "strata/strata.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/temp_dir.h"

using namespace strata;

namespace {

// What a program keeps together.
struct Mesh {
  Segment segment;
  Heap heap;
  int* root;
};

struct Fixture {
  test::TempDir directory{"/dev/shm"};
  CatalogOptions options() const { return {.shm_directory = directory.path(), .pools = {}}; }
};

Mesh make_mesh(Catalog& catalog, const std::string& uri) {
  Segment segment =
      catalog.create(uri, {.payload_bytes = MiB(4), .placement = {}, .job_id = {}}).value();
  Heap heap = Heap::create(segment).value();
  int* const root = heap.make<int>("root", 7).value();
  return {std::move(segment), std::move(heap), root};
}

bool works(Mesh& mesh) {
  if (*mesh.root != 7 || *mesh.heap.find<int>("root").value() != 7) return false;
  const auto block = mesh.heap.allocate(100);
  if (!block || !mesh.heap.free(*block)) return false;
  RobustMutex* const lock = mesh.heap.find_or_make<RobustMutex>("lock").value();
  const auto done = mesh.heap.transact(*lock, [&](Transaction& tx) -> Result<void> {
    STRATA_TRY(tx.write(*mesh.root, 8));
    return tx.write(*mesh.root, 7);
  });
  return done.has_value() && mesh.segment.payload_bytes() == MiB(4);
}

// Runs `body` in a process that then ends by exit(), with all that destructors of statics do.
bool ends_well(const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    alarm(300);
    body();
    std::exit(0);
  }
  return test::wait_for(child) == 0;
}

}  // namespace

TEST_CASE_METHOD(Fixture, "a_struct_of_segment_heap_and_root_is_returned_and_moved") {
  Catalog catalog = open_catalog(options());
  Mesh first = make_mesh(catalog, "shm:mesh");
  CHECK(works(first));
  Mesh second = std::move(first);
  CHECK(works(second));
  std::vector<Mesh> many;
  many.push_back(std::move(second));
  for (int i = 0; i < 20; ++i)
    many.push_back(make_mesh(catalog, "shm:mesh" + std::to_string(i)));
  for (Mesh& each : many)
    CHECK(works(each));
  Mesh other = make_mesh(catalog, "shm:other");
  many.front() = std::move(other);
  CHECK(works(many.front()));
}

TEST_CASE_METHOD(Fixture, "segment_heap_catalog_and_context_end_in_any_order") {
  for (int order = 0; order < 24; ++order) {
    INFO("order " << order);
    std::optional<Catalog> catalog(open_catalog(options()));
    std::optional<Segment> segment;
    std::optional<Heap> heap;
    {
      Mesh mesh = make_mesh(*catalog, "shm:order" + std::to_string(order));
      segment = std::move(mesh.segment);
      heap = std::move(mesh.heap);
    }
    std::optional<SyncContext> context(segment->sync_context().value());
    std::vector<std::function<void()>> ends = {[&] { catalog.reset(); }, [&] { segment.reset(); },
                                               [&] { heap.reset(); }, [&] { context.reset(); }};
    for (int left = 4, rest = order; left > 0; --left) {
      const auto which = ends.begin() + rest % left;
      rest /= left;
      (*which)();
      ends.erase(which);
      if (heap) CHECK(*heap->find<int>("root").value() == 7);
      if (segment) CHECK(segment->host_bytes()->size() == MiB(4));
      if (context) CHECK(context->owner().is_alive(context->token()).value());
    }
  }
}

TEST_CASE_METHOD(Fixture,
                 "an_attachment_of_a_short_life_takes_its_name_away_though_the_catalog_is_gone") {
  std::optional<Segment> segment;
  {
    Catalog catalog = open_catalog(options());
    segment = catalog
                  .create("shm:short", {.payload_bytes = 4096,
                                        .placement = {},
                                        .lifetime = Lifetime::last_detach,
                                        .job_id = {}})
                  .value();
  }
  Catalog other = open_catalog(options());
  CHECK(other.stat("shm:short"));
  segment.reset();
  CHECK(other.stat("shm:short").error().code() == Code::not_found);
}

TEST_CASE_METHOD(Fixture, "statics_that_hold_segments_and_heaps_end_well_in_either_order") {
  CHECK(ends_well([&] {
    static Catalog catalog = open_catalog(options());
    static Mesh mesh = make_mesh(catalog, "shm:one");
    if (!works(mesh)) _exit(1);
  }));
  CHECK(ends_well([&] {
    // The first to be made ends last.
    static std::optional<Mesh> mesh;
    static std::optional<Catalog> catalog;
    catalog = open_catalog(options());
    mesh = make_mesh(*catalog, "shm:two");
    if (!works(*mesh)) _exit(1);
  }));
  CHECK(ends_well([&] {
    static std::unique_ptr<Heap> heap;
    Catalog catalog = open_catalog(options());
    heap = std::make_unique<Heap>(make_mesh(catalog, "shm:three").heap);
    if (!heap->allocate(64)) _exit(1);
  }));
}

TEST_CASE_METHOD(Fixture, "a_forked_child_opens_the_heap_of_the_segment_that_it_inherits") {
  Catalog catalog = open_catalog(options());
  Mesh mesh = make_mesh(catalog, "shm:mesh");
  CHECK(works(mesh));
  const int status = test::in_child([&] {
    if (mesh.heap.allocate(64)) return 1;  // that of the parent
    auto mine = Heap::open(mesh.segment);
    if (!mine) return 2;
    Mesh child{mesh.segment.share(), std::move(*mine), mesh.root};
    return works(child) ? 0 : 3;
  });
  CHECK(status == 0);
  CHECK(works(mesh));
  CHECK(mesh.heap.check().value().is_clean());
}

TEST_CASE_METHOD(Fixture, "a_pool_segment_and_its_heap_outlive_the_catalog_too") {
  const std::string pool = directory.path() + "/pool";
  Catalog maker = open_catalog(options());
  std::optional<Mesh> mesh;
  {
    Catalog catalog = open_catalog(options());
    RealOs os;
    REQUIRE(Pool::create(os, pool, {.bytes = MiB(32)}));
    mesh = make_mesh(catalog, "pmem:" + pool + "#mesh");
  }
  CHECK(works(*mesh));
  Mesh moved = std::move(*mesh);
  mesh.reset();
  CHECK(works(moved));
}
