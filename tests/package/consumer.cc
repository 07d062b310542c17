// What a user without Bazel writes; package_test.py builds it against the tarball.
#include <strata/strata.h>

#include <cstdio>
#include <cstring>

int main(int, char** argv) {
  strata::Catalog catalog = strata::open_catalog();
  auto made = catalog.create(argv[1], {.payload_bytes = 4096});
  if (!made) return std::puts(made.error().to_string().c_str()), 1;
  std::strcpy(reinterpret_cast<char*>(made->writable_bytes()->data()),
              "hello from another mapping");
  auto seen = catalog.attach(argv[1], {.access = strata::Access::read_only});
  if (!seen) return std::puts(seen.error().to_string().c_str()), 1;
  std::puts(reinterpret_cast<const char*>(seen->host_bytes()->data()));
  return catalog.remove(argv[1], {.even_if_attached = true}) ? 0 : 1;
}
