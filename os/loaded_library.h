// Which file of a library this process runs with, for reports.
//   Threads:  any.
//   Errors:   none; what cannot be found out is empty.
#pragma once

#include <string>

namespace strata::inline v0_1 {

// A library that something was built with and runs with.
struct LibraryVersion {
  std::string name;
  std::string built;    // the version of its interface in the headers; empty: they have none
  std::string running;  // the same of what was loaded; empty: it does not say
  std::string file;     // without symbolic links, which tells the release; empty: linked statically
};

// The file that the code at `function` comes from.
std::string library_file(const void* function);

}  // namespace strata::inline v0_1
