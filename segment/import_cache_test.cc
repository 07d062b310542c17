#include "strata/segment/import_cache.h"

#include <thread>

#include "segment/attachment.h"
#include "segment/fake_backend.h"
#include "tests/catch.h"

using namespace strata;

namespace {

constexpr std::uint64_t kBytes = 8192;

// A backend that counts how often it was asked for an attachment.
struct Scene {
  explicit Scene(FakeOptions::Reach reach = FakeOptions::Reach::host)
      : catalog(backends(os, reach), os) {}

  static std::vector<std::unique_ptr<Backend>> backends(Os& os, FakeOptions::Reach reach) {
    std::vector<std::unique_ptr<Backend>> made;
    made.push_back(std::make_unique<FakeBackend>(os, FakeOptions{reach}));
    return made;
  }
  Segment create(const std::string& uri) {
    return catalog.create(uri, {.payload_bytes = kBytes, .lifetime = Lifetime::until_removed})
        .value();
  }
  bool is_attached(const std::string& uri) { return catalog.stat(uri).value().is_attached; }

  RealOs os;
  Catalog catalog;
};

const Attachment* attachment(const CachedSegment& segment) { return &attachment_of(*segment); }

}  // namespace

TEST_CASE("what_was_opened_before_is_opened_without_attaching") {
  Scene scene(GENERATE(FakeOptions::Reach::host, FakeOptions::Reach::copies));
  scene.create("fake:a");
  ImportCache cache(scene.catalog);
  const Attachment* first = nullptr;
  {
    const CachedSegment segment = cache.open("fake:a").value();
    first = attachment(segment);
    CHECK(segment->payload_bytes() == kBytes);
    const CachedSegment again = cache.open("fake:a").value();
    CHECK(attachment(again) == first);
  }
  CHECK(scene.is_attached("fake:a"));
  CHECK(attachment(cache.open("fake:a").value()) == first);
  const ImportCacheStats stats = cache.stats();
  CHECK(stats.hits == 2);
  CHECK(stats.misses == 1);
  CHECK(stats.entries == 1);
  CHECK(stats.entries_in_use == 0);
  CHECK(stats.bytes == kBytes);
  cache.clear();
  CHECK_FALSE(scene.is_attached("fake:a"));
  CHECK(cache.stats().bytes == 0);
}

TEST_CASE("a_hit_asks_the_kernel_nothing") {
  class CountingOs final : public Os {
   public:
    std::uint64_t calls = 0;

   protected:
    int before(const char*) override {
      ++calls;
      return 0;
    }
  };
  CountingOs os;
  Catalog catalog(Scene::backends(os, FakeOptions::Reach::host), os);
  const Segment made =
      catalog.create("fake:a", {.payload_bytes = kBytes, .lifetime = Lifetime::until_removed})
          .value();
  ImportCache cache(catalog);
  (void)cache.open("fake:a").value();
  const std::uint64_t before = os.calls;
  for (int i = 0; i < 100; ++i)
    (void)cache.open("fake:a").value();
  CHECK(os.calls == before);
}

TEST_CASE("each_access_is_an_attachment_of_its_own") {
  Scene scene;
  scene.create("fake:a");
  ImportCache cache(scene.catalog);
  const CachedSegment writer = cache.open("fake:a").value();
  const CachedSegment reader = cache.open("fake:a", {.access = Access::read_only}).value();
  CHECK(writer->access() == Access::read_write);
  CHECK(reader->access() == Access::read_only);
  CHECK(cache.stats().entries == 2);
}

TEST_CASE("over_the_limit_what_was_not_used_for_longest_goes_and_what_is_used_stays") {
  Scene scene;
  for (const char* uri : {"fake:a", "fake:b", "fake:c", "fake:d"})
    scene.create(uri);
  ImportCache cache(scene.catalog, {.limit_bytes = 2 * kBytes});
  {
    const CachedSegment used = cache.open("fake:a").value();
    (void)cache.open("fake:b").value();
    (void)cache.open("fake:c").value();
    CHECK_FALSE(scene.is_attached("fake:b"));
    CHECK(scene.is_attached("fake:c"));
    const CachedSegment second = cache.open("fake:c").value();
    const CachedSegment third = cache.open("fake:d").value();
    CHECK(cache.stats().bytes == 3 * kBytes);
    CHECK(used->state() == SegmentState::ready);
  }
  // `third` and `second` ended before `used`: of the idle ones the oldest went.
  CHECK(cache.stats().bytes == 2 * kBytes);
  CHECK_FALSE(scene.is_attached("fake:d"));
  CHECK(scene.is_attached("fake:a"));
}

TEST_CASE("a_removed_segment_is_never_opened_again") {
  Scene scene;
  scene.create("fake:a");
  ImportCache cache(scene.catalog);
  CachedSegment held = cache.open("fake:a").value();
  REQUIRE(scene.catalog.remove("fake:a", {.even_if_attached = true}));
  CHECK(held->state() == SegmentState::retired);
  CHECK(cache.open("fake:a").error().code() == Code::not_found);
  // A new one of that name is another one.
  const auto uuid = scene.create("fake:a").identity().uuid;
  CachedSegment fresh = cache.open("fake:a").value();
  CHECK(fresh->identity().uuid == uuid);
  CHECK(cache.stats().entries == 1);
  held = std::move(fresh);
  CHECK(held->identity().uuid == uuid);
}

TEST_CASE("another_generation_is_another_entry") {
  Scene scene;
  const Segment made = scene.create("fake:a");
  ImportCache cache(scene.catalog);
  const CachedSegment old = cache.open("fake:a").value();
  made.generation().fetch_add(1);
  const CachedSegment fresh = cache.open("fake:a").value();
  CHECK(attachment(fresh) != attachment(old));
  CHECK(cache.stats().misses == 2);
  CHECK(cache.stats().entries == 1);
}

TEST_CASE("what_others_want_back_goes_as_soon_as_nobody_uses_it") {
  Scene scene;
  scene.create("fake:a");
  bool is_wanted = false;
  ImportCache cache(scene.catalog, {.is_wanted_back = [&](const Segment&) { return is_wanted; }});
  (void)cache.open("fake:a").value();
  {
    const CachedSegment used = cache.open("fake:a").value();
    is_wanted = true;
    cache.sweep();
    CHECK(scene.is_attached("fake:a"));
    CHECK(attachment(cache.open("fake:a").value()) == attachment(used));
  }
  CHECK_FALSE(scene.is_attached("fake:a"));
  is_wanted = false;
  (void)cache.open("fake:a").value();
  is_wanted = true;
  cache.sweep();
  CHECK_FALSE(scene.is_attached("fake:a"));
}

TEST_CASE("a_segment_that_is_given_back_goes_with_its_last_user") {
  Scene scene;
  const auto uuid = scene.create("fake:a").identity().uuid;
  scene.create("fake:b");
  ImportCache cache(scene.catalog);
  (void)cache.open("fake:b").value();
  {
    const CachedSegment used = cache.open("fake:a").value();
    cache.give_back(uuid);
    CHECK(scene.is_attached("fake:a"));
  }
  CHECK_FALSE(scene.is_attached("fake:a"));
  CHECK(scene.is_attached("fake:b"));
  (void)cache.open("fake:a").value();
  cache.give_back(uuid);
  CHECK_FALSE(scene.is_attached("fake:a"));
}

TEST_CASE("a_sweep_finds_names_that_mean_another_segment_by_now") {
  Scene scene;
  scene.create("fake:a");
  ImportCache cache(scene.catalog);
  (void)cache.open("fake:a").value();
  // As a removal that was killed before it marked the segment leaves it.
  {
    const CachedSegment held = cache.open("fake:a").value();
    REQUIRE(scene.catalog.remove("fake:a", {.even_if_attached = true}));
    header_page_of(*held).live.state.value = static_cast<std::uint32_t>(SegmentState::ready);
  }
  scene.create("fake:a");
  CHECK(cache.stats().entries == 1);
  cache.sweep();
  CHECK(cache.stats().entries == 0);
}

TEST_CASE("a_handle_finds_the_attachment_that_its_segment_has_already") {
  Scene scene;
  const Segment made = scene.create("fake:a");
  ImportCache cache(scene.catalog);
  const Handle handle = made.handle().value();
  const CachedSegment by_name = cache.open("fake:a").value();
  const CachedSegment by_handle = cache.open(handle, {}).value();
  CHECK(attachment(by_name) == attachment(by_handle));
  CHECK(cache.open(handle, {}).has_value());
  CHECK(cache.stats().hits == 1);
  // One that grants less does not lead to more.
  Handle reading = handle;
  reading.access = Access::read_only;
  CHECK_FALSE(cache.open(reading, {}).has_value());
  Handle stale = handle;
  stale.generation += 1;
  CHECK(cache.open(stale, {}).error().code() == Code::failed_precondition);
}

TEST_CASE("what_is_open_outlives_the_cache") {
  Scene scene;
  scene.create("fake:a");
  auto cache = std::make_unique<ImportCache>(scene.catalog);
  {
    const CachedSegment segment = cache->open("fake:a").value();
    cache.reset();
    CHECK(segment->payload_bytes() == kBytes);
    CHECK(scene.is_attached("fake:a"));
  }
  CHECK_FALSE(scene.is_attached("fake:a"));
}

TEST_CASE("an_attach_that_fails_is_tried_again_and_leaves_nothing") {
  Scene scene;
  ImportCache cache(scene.catalog);
  CHECK(cache.open("fake:a").error().code() == Code::not_found);
  CHECK(cache.open("none:a").error().code() == Code::unsupported);
  CHECK(cache.stats().entries == 0);
  scene.create("fake:a");
  CHECK(cache.open("fake:a"));
}

TEST_CASE("many_threads_that_open_the_same_attach_it_once") {
  constexpr int kThreads = 8;
  constexpr int kOpens = 2000;
  Scene scene;
  for (const char* uri : {"fake:a", "fake:b", "fake:c"})
    scene.create(uri);
  ImportCache cache(scene.catalog);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        constexpr std::array kUris = {"fake:a", "fake:b", "fake:c"};
        for (int i = 0; i < kOpens; ++i)
          (void)cache.open(kUris[static_cast<std::size_t>(t + i) % kUris.size()]).value();
      });
    }
  }
  const ImportCacheStats stats = cache.stats();
  CHECK(stats.misses == 3);
  CHECK(stats.hits == kThreads * kOpens - 3);
  CHECK(stats.entries_in_use == 0);
}

TEST_CASE("threads_that_open_and_a_cache_that_lets_go_do_not_meet") {
  Scene scene;
  for (const char* uri : {"fake:a", "fake:b", "fake:c"})
    scene.create(uri);
  ImportCache cache(scene.catalog, {.limit_bytes = kBytes});
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        constexpr std::array kUris = {"fake:a", "fake:b", "fake:c"};
        for (int i = 0; i < 500; ++i) {
          const CachedSegment segment =
              cache.open(kUris[static_cast<std::size_t>(t + i) % kUris.size()]).value();
          if (segment->payload_bytes() != kBytes) std::abort();
          if (i % 50 == 0) cache.sweep();
        }
      });
    }
  }
  CHECK(cache.stats().bytes <= kBytes);
  CHECK(cache.stats().entries_in_use == 0);
}
