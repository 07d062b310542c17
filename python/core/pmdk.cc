#include "python/core/pmdk.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "python/core/errors.h"
#include "python/pmdk/functions.h"

// The library calls these instead of PMDK's: each jumps to where strata._pmdk says that PMDK's is.
// A jump passes on any arguments, also variable ones, and setjmp() sees the caller's frame.
#if !defined(__x86_64__)
#error "python/core/pmdk.cc: jumps for this processor are not written yet"
#endif

extern "C" {

[[noreturn]] void strata_pmdk_is_not_loaded() {
  std::fputs("strata: a function of PMDK was called before load_pmdk()\n", stderr);
  std::abort();
}

#define STRATA_JUMP(function)                                              \
  __attribute__((visibility("hidden"), used)) void* strata_to_##function = \
      reinterpret_cast<void*>(&strata_pmdk_is_not_loaded);                 \
  __asm__(                                                                 \
      ".pushsection .text\n"                                               \
      ".globl " #function                                                  \
      "\n"                                                                 \
      ".hidden " #function                                                 \
      "\n"                                                                 \
      ".type " #function ", @function\n" #function                         \
      ":\n"                                                                \
      "  jmp *strata_to_" #function                                        \
      "(%rip)\n"                                                           \
      ".size " #function ", . - " #function                                \
      "\n"                                                                 \
      ".popsection\n");
STRATA_PMDK_FUNCTIONS(STRATA_JUMP)
#undef STRATA_JUMP

}  // extern "C"

namespace strata::python {
namespace {

struct Jump {
  const char* name;
  void** to;
};
#define STRATA_ENTRY(function) {#function, &strata_to_##function},
const Jump jumps[] = {STRATA_PMDK_FUNCTIONS(STRATA_ENTRY)};
#undef STRATA_ENTRY

}  // namespace

void load_pmdk() {
  static bool is_loaded = false;  // under the GIL
  if (is_loaded) return;
  // It raises an ImportError that says what is missing.
  const nb::object capsule = nb::module_::import_("strata._load_pmdk").attr("functions")();
  const auto* function =
      static_cast<const PmdkFunction*>(PyCapsule_GetPointer(capsule.ptr(), kPmdkCapsule));
  if (function == nullptr) throw nb::python_error();
  for (const Jump& jump : jumps) {
    if (function->name == nullptr || std::strcmp(function->name, jump.name) != 0)
      raise(Code::internal, "strata._pmdk is of another version than strata._core: install again");
    *jump.to = (function++)->address;
  }
  is_loaded = true;
}

}  // namespace strata::python
