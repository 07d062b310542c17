// What the conformance suite needs to know about a backend. Each backend supplies one small
// fixture and links it with backend_suite.cc.
#pragma once

#include <memory>
#include <string>

#include "segment/backend.h"

namespace strata::inline v0_1 {

class BackendFixture {
 public:
  virtual ~BackendFixture() = default;
  virtual Os& os() = 0;
  virtual Backend& backend() = 0;
  virtual SegmentUri uri(const std::string& name) = 0;
  // Another process that uses the same backend sees the same names.
  virtual bool has_shared_names() const { return true; }
  // stat, list, remove and reclaim mean something.
  virtual bool has_names() const { return true; }
  // Lifetimes other than until_removed.
  virtual bool has_lifetimes() const { return true; }
  // Why a process that is forked from one that uses the backend cannot use it; empty where it can.
  virtual std::string why_no_children() const { return {}; }
};

// A fresh fixture with nothing in it; what it makes is gone with it.
std::unique_ptr<BackendFixture> make_fixture();

}  // namespace strata::inline v0_1
