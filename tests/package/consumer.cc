// What a user without Bazel writes; package_test.py builds it against the tarball.
#include <cstdio>

#include "base/result.h"

int main() {
  const strata::Result<int> result =
      strata::fail(strata::Code::not_found, "no segment of that name");
  std::puts(result.error().to_string().c_str());
}
