// strata.Dict: a SharedDictionary in a segment of its own, as Python sees it.
//   Threads:  under the GIL, which is released while the lock is waited for, and for long copies.
//   Lifetime: without a name, the segment is gone with the last process that has it.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "python/core/errors.h"
#include "python/core/wait.h"
#include "strata/heap/shared_dictionary.h"
#include "strata/segment/segment.h"

namespace strata::python {

class PyDict {
 public:
  static constexpr std::string_view kType = "strata.Dict";
  // DictionaryValue::tag of what pickle made.
  static constexpr std::uint32_t kPickleTag = 1;

  PyDict(Segment segment, bool has_pickles, Timeout timeout);

  Segment& segment() { return segment_; }
  bool has_pickles() const { return has_pickles_; }

  // Null where the key is absent.
  nb::object get(nb::handle key);
  void set(nb::handle key, nb::handle value);
  bool insert(nb::handle key, nb::handle value);
  bool erase(nb::handle key);
  bool contains(nb::handle key);
  nb::object pop(nb::handle key);
  std::int64_t add(nb::handle key, std::int64_t difference);
  // An expected or desired value that is null: absent.
  bool compare_and_set(nb::handle key, nb::handle expected, nb::handle desired);
  std::uint64_t size();
  void clear();
  // As all of it was at one moment.
  nb::list keys();
  nb::list items();

  // The thread's own transaction; a second begin() is within the first.
  void begin(nb::handle timeout);
  void commit();
  void abort();
  bool is_in_transaction() const { return mine() != nullptr; }

  nb::dict check();

 private:
  struct Open {
    unsigned long thread;
    int depth;
    OpenTransaction transaction;
  };
  struct Snapshot;

  Open* mine() const { return open_.empty() ? nullptr : find_mine(); }
  Open* find_mine() const;
  // Null outside of a transaction of this thread.
  Transaction* transaction() const;
  void join();
  SharedDictionary& writable();
  Snapshot snapshot();
  nb::object to_python(const DictionaryValue& value) const;
  template <typename Look>
  auto look(Look&& look);
  template <typename Change>
  auto change(std::size_t bytes, Change&& change);

  Segment segment_;
  // Shared with those who wait without the GIL.
  std::shared_ptr<SharedDictionary> dictionary_;
  bool has_pickles_;
  bool is_slow_;  // memory that is durable: a commit takes as long as the medium does
  Timeout timeout_;
  mutable std::vector<std::unique_ptr<Open>> open_;
};

void bind_dict(nb::module_& module);

}  // namespace strata::python
