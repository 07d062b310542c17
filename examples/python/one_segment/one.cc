// The array in C++, which makes it, with its type and shape, where nobody else has:
//
//     g++ -std=c++20 one.cc -o one_cc $(pkg-config --cflags --libs strata)
//     ./one_cc shm:one
#include <strata/strata.h>

#include <cstdio>

namespace {

strata::Result<void> run(const char* uri) {
  strata::Catalog catalog = strata::open_catalog();
  STRATA_ASSIGN(strata::CreatedOrAttached opened,
                catalog.create_or_attach(uri, {.content = {.element = "<f8", .shape = {4}}}));
  STRATA_ASSIGN(const std::span<std::byte> bytes, opened.segment.writable_bytes());
  auto* const numbers = reinterpret_cast<double*>(bytes.data());
  double sum = 0;
  for (int i = 0; i < 4; ++i)
    sum += numbers[i];
  numbers[0] = sum + 1;
  std::printf("C++ reads the sum %g and writes %g\n", sum, numbers[0]);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto result = run(argv[1]);
  if (!result) std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
  return result ? 0 : 1;
}
