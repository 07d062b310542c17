#include "tests/fake_cuda/streams.h"

#include <unistd.h>

#include <map>
#include <thread>
#include <vector>

#include "tests/fake_cuda/devices.h"
#include "tests/fake_cuda/entry.h"
#include "tests/fake_cuda/settings.h"

namespace strata::inline v0_1::fake_cuda {
namespace {

struct Streams {
  std::map<CuStream, std::shared_ptr<Stream>> made;
  std::map<CuDevice, std::shared_ptr<Stream>> defaults;
  std::vector<std::shared_ptr<Stream>> closing;  // destroyed, and perhaps still at work
};
Streams& streams() {
  static auto& all = *new Streams;
  return all;
}

// CU_STREAM_LEGACY and CU_STREAM_PER_THREAD, which is not told apart here.
bool is_default(CuStream handle) { return reinterpret_cast<std::uintptr_t>(handle) <= 2; }

}  // namespace

std::shared_ptr<Stream> Stream::create(CuDevice device) {
  std::shared_ptr<Stream> stream(new Stream(device));
  std::thread([stream] { stream->run(); }).detach();
  return stream;
}

void Stream::run() {
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return is_closed_ || !queue_.empty(); });
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
      is_busy_ = true;
    }
    if (settings().delay_us != 0) ::usleep(settings().delay_us);
    work();
    {
      const std::lock_guard lock(mutex_);
      is_busy_ = false;
    }
    changed_.notify_all();
  }
}

void Stream::push(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
  }
  changed_.notify_all();
}

void Stream::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return queue_.empty() && !is_busy_; });
}

bool Stream::is_idle() {
  const std::lock_guard lock(mutex_);
  return queue_.empty() && !is_busy_;
}

void Stream::close() {
  {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
  }
  changed_.notify_all();
}

std::shared_ptr<Stream> find_stream(CuStream handle) {
  if (is_default(handle)) {
    std::shared_ptr<Stream>& stream = streams().defaults[current_device()];
    if (!stream) stream = Stream::create(current_device());
    return stream;
  }
  const auto found = streams().made.find(handle);
  return found == streams().made.end() ? nullptr : found->second;
}

void wait_for_all_streams() {
  std::vector<std::shared_ptr<Stream>> all;
  {
    const std::lock_guard lock(driver_mutex());
    for (const auto& [handle, stream] : streams().made)
      all.push_back(stream);
    for (const auto& [device, stream] : streams().defaults)
      all.push_back(stream);
    // What was under way on a stream that is destroyed goes on.
    all.insert(all.end(), streams().closing.begin(), streams().closing.end());
  }
  for (const auto& stream : all)
    stream->wait();
}

}  // namespace strata::inline v0_1::fake_cuda

using namespace strata::fake_cuda;

CuResult cuStreamCreate(CuStream* stream, unsigned flags) {
  FAKE_CUDA_ENTER(cuStreamCreate);
  FAKE_CUDA_REQUIRE(stream && (flags & ~kStreamNonBlocking) == 0, kInvalidValue);
  FAKE_CUDA_NEED_CONTEXT();
  std::shared_ptr<Stream> made = Stream::create(current_device());
  *stream = reinterpret_cast<CuStream>(made.get());
  streams().made.emplace(*stream, std::move(made));
  return kSuccess;
}

CuResult cuStreamDestroy(CuStream stream) {
  FAKE_CUDA_ENTER(cuStreamDestroy);
  const auto found = streams().made.find(stream);
  FAKE_CUDA_REQUIRE(found != streams().made.end(), kInvalidHandle);
  found->second->close();
  std::vector<std::shared_ptr<Stream>>& closing = streams().closing;
  std::erase_if(closing, [](const auto& closed) { return closed->is_idle(); });
  closing.push_back(std::move(found->second));
  streams().made.erase(found);
  return kSuccess;
}

CuResult cuStreamSynchronize(CuStream stream) {
  std::shared_ptr<Stream> found;
  {
    FAKE_CUDA_ENTER(cuStreamSynchronize);
    FAKE_CUDA_NEED_CONTEXT();
    found = find_stream(stream);
    FAKE_CUDA_REQUIRE(found, kInvalidHandle);
  }
  found->wait();
  return sticky_error();
}

CuResult cuStreamQuery(CuStream stream) {
  FAKE_CUDA_ENTER(cuStreamQuery);
  FAKE_CUDA_NEED_CONTEXT();
  const std::shared_ptr<Stream> found = find_stream(stream);
  FAKE_CUDA_REQUIRE(found, kInvalidHandle);
  if (found->is_idle()) return sticky_error();
  entry.forget();
  return kNotReady;
}

CuResult cuCtxSynchronize() {
  {
    FAKE_CUDA_ENTER(cuCtxSynchronize);
    FAKE_CUDA_NEED_CONTEXT();
  }
  wait_for_all_streams();
  return sticky_error();
}
