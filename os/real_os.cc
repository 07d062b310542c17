#include "strata/os/real_os.h"

#include "os/os.h"

namespace strata::inline v0_1 {

Os& real_os() {
  // Never destroyed: what is attached may be let go of by the destructor of some static.
  static RealOs& os = *new RealOs;
  return os;
}

}  // namespace strata::inline v0_1
