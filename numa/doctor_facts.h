// What this machine allows for shared memory, for `strata doctor`: each fact with its value,
// whether it is in the way, and how to change it.
//   Threads:  any.
//   Errors:   none: what cannot be read is left out.
#pragma once

#include <string>
#include <vector>

namespace strata::inline v0_1 {

class Os;

struct DoctorFact {
  std::string name;   // "huge pages for anonymous segments"
  std::string value;  // "never"
  bool is_fine = true;
  std::string remedy;  // a command or a setting; empty where nothing has to be done
};

std::vector<DoctorFact> memory_facts(Os& os);

}  // namespace strata::inline v0_1
