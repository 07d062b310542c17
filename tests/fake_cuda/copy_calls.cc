// Copies, fills, and words that streams write and wait for.
#include <time.h>

#include <cstring>

#include "tests/fake_cuda/address_space.h"
#include "tests/fake_cuda/devices.h"
#include "tests/fake_cuda/entry.h"
#include "tests/fake_cuda/streams.h"

using namespace strata::fake_cuda;

namespace {

CuDevicePointer address_of(const void* pointer) {
  return reinterpret_cast<CuDevicePointer>(pointer);
}

struct Copy {
  CuDevicePointer to;
  CuDevicePointer from;
  std::size_t bytes;
};

char* find_copied(CuDevicePointer address, std::size_t bytes, int access) {
  return find_bytes(address, bytes, access, current_device(), Asker::copy);
}

// Looks at the addresses at once, and gives the stream the work. The memory cannot go before it is
// done: cuMemUnmap and its like wait for the streams.
CuResult push_copy(const Copy& copy, CuStream stream) {
  if (const CuResult why = check_context(); why != kSuccess) return why;
  const std::shared_ptr<Stream> found = find_stream(stream);
  if (!found) return kInvalidHandle;
  if (copy.bytes == 0) return kSuccess;
  char* const to = find_copied(copy.to, copy.bytes, kAccessReadWrite);
  const char* const from = find_copied(copy.from, copy.bytes, kAccessRead);
  if (!to || !from) return kInvalidValue;
  found->push([to, from, bytes = copy.bytes] { std::memmove(to, from, bytes); });
  return kSuccess;
}

// On the default stream, and done when it returns.
CuResult copy_now(Entry& entry, const Copy& copy) {
  if (const CuResult why = push_copy(copy, nullptr); why != kSuccess) return why;
  const std::shared_ptr<Stream> stream = find_stream(nullptr);
  entry.unlock();
  stream->wait();
  return sticky_error();
}

using Word = std::uint64_t;

// Where a stream finds a word, or null.
Word* find_word(CuDevicePointer address, int access) {
  if (address % sizeof(Word) != 0) return nullptr;
  return reinterpret_cast<Word*>(
      find_bytes(address, sizeof(Word), access, current_device(), Asker::kernel));
}

// As the driver compares: the words may wrap around.
bool is_reached(const Word* word, Word value) {
  return static_cast<std::int64_t>(__atomic_load_n(word, __ATOMIC_ACQUIRE) - value) >= 0;
}

void wait_for_word(const Word* word, Word value) {
  for (int turns = 0; !is_reached(word, value); ++turns) {
    constexpr int kEagerTurns = 100;
    const timespec pause{0, turns < kEagerTurns ? 1000 : 100'000};
    ::nanosleep(&pause, nullptr);
  }
}

}  // namespace

CuResult cuMemcpy(CuDevicePointer to, CuDevicePointer from, std::size_t bytes) {
  FAKE_CUDA_ENTER(cuMemcpy);
  return copy_now(entry, {to, from, bytes});
}

CuResult cuMemcpyHtoD(CuDevicePointer to, const void* from, std::size_t bytes) {
  FAKE_CUDA_ENTER(cuMemcpyHtoD);
  FAKE_CUDA_REQUIRE(bytes == 0 || is_device_address(to), kInvalidValue);
  return copy_now(entry, {to, address_of(from), bytes});
}

CuResult cuMemcpyDtoH(void* to, CuDevicePointer from, std::size_t bytes) {
  FAKE_CUDA_ENTER(cuMemcpyDtoH);
  FAKE_CUDA_REQUIRE(bytes == 0 || is_device_address(from), kInvalidValue);
  return copy_now(entry, {address_of(to), from, bytes});
}

CuResult cuMemcpyAsync(CuDevicePointer to, CuDevicePointer from, std::size_t bytes,
                       CuStream stream) {
  FAKE_CUDA_ENTER(cuMemcpyAsync);
  return push_copy({to, from, bytes}, stream);
}

CuResult cuMemcpyHtoDAsync(CuDevicePointer to, const void* from, std::size_t bytes,
                           CuStream stream) {
  FAKE_CUDA_ENTER(cuMemcpyHtoDAsync);
  FAKE_CUDA_REQUIRE(bytes == 0 || is_device_address(to), kInvalidValue);
  return push_copy({to, address_of(from), bytes}, stream);
}

CuResult cuMemcpyDtoHAsync(void* to, CuDevicePointer from, std::size_t bytes, CuStream stream) {
  FAKE_CUDA_ENTER(cuMemcpyDtoHAsync);
  FAKE_CUDA_REQUIRE(bytes == 0 || is_device_address(from), kInvalidValue);
  return push_copy({address_of(to), from, bytes}, stream);
}

CuResult cuMemsetD8Async(CuDevicePointer address, unsigned char value, std::size_t bytes,
                         CuStream stream) {
  FAKE_CUDA_ENTER(cuMemsetD8Async);
  FAKE_CUDA_NEED_CONTEXT();
  const std::shared_ptr<Stream> found = find_stream(stream);
  FAKE_CUDA_REQUIRE(found, kInvalidHandle);
  if (bytes == 0) return kSuccess;
  char* const to = find_bytes(address, bytes, kAccessReadWrite, current_device(), Asker::kernel);
  FAKE_CUDA_REQUIRE(to, kInvalidValue);
  found->push([to, value, bytes] { std::memset(to, value, bytes); });
  return kSuccess;
}

CuResult cuStreamWriteValue64(CuStream stream, CuDevicePointer address, std::uint64_t value,
                              unsigned flags) {
  FAKE_CUDA_ENTER(cuStreamWriteValue64);
  FAKE_CUDA_NEED_CONTEXT();
  FAKE_CUDA_REQUIRE(flags == kWriteValueDefault, kInvalidValue);
  const std::shared_ptr<Stream> found = find_stream(stream);
  FAKE_CUDA_REQUIRE(found, kInvalidHandle);
  Word* const word = find_word(address, kAccessReadWrite);
  FAKE_CUDA_REQUIRE(word, kInvalidValue);
  found->push([word, value] { __atomic_store_n(word, value, __ATOMIC_RELEASE); });
  return kSuccess;
}

CuResult cuStreamWaitValue64(CuStream stream, CuDevicePointer address, std::uint64_t value,
                             unsigned flags) {
  FAKE_CUDA_ENTER(cuStreamWaitValue64);
  FAKE_CUDA_NEED_CONTEXT();
  FAKE_CUDA_REQUIRE(flags == kWaitValueGeq, kNotSupported);
  const std::shared_ptr<Stream> found = find_stream(stream);
  FAKE_CUDA_REQUIRE(found, kInvalidHandle);
  const Word* const word = find_word(address, kAccessRead);
  FAKE_CUDA_REQUIRE(word, kInvalidValue);
  found->push([word, value] { wait_for_word(word, value); });
  return kSuccess;
}
