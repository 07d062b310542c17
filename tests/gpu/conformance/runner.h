// Asks rows of a driver, each in a process that was forked before the driver was loaded: a row that
// crashes, hangs or loses its context costs the others nothing.
//   Cost: one start of the driver for the rows that can share a process, and one for each other.
#pragma once

#include <map>
#include <vector>

#include "tests/gpu/conformance/machine.h"

namespace strata::inline v0_1::conformance {

// By number. Rows that cannot be asked are answered with the reason.
std::map<int, Answer> ask_all(const std::vector<Row>& rows, const Place& place);

struct DriverFacts {
  int version = 0;
  std::string device;
  int compute_major = 0;
  int compute_minor = 0;
  std::string trouble = {};  // why there is no driver; then nothing else is set
};
DriverFacts read_facts(const Place& place);

}  // namespace strata::inline v0_1::conformance
