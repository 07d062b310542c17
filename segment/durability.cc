#include "segment/durability.h"

namespace strata {

Durability& volatile_durability() {
  static Durability& nothing = *new Durability;  // stateless; there until the very end
  return nothing;
}

}  // namespace strata
