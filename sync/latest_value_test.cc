#include "strata/sync/latest_value.h"

#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "sync/sync_testing.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::test;

namespace {

Deadline soon() { return Deadline::after_ms(60'000); }

struct alignas(64) Bytes {
  std::byte data[16 * 1024] = {};
  operator std::span<std::byte>() { return data; }
};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string read_text(const LatestValue& latest) {
  std::array<std::byte, 4096> into{};
  const auto got = latest.read(into, soon());
  REQUIRE(got);
  return {reinterpret_cast<const char*>(into.data()), got->bytes};
}

}  // namespace

TEST_CASE("the_newest_value_is_read_and_versions_count") {
  const LockFile file;
  const Party us(file, 1);
  Bytes bytes;
  REQUIRE(format_latest_value(bytes, 100));
  auto latest = LatestValue::open(bytes);
  REQUIRE(latest);
  CHECK(latest->max_bytes() == 100);
  CHECK(latest->version() == 0);
  CHECK(read_text(*latest).empty());
  for (std::uint64_t version = 1; version <= 20; ++version) {
    const std::string text(version * 5, static_cast<char>('a' + version));
    CHECK(latest->write(us.context, bytes_of(text), soon()).value() == version);
    CHECK(read_text(*latest) == text);
    CHECK(latest->version() == version);
  }
  CHECK(latest->write(us.context, {}, soon()).value() == 21);
  CHECK(read_text(*latest).empty());
}

TEST_CASE("what_is_too_long_is_refused_and_changes_nothing") {
  const LockFile file;
  const Party us(file, 1);
  Bytes bytes;
  REQUIRE(format_latest_value(bytes, 8));
  auto latest = LatestValue::open(bytes);
  REQUIRE(latest->write(us.context, bytes_of("12345678"), soon()));
  CHECK(latest->write(us.context, bytes_of("123456789"), soon()).error().code() ==
        Code::invalid_argument);
  CHECK(read_text(*latest) == "12345678");
  std::array<std::byte, 4> small{};
  CHECK(latest->read(small, soon()).error().code() == Code::exhausted);
}

TEST_CASE("a_reader_waits_for_a_newer_value_alone") {
  const LockFile file;
  const Party us(file, 1);
  Bytes bytes;
  REQUIRE(format_latest_value(bytes, 8));
  auto latest = LatestValue::open(bytes);
  CHECK(latest->wait(0, Deadline::now()).error().code() == Code::timed_out);
  CHECK(latest->wait(0, Deadline::after_ms(5)).error().code() == Code::timed_out);
  REQUIRE(latest->write(us.context, bytes_of("1"), soon()));
  CHECK(latest->wait(0, Deadline::now()).value() == 1);
  CHECK(latest->wait(1, Deadline::now()).error().code() == Code::timed_out);
  std::thread writer([&] { (void)latest->write(us.context, bytes_of("2"), soon()); });
  CHECK(latest->wait(1, soon()).value() == 2);
  writer.join();
  CHECK(read_text(*latest) == "2");
}

// Each writer's values are of one byte throughout, and of a length that says which.
TEST_CASE("values_are_whole_and_versions_never_go_back_while_many_write") {
  const LockFile file;
  Bytes bytes;
  REQUIRE(format_latest_value(bytes, 500));
  constexpr int kWriters = 3;
  constexpr int kWrites = 3000;
  std::vector<std::thread> writers;
  for (int who = 0; who < kWriters; ++who) {
    writers.emplace_back([&, who] {
      const Party me(file, static_cast<std::uint32_t>(who + 1));
      auto latest = LatestValue::open(bytes);
      for (int i = 0; i < kWrites; ++i) {
        const auto size = static_cast<std::size_t>((i * 7 + who) % 250 * 2);
        const std::string text(size, static_cast<char>(size % 251));
        if (!latest->write(me.context, bytes_of(text), soon())) std::abort();
      }
    });
  }
  const auto latest = LatestValue::open(bytes);
  std::array<std::byte, 500> into{};
  std::uint64_t last = 0, torn = 0;
  while (last < kWriters * kWrites) {
    const auto got = latest->read(into, soon());
    REQUIRE(got);
    REQUIRE(got->version >= last);
    last = got->version;
    for (std::size_t i = 0; i < got->bytes; ++i)
      if (into[i] != static_cast<std::byte>(got->bytes % 251)) ++torn;
  }
  for (auto& writer : writers)
    writer.join();
  CHECK(torn == 0);
}

TEST_CASE("a_writer_killed_or_stopped_in_the_middle_leaves_the_last_value") {
  const LockFile file;
  const Party us(file, 1);
  struct alignas(64) Block {
    std::byte data[4096] = {};
  };
  Shared<Block> shared;
  const std::span<std::byte> bytes((*shared).data);
  REQUIRE(format_latest_value(bytes, 64));
  auto latest = LatestValue::open(bytes);
  REQUIRE(latest->write(us.context, bytes_of("the last whole one"), soon()));
  auto* const block = reinterpret_cast<LatestValueBlock*>(bytes.data());
  const pid_t child = fork();
  if (child == 0) {
    const Party them(file, 2);
    if (!block->writer.lock(them.context, soon())) _exit(1);
    // The copy of version 2, of which it writes a part.
    std::memset(bytes.data() + sizeof(LatestValueBlock) + 2 * std::size_t{128}, 0xEE, 40);
    raise(SIGSTOP);
    _exit(2);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, WUNTRACED) == child);
  REQUIRE(WIFSTOPPED(status));
  CHECK(read_text(*latest) == "the last whole one");
  CHECK(latest->write(us.context, bytes_of("x"), Deadline::after_ms(5)).error().code() ==
        Code::timed_out);
  CHECK(read_text(*latest) == "the last whole one");
  kill(child, SIGKILL);
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(read_text(*latest) == "the last whole one");
  CHECK(latest->write(us.context, bytes_of("a new one"), soon()).value() == 2);
  CHECK(read_text(*latest) == "a new one");
  CHECK(latest->write(us.context, bytes_of("and another"), soon()).value() == 3);
}

TEST_CASE("bytes_that_are_none_are_refused") {
  Bytes bytes;
  CHECK(LatestValue::open(bytes).error().code() == Code::not_ready);
  CHECK(latest_value_bytes(0).error().code() == Code::invalid_argument);
  CHECK(latest_value_bytes(~std::uint64_t{0}).error().code() == Code::invalid_argument);
  CHECK(format_latest_value(bytes, 1 << 20).error().code() == Code::exhausted);
  CHECK(format_latest_value(std::span<std::byte>(bytes).subspan(8), 8).error().code() ==
        Code::invalid_argument);
  REQUIRE(format_latest_value(bytes, 100));
  auto* const block = reinterpret_cast<LatestValueBlock*>(bytes.data);
  block->max_bytes = 1 << 20;
  CHECK(LatestValue::open(bytes).error().code() == Code::corrupt);
  block->max_bytes = ~std::uint64_t{0};
  CHECK(LatestValue::open(bytes).error().code() == Code::corrupt);
  block->max_bytes = 100;
  block->version = 9;
  CHECK(LatestValue::open(bytes).error().code() == Code::corrupt);
}

TEST_CASE("a_hostile_length_is_corrupt_and_reaches_nothing") {
  const LockFile file;
  const Party us(file, 1);
  Bytes bytes;
  REQUIRE(format_latest_value(bytes, 100));
  auto latest = LatestValue::open(bytes);
  REQUIRE(latest->write(us.context, bytes_of("x"), soon()));
  for (const std::uint64_t length : {std::uint64_t{101}, ~std::uint64_t{0}}) {
    std::memcpy(bytes.data + sizeof(LatestValueBlock) + 128, &length, sizeof length);
    std::array<std::byte, 4096> into{};
    CHECK(latest->read(into, soon()).error().code() == Code::corrupt);
  }
}

// docs/format/sync.md is the text of the same contract.
TEST_CASE("its_bytes_are_those_of_the_format_page") {
  const LockFile file;
  const Party us(file, 1);
  Bytes bytes;
  REQUIRE(format_latest_value(bytes, 100));
  auto latest = LatestValue::open(bytes);
  for (const char* const value : {"one", "two", "three", "four", "the fifth"})
    REQUIRE(latest->write(us.context, bytes_of(value), soon()));
  const auto number_at = [&](std::size_t offset) {
    std::uint64_t number = 0;
    std::memcpy(&number, bytes.data + offset, sizeof number);
    return number;
  };
  CHECK(std::memcmp(bytes.data, "LTST\1\0\0\0", 8) == 0);
  CHECK(number_at(8) == 100);
  CHECK(number_at(16) == 5);
  CHECK(number_at(128) == 4);  // version 4, in copy 0
  CHECK(std::memcmp(bytes.data + 136, "four\0\0\0", 8) == 0);
  CHECK(number_at(256) == 9);  // version 5, over version 1
  CHECK(std::memcmp(bytes.data + 264, "the fifth\0\0\0\0\0\0", 16) == 0);
  CHECK(number_at(512) == 5);  // version 3
  CHECK(std::memcmp(bytes.data + 520, "three\0\0", 8) == 0);
}
