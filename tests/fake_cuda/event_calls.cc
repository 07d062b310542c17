// Events: places in the work of a stream.
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>

#include "tests/fake_cuda/devices.h"
#include "tests/fake_cuda/entry.h"
#include "tests/fake_cuda/streams.h"

using namespace strata::fake_cuda;

namespace {

class Event {
 public:
  std::uint64_t record() {
    const std::lock_guard lock(mutex_);
    return ++recorded_;
  }
  void complete(std::uint64_t record) {
    {
      const std::lock_guard lock(mutex_);
      if (record > completed_) completed_ = record;
    }
    changed_.notify_all();
  }
  std::uint64_t last_record() {
    const std::lock_guard lock(mutex_);
    return recorded_;
  }
  bool is_complete() {
    const std::lock_guard lock(mutex_);
    return completed_ >= recorded_;
  }
  void wait(std::uint64_t record) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return completed_ >= record; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t recorded_ = 0;
  std::uint64_t completed_ = 0;
};

std::map<CuEvent, std::shared_ptr<Event>>& events() {
  static auto& all = *new std::map<CuEvent, std::shared_ptr<Event>>;
  return all;
}

std::shared_ptr<Event> find_event(CuEvent handle) {
  const auto found = events().find(handle);
  return found == events().end() ? nullptr : found->second;
}

}  // namespace

CuResult cuEventCreate(CuEvent* event, unsigned flags) {
  FAKE_CUDA_ENTER(cuEventCreate);
  constexpr unsigned kKnownFlags = 7;
  FAKE_CUDA_REQUIRE(event && (flags & ~kKnownFlags) == 0, kInvalidValue);
  FAKE_CUDA_NEED_CONTEXT();
  auto made = std::make_shared<Event>();
  *event = reinterpret_cast<CuEvent>(made.get());
  events().emplace(*event, std::move(made));
  return kSuccess;
}

CuResult cuEventDestroy(CuEvent event) {
  FAKE_CUDA_ENTER(cuEventDestroy);
  return events().erase(event) != 0 ? kSuccess : kInvalidHandle;
}

CuResult cuEventRecord(CuEvent event, CuStream stream) {
  FAKE_CUDA_ENTER(cuEventRecord);
  FAKE_CUDA_NEED_CONTEXT();
  const std::shared_ptr<Event> recorded = find_event(event);
  const std::shared_ptr<Stream> found = find_stream(stream);
  FAKE_CUDA_REQUIRE(recorded && found, kInvalidHandle);
  found->push([recorded, number = recorded->record()] { recorded->complete(number); });
  return kSuccess;
}

CuResult cuEventQuery(CuEvent event) {
  FAKE_CUDA_ENTER(cuEventQuery);
  const std::shared_ptr<Event> found = find_event(event);
  FAKE_CUDA_REQUIRE(found, kInvalidHandle);
  if (found->is_complete()) return sticky_error();
  entry.forget();
  return kNotReady;
}

CuResult cuEventSynchronize(CuEvent event) {
  std::shared_ptr<Event> found;
  {
    FAKE_CUDA_ENTER(cuEventSynchronize);
    found = find_event(event);
    FAKE_CUDA_REQUIRE(found, kInvalidHandle);
  }
  found->wait(found->last_record());
  return sticky_error();
}

CuResult cuStreamWaitEvent(CuStream stream, CuEvent event, unsigned flags) {
  FAKE_CUDA_ENTER(cuStreamWaitEvent);
  FAKE_CUDA_NEED_CONTEXT();
  FAKE_CUDA_REQUIRE(flags <= 1, kInvalidValue);
  const std::shared_ptr<Event> waited_for = find_event(event);
  const std::shared_ptr<Stream> found = find_stream(stream);
  FAKE_CUDA_REQUIRE(waited_for && found, kInvalidHandle);
  found->push([waited_for, number = waited_for->last_record()] { waited_for->wait(number); });
  return kSuccess;
}
