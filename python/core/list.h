// strata.List: an immutable list of numbers, bytes, str or bits, which many processes read in
// place; and strata.freeze(), which makes one. docs/format/list.md is the contract of its bytes.
//   Threads:  any; nothing of it changes.
//   Lifetime: slices, iterators and buffers keep the segment mapped.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "python/core/errors.h"
#include "strata/heap/list.h"
#include "strata/segment/segment.h"

namespace strata::python {

inline constexpr std::string_view kListType = "strata.List";

// The sealed segment that a list is, attached once in a process.
struct Frozen {
  explicit Frozen(Segment from);

  Segment segment;
  ListKind kind = ListKind::int64;
  std::uint64_t count = 0;
  // Which of these there is, the kind says.
  const std::int64_t* ints = nullptr;
  const double* floats = nullptr;
  std::optional<BytesList> strings;
  std::optional<BitList> bits;
};

// All of a list, or a slice of it.
class PyList {
 public:
  explicit PyList(std::shared_ptr<const Frozen> frozen)
      : frozen_(std::move(frozen)), count_(frozen_->count) {}
  PyList(std::shared_ptr<const Frozen> frozen, std::uint64_t start, std::int64_t step,
         std::uint64_t count)
      : frozen_(std::move(frozen)), start_(start), step_(step), count_(count) {}

  const Frozen& frozen() const { return *frozen_; }
  ListKind kind() const { return frozen_->kind; }
  std::uint64_t size() const { return count_; }
  std::uint64_t start() const { return start_; }
  std::int64_t step() const { return step_; }
  // Where item `index` of the slice is in the list. Requires index < size().
  std::uint64_t place(std::uint64_t index) const {
    return start_ + index * static_cast<std::uint64_t>(step_);
  }

  // A new reference; null with an exception set.
  PyObject* item(std::uint64_t index) const;
  // Requires what PySlice_AdjustIndices gives.
  PyList slice(std::uint64_t start, std::int64_t step, std::uint64_t count) const;

  // The first item from `begin` to before `end` that is equal to `value`; none: `end`.
  std::uint64_t find(nb::handle value, std::uint64_t begin, std::uint64_t end) const;
  std::uint64_t count_of(nb::handle value) const;
  bool equals(const PyList& other) const;
  // A list or tuple of Python's.
  bool equals(nb::handle sequence) const;

 private:
  template <typename Equal>
  std::uint64_t scan(std::uint64_t begin, std::uint64_t end, Equal&& equal) const;
  template <typename Scan>
  std::uint64_t scan_for(nb::handle value, Scan&& scan) const;
  bool equals_natively(const PyList& other) const;

  std::shared_ptr<const Frozen> frozen_;
  std::uint64_t start_ = 0;
  std::int64_t step_ = 1;
  std::uint64_t count_ = 0;
};

std::string_view kind_name(ListKind kind);

// What freeze() makes a list of: checked, and of one kind.
std::shared_ptr<const Frozen> freeze(nb::handle items, const std::string& uri,
                                     std::optional<ListKind> kind, nb::handle permissions);

void bind_list(nb::module_& module);

}  // namespace strata::python
