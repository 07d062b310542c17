// Segments beside the raw calls and beside Python's SharedMemory: attach, create, commit, fault
// in, list. It changes no setting of the machine: where large pages are off it says so.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "bench/paired.h"
#include "numa/place.h"
#include "numa/sysfs.h"
#include "os/os.h"
#include "shm/shm_backend.h"
#include "strata/base/bytes.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

using namespace strata;

namespace {

constexpr std::uint64_t kCalls = 20;  // of what is too short to time alone
constexpr std::uint64_t kSmallBytes = MiB(64);
constexpr std::uint64_t kLargeBytes = GiB(1);

[[noreturn]] void give_up(const std::string& why) {
  fmt::print(stderr, "segment_bench: {}\n", why);
  std::exit(1);
}

template <typename T>
T must(Result<T> result) {
  if (!result) give_up(result.error().to_string());
  return *std::move(result);
}

void must(int rc, const char* call) {
  if (rc < 0) give_up(std::string(call) + " failed");
}

// A folder of our own in /dev/shm, so that segments of others do not count.
class Scratch {
 public:
  Scratch() : path_(fmt::format("/dev/shm/strata-bench-{}", getpid())) {
    must(mkdir(path_.c_str(), 0700), "mkdir");
  }
  ~Scratch() { (void)rmdir(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A raw object, mapped at a multiple of 2 MiB.
class RawMap {
 public:
  RawMap(int fd, std::uint64_t bytes) : bytes_(bytes) {
    reserved_ = static_cast<std::byte*>(mmap(nullptr, bytes + MiB(2), PROT_NONE,
                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    data_ =
        reinterpret_cast<std::byte*>(align_up(reinterpret_cast<std::uintptr_t>(reserved_), MiB(2)));
    if (mmap(data_, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
      give_up("mmap failed");
    }
  }
  ~RawMap() { munmap(reserved_, bytes_ + MiB(2)); }
  std::byte* data() const { return data_; }
  std::span<std::byte> span() const { return {data_, bytes_}; }

 private:
  std::uint64_t bytes_;
  std::byte* reserved_;
  std::byte* data_;
};

Fd new_memfd(std::uint64_t bytes) {
  Fd fd(memfd_create("strata-bench", MFD_CLOEXEC));
  must(ftruncate(fd.get(), static_cast<off_t>(bytes)), "ftruncate");
  return fd;
}

void write_pages(std::byte* data, std::uint64_t bytes) {
  for (std::uint64_t at = 0; at < bytes; at += kPageBytes)
    *reinterpret_cast<volatile std::byte*>(data + at) = std::byte{1};
}

template <typename Body>
void in_threads(std::byte* data, std::uint64_t bytes, unsigned threads, const Body& body) {
  std::vector<std::thread> others;
  const std::uint64_t share = bytes / threads;
  for (unsigned i = 1; i < threads; ++i)
    others.emplace_back([=] { body(data + i * share, share); });
  body(data, share);
  for (std::thread& each : others)
    each.join();
}

void populate_raw(std::byte* data, std::uint64_t bytes) {
  must(madvise(data, bytes, MADV_POPULATE_WRITE), "MADV_POPULATE_WRITE");
}

// The best raw way that we know to 2 MiB pages where the first touch does not give them.
void collapse_raw(std::byte* data, std::uint64_t bytes) {
  for (std::uint64_t at = 0; at < bytes; at += MiB(2))
    *reinterpret_cast<volatile std::byte*>(data + at) = std::byte{0};
  must(madvise(data, bytes, MADV_COLLAPSE), "MADV_COLLAPSE");
}

bool can_collapse() {
  const Fd fd = new_memfd(MiB(2));
  const RawMap map(fd.get(), MiB(2));
  *map.data() = std::byte{1};
  return madvise(map.data(), MiB(2), MADV_COLLAPSE) == 0;
}

CreateOptions sparse(std::uint64_t bytes) {
  CreateOptions options;
  options.payload_bytes = bytes;
  options.commit = Commit::sparse;
  return options;
}

double raw_attach_ns(const char* name, bool reads) {
  std::vector<std::pair<int, void*>> open_ones;
  open_ones.reserve(kCalls);
  const double each_ns = timed_ns_each(kCalls, [&] {
    const int fd = shm_open(name, O_RDWR, 0);
    void* data = mmap(nullptr, kSmallBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) give_up("raw attach failed");
    if (reads) keep(*static_cast<volatile char*>(data));
    open_ones.emplace_back(fd, data);
  });
  for (const auto& [fd, data] : open_ones) {
    munmap(data, kSmallBytes);
    close(fd);
  }
  return each_ns;
}

double our_attach_ns(Backend& backend, const SegmentUri& uri, bool reads) {
  std::vector<Segment> open_ones;
  open_ones.reserve(kCalls);
  return timed_ns_each(kCalls, [&] {
    Segment segment = must(backend.attach(uri, {}));
    if (reads) keep(static_cast<char>(segment.host_bytes().value()[0]));
    open_ones.push_back(std::move(segment));
  });
}

// Python times itself: starting the interpreter is no part of it.
double python_attach_ns() {
  constexpr const char* kProgram =
      "from multiprocessing.shared_memory import SharedMemory as S\n"
      "import time\n"
      "s = S(create=True, size=64 << 20)\n"
      "n = 20\n"
      "kept = []\n"
      "S(name=s.name).close()\n"
      "t = time.perf_counter_ns()\n"
      "for _ in range(n): kept.append(S(name=s.name))\n"
      "print((time.perf_counter_ns() - t) / n)\n"
      "for k in kept: k.close()\n"
      "s.close(); s.unlink()\n";
  const std::string command = "python3 -c '" + std::string(kProgram) + "' 2>/dev/null";
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) give_up("popen failed");
  double ns = 0;
  if (std::fscanf(pipe, "%lf", &ns) != 1) ns = 0;
  pclose(pipe);
  return ns;
}

void bench_attach(PairedBench& bench, Backend& backend) {
  const SegmentUri uri{"shm", {}, "attach"};
  const Segment kept = must(backend.create(uri, sparse(kSmallBytes)));
  const std::string raw_name = fmt::format("/strata-bench-raw-{}", getpid());
  {
    const Fd fd(shm_open(raw_name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600));
    must(ftruncate(fd.get(), kSmallBytes), "ftruncate");
  }
  for (const bool reads : {false, true}) {
    bench.compare(
        {.name = reads ? "attach 64 MiB by name and read its first byte"
                       : "attach 64 MiB by name, all checks",
         .ours = "strata",
         .peer = "shm_open",
         .goal = at_most(3.0)},
        [&] { return our_attach_ns(backend, uri, reads); },
        [&] { return raw_attach_ns(raw_name.c_str(), reads); });
  }
  shm_unlink(raw_name.c_str());
  const std::string beside_python = "attach 64 MiB by name, beside Python";
  if (bench.wants(beside_python) && python_attach_ns() == 0) {
    bench.note("no python3 with multiprocessing.shared_memory: left out");
  } else {
    bench.compare(
        {.name = beside_python, .ours = "strata", .peer = "Python", .goal = at_most(1.0)},
        [&] { return our_attach_ns(backend, uri, false); }, python_attach_ns);
  }
  (void)backend.remove(uri, {.even_if_attached = true});
}

void bench_create(PairedBench& bench, Backend& backend) {
  const auto names = [](const char* form) {
    std::vector<std::string> made;
    for (std::uint64_t i = 0; i < kCalls; ++i)
      made.push_back(fmt::format(fmt::runtime(form), getpid(), i));
    return made;
  };
  const std::vector<std::string> raw_names = names("/strata-bench-{}-{}");
  const std::vector<std::string> our_names = names("create-{}-{}");
  bench.compare(
      {.name = "create 64 MiB by name, untouched",
       .ours = "strata",
       .peer = "shm_open",
       .goal = at_most(1.5)},
      [&] {
        std::vector<Segment> made;
        made.reserve(kCalls);
        std::size_t i = 0;
        const double each_ns = timed_ns_each(kCalls, [&] {
          made.push_back(must(backend.create({"shm", {}, our_names[i++]}, sparse(kSmallBytes))));
        });
        made.clear();
        for (const std::string& name : our_names)
          (void)backend.remove({"shm", {}, name}, {});
        return each_ns;
      },
      [&] {
        std::vector<std::pair<int, void*>> made;
        made.reserve(kCalls);
        std::size_t i = 0;
        const double each_ns = timed_ns_each(kCalls, [&] {
          const int fd = shm_open(raw_names[i++].c_str(), O_CREAT | O_EXCL | O_RDWR, 0600);
          must(ftruncate(fd, kSmallBytes), "ftruncate");
          made.emplace_back(fd,
                            mmap(nullptr, kSmallBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
        });
        for (const auto& [fd, data] : made) {
          munmap(data, kSmallBytes);
          close(fd);
        }
        for (const std::string& name : raw_names)
          shm_unlink(name.c_str());
        return each_ns;
      });
  bench.compare(
      {.name = "create 64 MiB without a name, untouched",
       .ours = "strata",
       .peer = "memfd",
       .goal = at_most(2.0)},
      [&] {
        std::vector<Segment> made;
        made.reserve(kCalls);
        return timed_ns_each(
            kCalls, [&] { made.push_back(must(backend.create_anonymous(sparse(kSmallBytes)))); });
      },
      [&] {
        std::vector<std::pair<int, void*>> made;
        made.reserve(kCalls);
        const double each_ns = timed_ns_each(kCalls, [&] {
          const int fd = memfd_create("strata-bench", MFD_CLOEXEC);
          must(ftruncate(fd, kSmallBytes), "ftruncate");
          made.emplace_back(fd,
                            mmap(nullptr, kSmallBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
        });
        for (const auto& [fd, data] : made) {
          munmap(data, kSmallBytes);
          close(fd);
        }
        return each_ns;
      });
}

// The commit alone, on fresh memfds; what makes and frees them is not timed.
template <typename Body>
double on_fresh_memory(const Body& body) {
  const Fd fd = new_memfd(kLargeBytes);
  const RawMap map(fd.get(), kLargeBytes);
  return timed_ns([&] { body(fd.get(), map); });
}

void bench_commit(PairedBench& bench, Os& os, Backend& backend, bool has_huge_pages) {
  for (const PageSize page_size : {PageSize::base, PageSize::thp}) {
    const bool is_huge = page_size == PageSize::thp;
    if (is_huge && !has_huge_pages) continue;
    for (const unsigned threads : {1u, 2u}) {
      bench.compare(
          {.name = fmt::format("commit 1 GiB in {} pages, {} thread{}, placed and reported",
                               is_huge ? "2M" : "4K", threads, threads == 1 ? "" : "s"),
           .ours = "strata",
           .peer = is_huge ? "collapse" : "populate",
           .goal = faster_by(0.9),
           .bytes = kLargeBytes},
          [&] {
            return on_fresh_memory([&](int fd, const RawMap& map) {
              (void)must(place(os, map.span(), local_plan(kLargeBytes, page_size),
                               {.fd = fd, .threads = threads}));
            });
          },
          [&] {
            return on_fresh_memory([&](int, const RawMap& map) {
              in_threads(map.data(), kLargeBytes, threads, is_huge ? collapse_raw : populate_raw);
            });
          });
    }
    CreateOptions options;
    options.payload_bytes = kLargeBytes;
    options.page_size = page_size;
    for (const unsigned threads : {1u, 2u}) {
      bench.compare(
          {.name = fmt::format("create 1 GiB committed in {} pages, beside plain first "
                               "touch from {} thread{}",
                               is_huge ? "2M" : "4K", threads, threads == 1 ? "" : "s"),
           .ours = "strata",
           .peer = "touch",
           .goal = is_huge && threads == 1 ? faster_by(5) : no_goal(),
           .bytes = kLargeBytes},
          [&] {
            std::optional<Segment> made;
            return timed_ns([&] { made = must(backend.create_anonymous(options)); });
          },
          [&] {
            return on_fresh_memory([&](int, const RawMap& map) {
              in_threads(map.data(), kLargeBytes, threads, write_pages);
            });
          });
    }
  }
}

void bench_fault_in(PairedBench& bench, Backend& backend, bool has_huge_pages) {
  Fd raw;
  for (const PageSize page_size : {PageSize::base, PageSize::thp}) {
    const bool is_huge = page_size == PageSize::thp;
    if (is_huge && !has_huge_pages) continue;
    const SegmentUri uri{"shm", {}, is_huge ? "fault-2m" : "fault-4k"};
    const std::string name =
        fmt::format("attach 1 GiB in {} pages and write every page", is_huge ? "2M" : "4K");
    if (!bench.wants(name)) continue;
    if (!raw) {
      raw = new_memfd(kLargeBytes);
      const RawMap map(raw.get(), kLargeBytes);
      populate_raw(map.data(), kLargeBytes);
    }
    CreateOptions options;
    options.payload_bytes = kLargeBytes;
    options.page_size = page_size;
    const Segment kept = must(backend.create(uri, options));
    bench.compare(
        {.name = name,
         .ours = "strata",
         .peer = "mmap, 4K",
         .goal = faster_by(is_huge ? 20 : 3),
         .bytes = kLargeBytes},
        [&] {
          std::optional<Segment> segment;
          return timed_ns([&] {
            segment = must(backend.attach(uri, {.populate = true}));
            write_pages(segment->writable_bytes().value().data(), kLargeBytes);
          });
        },
        [&] {
          void* data = nullptr;
          const double ns = timed_ns([&] {
            data = mmap(nullptr, kLargeBytes, PROT_READ | PROT_WRITE, MAP_SHARED, raw.get(), 0);
            write_pages(static_cast<std::byte*>(data), kLargeBytes);
          });
          munmap(data, kLargeBytes);
          return ns;
        });
    (void)backend.remove(uri, {.even_if_attached = true});
  }
}

void bench_list(PairedBench& bench, Backend& backend, const std::string& directory) {
  constexpr std::uint64_t kSegments = 1000;
  const std::string name = "ls of 1,000 segments";
  if (!bench.wants(name)) return;
  for (std::uint64_t i = 0; i < kSegments; ++i)
    (void)must(backend.create({"shm", {}, fmt::format("list-{:04}", i)}, sparse(MiB(1))));
  RealOs os;
  const auto result = bench.compare(
      {.name = name, .ours = "strata", .peer = "open+read", .operations = kSegments},
      [&] {
        return timed_ns([&] {
          if (must(backend.list({})).size() != kSegments) give_up("list is incomplete");
        });
      },
      [&] {
        return timed_ns([&] {
          for (const std::string& file : must(os.list_directory(directory))) {
            const Fd fd(open((directory + "/" + file).c_str(), O_RDONLY | O_CLOEXEC));
            char header[kPageBytes];
            keep(pread(fd.get(), header, sizeof header, 0));
          }
        });
      });
  for (std::uint64_t i = 0; i < kSegments; ++i)
    (void)backend.remove({"shm", {}, fmt::format("list-{:04}", i)}, {});
  if (result) {
    bench.note(fmt::format("ls of 1,000 segments takes {:.1f} ms; goal <= 50 ms {}",
                           result->ours_ns / 1e6, result->ours_ns <= 50e6 ? "met" : "MISSED"));
  }
}

}  // namespace

int main(int argc, char** argv) {
  PairedBench bench(argc, argv);
  RealOs os;
  const Scratch scratch;
  ShmOptions options;
  options.directory = scratch.path();
  ShmBackend backend(os, options);
  const bool has_huge_pages = can_collapse();
  bench.note(fmt::format(
      "2 MiB pages for shared memory: {}, by MADV_COLLAPSE {}",
      chosen_word(read_trimmed(os, "/sys/kernel/mm/transparent_hugepage/shmem_enabled")),
      has_huge_pages ? "possible" : "refused"));
  bench_attach(bench, backend);
  bench_create(bench, backend);
  bench_list(bench, backend, scratch.path());
  bench_commit(bench, os, backend, has_huge_pages);
  bench_fault_in(bench, backend, has_huge_pages);
  return bench.finish();
}
