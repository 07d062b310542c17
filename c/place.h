// The structs of C that stand in shared bytes are those of C++, seen through another declaration.
#pragma once

#include "c/handles.h"

namespace strata::inline v0_1::c {

// The primitive of C++ that `of_c` is, after a look at context and place.
template <typename Primitive, typename OfC>
Result<Primitive*> primitive(const strata_sync_context* context, OfC* of_c, const char* argument) {
  static_assert(sizeof(Primitive) == sizeof(OfC) && alignof(Primitive) == alignof(OfC));
  STRATA_TRY(check_handle(context, "context"));
  if (!context->is_place(of_c, sizeof(OfC), alignof(OfC))) [[unlikely]]
    STRATA_TRY(context->check_place(of_c, sizeof(OfC), alignof(OfC), argument));
  return reinterpret_cast<Primitive*>(const_cast<std::remove_const_t<OfC>*>(of_c));
}

static_assert(static_cast<int>(Acquired::clean) == STRATA_CLEAN);
static_assert(static_cast<int>(Acquired::owner_died) == STRATA_OWNER_DIED);

inline int how_of(Acquired how) { return static_cast<int>(how); }

}  // namespace strata::inline v0_1::c
