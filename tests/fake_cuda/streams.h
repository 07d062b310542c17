// Streams: each a thread that does one piece of work after the other, later than it was asked to.
//   Threads:  any; never wait here with driver_mutex() held.
//   Lifetime: a destroyed stream does what it was given to the end. Threads are never joined, so
//             that a process ends while a stream waits for a word that nobody writes.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "tests/fake_cuda/calls.h"

namespace strata::inline v0_1::fake_cuda {

class Stream {
 public:
  static std::shared_ptr<Stream> create(CuDevice device);

  CuDevice device() const { return device_; }
  void push(std::function<void()> work);
  void wait();
  bool is_idle();
  // Ends the thread once it has nothing to do.
  void close();

 private:
  explicit Stream(CuDevice device) : device_(device) {}
  void run();

  const CuDevice device_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool is_busy_ = false;
  bool is_closed_ = false;
};

// That of a handle, or the current context's default one; null where the handle is none. Requires
// driver_mutex() and a current context.
std::shared_ptr<Stream> find_stream(CuStream handle);
void wait_for_all_streams();

}  // namespace strata::inline v0_1::fake_cuda
