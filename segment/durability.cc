#include "strata/segment/durability.h"

namespace strata::inline v0_1 {

Durability& volatile_durability() {
  static Durability& nothing = *new Durability;  // stateless; there until the very end
  return nothing;
}

}  // namespace strata::inline v0_1
