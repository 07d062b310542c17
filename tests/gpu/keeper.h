// A process that stays attached to a segment and answers for its content.
//   Threads:  one.
//   Lifetime: the destructor lets it detach and end; kill() and stop() do not ask it.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "strata/segment/segment.h"

namespace strata::inline v0_1::test {

// The bytes that the suites put into their segments.
std::vector<std::byte> pattern(std::size_t count);
// Nothing, or what is wrong with the content of a segment that was filled with pattern().
std::string difference_from_pattern(const Segment& segment);

enum class Place : std::uint8_t {
  here,
  container,  // in pid and network namespaces of its own, where it is pid 1
};

// Puts this process's only child into such a container, and returns in that one: nothing, or why it
// cannot be. This process then ends as its child does.
std::string enter_container();

class Keeper {
 public:
  using Open = std::function<Result<Segment>()>;

  // Runs `open` in a process of its own and returns when it has the segment, or has failed to.
  explicit Keeper(const Open& open, Place place = Place::here);
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  // Why `open` failed; empty where it did not.
  const std::string& failure() const { return failure_; }
  pid_t pid() const { return pid_; }
  // Nothing, or what the process sees wrong with the content.
  std::string check();
  // Lets it detach and end; what it said that was wrong.
  std::string end();
  void kill();
  void stop();
  void go_on();

 private:
  std::string ask(char what);
  // The process itself, as it is seen from here.
  pid_t inner_pid() const;
  void reap();

  Place place_;
  pid_t pid_ = 0;
  int socket_ = -1;
  std::string failure_;
};

}  // namespace strata::inline v0_1::test
