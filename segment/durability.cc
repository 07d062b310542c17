#include "segment/durability.h"

namespace strata {

Durability& volatile_durability() {
  static Durability nothing;  // stateless, so that sharing it is safe
  return nothing;
}

}  // namespace strata
