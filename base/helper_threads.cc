#include "base/helper_threads.h"

#include <system_error>
#include <utility>

namespace strata::inline v0_1 {

bool HelperThreads::start(std::function<void()> work) {
  try {
    threads_.emplace_back(std::move(work));
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

void run_on_threads(unsigned threads, const std::function<void()>& work) {
  HelperThreads helpers;
  for (unsigned i = 1; i < threads; ++i) {
    if (!helpers.start(work)) break;
  }
  work();
}

}  // namespace strata::inline v0_1
