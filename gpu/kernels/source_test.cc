// The source of the kernels, run on the host, against xxhash and plain loops.
#include <cstring>
#include <random>
#include <vector>

#include "base/long_hash.h"
#include "gpu/kernels/kernels_testing.h"
#include "gpu/kernels/xxh3.h"
#include "strata/segment/content_hash.h"
#include "tests/catch.h"

namespace strata::inline v0_1 {
namespace {

using kernels::U64;
using test::run_kernel_on_host;

std::vector<std::byte> random_bytes(std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes)
    byte = static_cast<std::byte>(random());
  return bytes;
}

// Low and high half of every block.
std::vector<U64> hash_blocks(const std::vector<std::byte>& bytes, U64 block_bytes,
                             unsigned cuda_blocks) {
  std::vector<U64> halves(2 * ((bytes.size() + block_bytes - 1) / block_bytes));
  const void* from = bytes.data();
  U64 size = bytes.size();
  U64* to = halves.data();
  void* parameters[] = {&from, &size, &block_bytes, &to};
  REQUIRE(
      run_kernel_on_host("strata_hash_blocks", {cuda_blocks, kernels::kHashThreads}, parameters));
  return halves;
}

ContentHash canonical(U64 low, U64 high) {
  ContentHash hash;
  for (unsigned i = 0; i < 8; ++i) {
    hash[i] = static_cast<std::uint8_t>(high >> (56 - 8 * i));
    hash[8 + i] = static_cast<std::uint8_t>(low >> (56 - 8 * i));
  }
  return hash;
}

U64 first_difference(const std::vector<std::byte>& a, const std::vector<std::byte>& b) {
  U64 found = ~0ULL;
  const void* left = a.data();
  const void* right = b.data();
  U64 size = a.size();
  U64* to = &found;
  void* parameters[] = {&left, &right, &size, &to};
  REQUIRE(run_kernel_on_host("strata_find_difference", {3, 32}, parameters));
  return found;
}

TEST_CASE("the_hash_of_a_device_is_the_hash_of_the_host_at_every_length") {
  const std::uint32_t seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  // Around stripes, chunks and tiles, and anything between.
  std::vector<std::size_t> sizes = {241,  255,   256,   257,   1023,  1024,  1025,  1088,
                                    1089, 32767, 32768, 32769, 65536, 98304, 98305, 100000};
  for (int i = 0; i < 60; ++i)
    sizes.push_back(kernels::kLeastBytes + random() % 200'000);
  for (const std::size_t size : sizes) {
    INFO("size " << size);
    const std::vector<std::byte> bytes = random_bytes(size, seed + 1);
    const std::vector<U64> halves = hash_blocks(bytes, (size + 7) / 8 * 8, 1);
    CHECK(halves.size() == 2);
    CHECK(halves[0] == hash_long(bytes));
    CHECK(canonical(halves[0], halves[1]) == content_hash(bytes));
  }
}

TEST_CASE("each_block_has_the_checksum_that_a_pool_stores_whatever_the_number_of_cuda_blocks") {
  constexpr std::size_t kBlockBytes = 4096;
  const std::vector<std::byte> bytes = random_bytes(10 * kBlockBytes + 555, 7);
  for (const unsigned cuda_blocks : {1U, 3U, 11U, 40U}) {
    const std::vector<U64> halves = hash_blocks(bytes, kBlockBytes, cuda_blocks);
    REQUIRE(halves.size() == 22);
    for (std::size_t i = 0; i < 11; ++i) {
      const std::span<const std::byte> all(bytes);
      const auto block =
          all.subspan(i * kBlockBytes, std::min(kBlockBytes, all.size() - i * kBlockBytes));
      CHECK(halves[2 * i] == hash_long(block));
    }
  }
}

TEST_CASE("fill_writes_the_value_to_the_last_byte_and_not_beyond") {
  for (std::size_t size = 0; size < 100; ++size) {
    std::vector<std::byte> bytes(112, std::byte{0xEE});
    U64 value = 0x0807060504030201ULL;
    void* to = bytes.data();
    U64 count = size;
    void* parameters[] = {&to, &count, &value};
    REQUIRE(run_kernel_on_host("strata_fill", {2, 32}, parameters));
    for (std::size_t i = 0; i < bytes.size(); ++i)
      REQUIRE(bytes[i] == static_cast<std::byte>(i < size ? i % 8 + 1 : 0xEE));
  }
}

TEST_CASE("the_first_of_several_differences_is_found_at_every_offset") {
  for (const std::size_t size : {1UL, 7UL, 8UL, 9UL, 801UL, 2005UL}) {
    const std::vector<std::byte> bytes = random_bytes(size, 3);
    CHECK(first_difference(bytes, bytes) == ~0ULL);
    for (std::size_t at = 0; at < size; ++at) {
      std::vector<std::byte> other = bytes;
      other[at] ^= std::byte{0x80};
      other[size - 1] ^= std::byte{0x01};
      REQUIRE(first_difference(bytes, other) == at);
    }
  }
}

TEST_CASE("a_kernel_that_is_not_there_is_not_run") {
  CHECK_FALSE(run_kernel_on_host("strata_other", {}, nullptr));
}

}  // namespace
}  // namespace strata::inline v0_1
