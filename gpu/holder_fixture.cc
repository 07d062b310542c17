// A program that holds a segment, as `strata gpu hold` does: holder_fixture DIRECTORY DEVICES URI.

#include <cstdio>

#include "gpu/holder.h"

using namespace strata;

int main(int count, char** words) {
  if (count != 4) return 2;
  RealOs os;
  const auto uri = SegmentUri::parse(words[3]);
  if (!uri) return 2;
  cuda::DescriptorServer server(os, words[1]);
  std::vector<std::unique_ptr<cuda::SegmentHolder>> holders;
  auto held = cuda::SegmentHolder::hold(
      os, server, {.directory = words[1], .device_directory = words[2]}, *uri);
  if (!held) {
    std::fprintf(stderr, "%s\n", held.error().to_string().c_str());
    return 1;
  }
  std::printf("holding %s: %s\n", words[3], (*held)->note().c_str());
  std::fflush(stdout);
  holders.push_back(std::move(*held));
  return cuda::keep_until_over(os, holders, -1) ? 0 : 1;
}
