// What a process knows of a shared primitive beyond the shared bytes: which of its threads holds
// it, how often. There is one of it in a process, however often the primitive is opened.
//   Threads:  with the GIL.
//   Lifetime: it ends with the last object of Python that has it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

namespace strata::python {

template <typename T>
class ProcessWide {
 public:
  // Which segment, and which of the primitives that it holds.
  using Key = std::pair<std::array<std::uint8_t, 16>, std::int64_t>;

  static std::shared_ptr<T> find(const Key& key) {
    const auto found = all().find(key);
    return found == all().end() ? nullptr : found->second.lock();
  }

  // What there is already, or `made`.
  static std::shared_ptr<T> keep(const Key& key, std::shared_ptr<T> made) {
    if (all().size() >= next_sweep()) {
      std::erase_if(all(), [](const auto& one) { return one.second.expired(); });
      next_sweep() = 2 * all().size() + 64;
    }
    std::weak_ptr<T>& slot = all()[key];
    if (auto there = slot.lock()) return there;
    slot = made;
    return made;
  }

 private:
  static std::map<Key, std::weak_ptr<T>>& all() {
    // Never destroyed: objects may outlive the interpreter's own end.
    static auto* const all = new std::map<Key, std::weak_ptr<T>>();
    return *all;
  }
  static std::size_t& next_sweep() {
    static std::size_t next = 64;
    return next;
  }
};

}  // namespace strata::python
