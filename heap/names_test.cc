#include <map>
#include <optional>
#include <random>
#include <string>
#include <thread>

#include "heap/heap_testing.h"
#include "strata/heap/heap.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::test;

namespace {

struct Mesh {
  double width = 0, height = 0;
};
struct Grid {
  double width = 0, height = 0;
};
struct Versioned {
  int value = 0;
};

}  // namespace

template <>
struct strata::TypeTraits<Versioned> {
  static constexpr std::string_view name = "test.Versioned";
  static constexpr std::uint64_t version = 2;
};

TEST_CASE("an_object_is_found_by_name_and_type_in_another_process") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  Mesh* const mesh = heap.make<Mesh>("mesh", 640.0, 480.0).value();
  CHECK(heap.find<Mesh>("mesh").value() == mesh);
  CHECK(heap.name_count() == 1);
  const int status = in_child([&] {
    Opened mine(host);
    const Mesh* const found = mine.heap.find<Mesh>("mesh").value();
    if (found->width != 640 || found->height != 480) _exit(1);
    if (!mine.heap.make<int>("answer", 42)) _exit(2);
  });
  CHECK(status == 0);
  CHECK(*heap.find<int>("answer").value() == 42);
}

TEST_CASE("a_wrong_type_is_refused_with_both_types_in_the_message") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  REQUIRE(heap.make<Mesh>("mesh"));
  const auto found = heap.find<Grid>("mesh");
  REQUIRE(!found);
  CHECK(found.error().code() == Code::invalid_argument);
  CHECK(found.error().message().find("Mesh") != std::string::npos);
  CHECK(found.error().message().find("Grid") != std::string::npos);
  CHECK(heap.destroy<Grid>("mesh").error().code() == Code::invalid_argument);
  CHECK(heap.find<Mesh>("mesh"));
  // The same name of the type, but another layout.
  constexpr TypeTag old = make_type_tag("test.Versioned", sizeof(Versioned), alignof(Versioned), 1);
  CHECK(old.layout_hash != type_tag<Versioned>().layout_hash);
  REQUIRE(heap.make<Versioned>("v"));
  CHECK(heap.stat("v").value().type == "test.Versioned");
  CHECK(heap.stat("v").value().layout_hash == type_tag<Versioned>().layout_hash);
}

TEST_CASE("a_name_that_is_taken_missing_or_too_long_is_refused") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  REQUIRE(heap.make<int>("a", 1));
  CHECK(heap.make<int>("a", 2).error().code() == Code::already_exists);
  CHECK(*heap.find<int>("a").value() == 1);
  CHECK(heap.find<int>("b").error().code() == Code::not_found);
  CHECK(heap.destroy<int>("b").error().code() == Code::not_found);
  CHECK(heap.remove("b").error().code() == Code::not_found);
  CHECK(heap.stat("b").error().code() == Code::not_found);
  CHECK(heap.make<int>("", 1).error().code() == Code::invalid_argument);
  CHECK(heap.make<int>(std::string(256, 'x'), 1).error().code() == Code::invalid_argument);
  const std::string longest(255, 'x');
  CHECK(heap.make<int>(longest, 7));
  CHECK(*heap.find<int>(longest).value() == 7);
  CHECK(heap.find_or_make<int>("a", 9).value() == heap.find<int>("a").value());
  CHECK(*heap.find_or_make<int>("c", 9).value() == 9);
}

TEST_CASE("an_object_made_within_the_making_of_another_is_refused") {
  struct Nested {
    explicit Nested(Heap& heap) { result = heap.make<int>("inner", 1).error().code(); }
    Code result;
  };
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  CHECK(heap.make<Nested>("outer", heap).value()->result == Code::failed_precondition);
}

TEST_CASE("the_names_agree_with_a_reference_through_growth_and_deletion") {
  HeapHost host(MiB(4), MiB(64));
  Heap heap = Heap::create(host.segment()).value();
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  std::map<std::string, std::uint64_t> reference;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    const std::string name = "object " + std::to_string(random() % 3000);
    if (random() % 3 != 0) {
      const auto made = heap.make<std::uint64_t>(name, i);
      REQUIRE(made.has_value() == reference.emplace(name, i).second);
    } else {
      const auto destroyed = heap.destroy<std::uint64_t>(name);
      REQUIRE(destroyed.has_value() == (reference.erase(name) == 1));
    }
  }
  CHECK(heap.name_count() == reference.size());
  CHECK(heap.objects().value().size() == reference.size());
  for (const auto& [name, value] : reference)
    REQUIRE(*heap.find<std::uint64_t>(name).value() == value);
  const HeapReport report = heap.check().value();
  INFO(report.to_string());
  CHECK(report.is_clean());
  CHECK(report.names == reference.size());
  CHECK(report.allocated_blocks == reference.size() + 1);
}

TEST_CASE("readers_see_whole_objects_while_names_come_and_go") {
  HeapHost host(MiB(4), MiB(32));
  Heap heap = Heap::create(host.segment()).value();
  for (int i = 0; i < 16; ++i)
    REQUIRE(heap.make<int>("stays " + std::to_string(i), i));
  std::atomic<bool> done{false};
  std::vector<std::thread> readers;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 2; ++t) {
    readers.emplace_back([&] {
      for (int i = 0; !done.load(); i = (i + 1) % 16) {
        const auto found = heap.find<int>("stays " + std::to_string(i));
        if (!found || **found != i) ++wrong;
        // It may be there or not, but never as something else.
        const auto moving = heap.find<int>("comes " + std::to_string(i));
        if (!moving && moving.error().code() != Code::not_found) ++wrong;
      }
    });
  }
  for (int i = 0; i < 3000; ++i) {
    const std::string name = "comes " + std::to_string(i % 200);
    if (heap.find<int>(name)) {
      REQUIRE(heap.destroy<int>(name));
    } else {
      REQUIRE(heap.make<int>(name, i));
    }
  }
  done = true;
  for (std::thread& reader : readers)
    reader.join();
  CHECK(wrong == 0);
  CHECK(heap.check().value().is_clean());
}

TEST_CASE("two_processes_that_make_the_same_names_make_each_once") {
  HeapHost host(MiB(8));
  Heap heap = Heap::create(host.segment()).value();
  const Shared<std::atomic<int>> made;
  const auto race = [&] {
    Opened mine(host);
    for (int i = 0; i < 500; ++i) {
      const auto object = mine.heap.make<int>("name " + std::to_string(i), i);
      if (object) {
        ++*made;
      } else if (object.error().code() != Code::already_exists) {
        _exit(1);
      }
    }
  };
  const pid_t first = start_child(race), second = start_child(race);
  CHECK(wait_for(first) == 0);
  CHECK(wait_for(second) == 0);
  CHECK(made->load() == 500);
  CHECK(heap.objects().value().size() == 500);
  CHECK(heap.check().value().is_consistent());
}

namespace {

// What TypeTraits<Versioned> says, made at run time.
const TypeTag kVersionedAtRunTime = make_type_tag("test.Versioned", sizeof(Versioned), 4, 2);

}  // namespace

TEST_CASE("a_tag_made_at_run_time_means_the_same_type") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  REQUIRE(heap.make<Versioned>("made", 1));
  CHECK(static_cast<Versioned*>(heap.find("made", kVersionedAtRunTime).value())->value == 1);
  {
    auto draft = heap.begin_object("begun", kVersionedAtRunTime).value();
    static_cast<Versioned*>(draft.memory())->value = 2;
    CHECK(heap.find<Versioned>("begun").error().code() == Code::not_found);
    REQUIRE(heap.publish(draft));
    CHECK(heap.publish(draft).error().code() == Code::failed_precondition);
  }
  CHECK(heap.find<Versioned>("begun").value()->value == 2);
  const TypeTag newer = make_type_tag("test.Versioned", sizeof(Versioned), 4, 3);
  CHECK(heap.find("begun", newer).error().code() == Code::invalid_argument);
  CHECK(heap.remove("begun", newer).error().code() == Code::invalid_argument);
  REQUIRE(heap.remove("begun", kVersionedAtRunTime));
  CHECK(heap.remove("begun", kVersionedAtRunTime).error().code() == Code::not_found);
}

TEST_CASE("a_draft_that_is_dropped_leaves_nothing_and_holds_its_heap") {
  HeapHost host;
  std::optional<Heap> heap = Heap::create(host.segment()).value();
  Heap other = heap->share();
  const std::uint64_t blocks = heap->check().value().allocated_blocks;
  {
    auto draft = heap->begin_object("draft", kVersionedAtRunTime).value();
    CHECK(heap->begin_object("second", kVersionedAtRunTime).error().code() ==
          Code::failed_precondition);
    heap.reset();
  }
  CHECK(other.check().value().allocated_blocks == blocks);
  CHECK(other.begin_object("second", kVersionedAtRunTime));
}

TEST_CASE("a_draft_belongs_to_the_thread_that_began_it_and_ends_with_it") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  // The first name makes the table of names.
  REQUIRE(heap.make<int>("first", 1));
  const std::uint64_t blocks = heap.check().value().allocated_blocks;
  std::optional<Heap::Draft> stale;
  std::thread([&] {
    auto mine = heap.begin_object("mine", kVersionedAtRunTime);
    // Another thread can neither publish it nor take it away.
    std::thread([&] {
      auto own = heap.begin_object("own", kVersionedAtRunTime);
      CHECK(heap.publish(*mine).error().code() == Code::failed_precondition);
      CHECK(heap.publish(*own));
    }).join();
    stale.emplace(std::move(*mine));
  }).join();
  CHECK(heap.publish(*stale).error().code() == Code::failed_precondition);
  stale.reset();
  CHECK(heap.find<Versioned>("own"));
  REQUIRE(heap.remove("own"));
  // The slot of the thread that ended serves the next.
  std::thread([&] { CHECK(heap.make<Versioned>("next", 1)); }).join();
  REQUIRE(heap.remove("next"));
  CHECK(heap.check().value().allocated_blocks == blocks);
}

TEST_CASE("a_tag_of_a_type_that_cannot_be_is_refused") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  const auto begin = [&](std::uint64_t bytes, std::uint32_t align_bytes) {
    return heap.begin_object("x", make_type_tag("test.Type", bytes, align_bytes, 1)).error().code();
  };
  CHECK(begin(8, 0) == Code::invalid_argument);
  CHECK(begin(8, 3) == Code::invalid_argument);
  CHECK(begin(8, 8192) == Code::invalid_argument);
  for (const std::uint64_t bytes : {~std::uint64_t{0}, ~std::uint64_t{0} - 200, MiB(5)})
    CHECK(begin(bytes, 8) == Code::exhausted);
  CHECK(heap.check().value().is_clean());
}
