// Writes the golden files of tests/format: make_golden lists|segments|sync|heap FOLDER
//                                          make_golden heap-in URI closed|unfinished
//
// make_golden.py runs it, built in the tree of the commit whose bytes are to be kept (the files of
// version 1 and 2: 14d8daa), and adds what the `strata` of that commit writes. It is compiled with
// every commit, so that the next version of a format needs no more than a new name for its file.
#include "tests/format/make_golden.h"

#include <cstdio>
#include <cstring>
#include <fstream>

#include "os/os.h"
#include "tests/format/golden_list.h"
#include "tests/format/golden_text.h"

namespace strata::inline v0_1::golden {
namespace {

void keep(std::istream& from, const std::string& to) {
  std::ofstream file(to, std::ios::binary);
  file << from.rdbuf();
  STRATA_CHECK(file.good());
}

std::ifstream open_segment_file(const std::string& name) {
  std::ifstream file("/dev/shm/strata." + name, std::ios::binary);
  STRATA_CHECK(file.good());
  return file;
}

void fill(Segment& segment) {
  const std::span<std::byte> bytes = segment.writable_bytes().value();
  const std::string text = golden_text(bytes.size());
  std::memcpy(bytes.data(), text.data(), text.size());
}

void make_list_file(const std::string& folder) {
  const std::vector<std::byte> bytes = make_lists();
  std::ofstream file(folder + "/lists_v1.bin", std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  STRATA_CHECK(file.good());
}

// One in each state.
void make_segment_files(Catalog& catalog, const std::string& folder) {
  const auto file = [&](const char* state) { return folder + "/segment_" + state + "_v1.bin"; };
  {
    CreateOptions options;
    options.payload_bytes = kCreatedBytes;
    options.max_bytes = kGrownBytes;
    options.lifetime = Lifetime::job;
    options.job_id = "slurm-42";
    Segment segment = catalog.create("shm:golden-ready", options).value();
    STRATA_CHECK(segment.grow(kGrownBytes));
    fill(segment);
    keep_segment("golden-ready", file("ready"));
  }
  {
    CreateOptions options;
    options.payload_bytes = kCreatedBytes;
    options.publish = Publish::by_creator;
    Segment segment = catalog.create("shm:golden-initialising", options).value();
    fill(segment);
    keep_segment("golden-initialising", file("initialising"));
  }
  CreateOptions plain;
  plain.payload_bytes = kCreatedBytes;
  {
    Segment segment = catalog.create("shm:golden-sealed", plain).value();
    fill(segment);
    STRATA_CHECK(segment.seal());
    keep_segment("golden-sealed", file("sealed"));
  }
  {
    Segment segment = catalog.create("shm:golden-retired", plain).value();
    fill(segment);
    std::ifstream open = open_segment_file("golden-retired");
    STRATA_CHECK(catalog.remove("shm:golden-retired", {.even_if_attached = true}));
    keep(open, file("retired"));
  }
  for (const char* state : {"ready", "initialising", "sealed"})
    STRATA_CHECK(catalog.remove(std::string("shm:golden-") + state, {}));
}

void make_heap_file(Catalog& catalog, const std::string& folder) {
  make_heap(catalog, "shm:golden-heap", Ending::unfinished);
  keep_segment("golden-heap", folder + "/heap_segment_v2.bin");
  STRATA_CHECK(catalog.remove("shm:golden-heap", {}));
}

}  // namespace

void keep_segment(const std::string& name, const std::string& to) {
  std::ifstream file = open_segment_file(name);
  keep(file, to);
}

}  // namespace strata::inline v0_1::golden

int main(int argc, char** argv) {
  using namespace strata;
  using namespace strata::golden;
  RealOs os;
  Catalog catalog = make_catalog(os);
  const std::string what = argc > 2 ? argv[1] : "";
  if (what == "lists") {
    make_list_file(argv[2]);
  } else if (what == "segments") {
    make_segment_files(catalog, argv[2]);
  } else if (what == "sync") {
    make_sync_file(catalog, argv[2]);
  } else if (what == "heap") {
    make_heap_file(catalog, argv[2]);
  } else if (what == "heap-in" && argc == 4) {
    make_heap(catalog, argv[2],
              std::strcmp(argv[3], "closed") == 0 ? Ending::closed : Ending::unfinished);
  } else {
    std::fprintf(stderr,
                 "usage: make_golden lists|segments|sync|heap FOLDER\n"
                 "       make_golden heap-in URI closed|unfinished\n");
    return 2;
  }
  return 0;
}
