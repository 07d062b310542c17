// `strata gpu bench`: what sharing device memory costs here, in calls of the driver and in time.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "gpu/driver.h"
#include "gpu/driver_calls.h"
#include "gpu/fake_device.h"
#include "strata/base/bytes.h"
#include "tools/gpu/gpu_commands.h"
#include "tools/view/gpu_view.h"

namespace strata::inline v0_1::tools {
namespace {

struct Options {
  std::string device;
  std::uint64_t bytes = MiB(64);
  std::uint64_t rounds = 100;
};

// Another process with the segment that this one attaches. It is started before any driver is:
// forking is over then.
class Producer {
 public:
  static Result<Producer> start(const std::string& uri, const Options& options);
  Producer(Producer&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Producer& operator=(Producer&&) = delete;
  ~Producer() {
    if (pid_ <= 0) return;
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }

 private:
  explicit Producer(pid_t pid) : pid_(pid) {}
  pid_t pid_;
};

[[noreturn]] void become_producer(const std::string& uri, const Options& options, int out) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  dup2(out, STDOUT_FILENO);
  std::vector<std::string> words = {
      "strata",     "create",      uri,     "--size", std::to_string(options.bytes),
      "--lifetime", "last-detach", "--json"};
  if (!options.device.empty()) words.insert(words.end(), {"--device", options.device});
  std::vector<char*> argv;
  for (std::string& word : words)
    argv.push_back(word.data());
  argv.push_back(nullptr);
  execv("/proc/self/exe", argv.data());
  _exit(127);
}

Result<Producer> Producer::start(const std::string& uri, const Options& options) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return unexpected(status_from_errno(errno, "pipe"));
  const Fd out(ends[0]);
  Fd in(ends[1]);
  const pid_t pid = fork();
  if (pid < 0) return unexpected(status_from_errno(errno, "fork"));
  if (pid == 0) become_producer(uri, options, in.get());
  in = Fd();
  Producer producer(pid);
  char first = 0;
  // Its line says that the segment is there; an end without one, that there is none, and why stands
  // on standard error.
  if (read(out.get(), &first, 1) == 1) return producer;
  return fail(Code::failed_precondition, "bench: no segment could be made, see above");
}

struct Samples {
  std::string operation;
  std::vector<std::uint64_t> nanoseconds = {};
  std::vector<std::uint64_t> calls = {};
  std::uint64_t moved_bytes = 0;  // each time

  std::uint64_t quantile_ns(double share) const {
    std::vector<std::uint64_t> sorted = nanoseconds;
    std::sort(sorted.begin(), sorted.end());
    return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
  }
  std::uint64_t most_calls() const { return *std::max_element(calls.begin(), calls.end()); }
  std::uint64_t least_calls() const { return *std::min_element(calls.begin(), calls.end()); }

  template <typename Function>
  auto measure(Function&& function) {
    const std::uint64_t calls_before = cuda::driver_calls();
    const std::uint64_t started_ns = monotonic_ns();
    auto result = function();
    nanoseconds.push_back(monotonic_ns() - started_ns);
    calls.push_back(cuda::driver_calls() - calls_before);
    return result;
  }
};

Result<void> measure_new(Catalog& catalog, const std::string& uri, const Options& options,
                         std::vector<Samples>& all) {
  Samples create{.operation = "create, zero filled"};
  Samples end{.operation = "end"};
  const CreateOptions how{.payload_bytes = options.bytes,
                          .lifetime = Lifetime::last_detach,
                          .device = {.device = options.device}};
  for (std::uint64_t round = 0; round < options.rounds; ++round) {
    auto made = create.measure([&] { return catalog.create(uri, how); });
    if (!made) return unexpected(made.error());
    std::optional<Segment> segment = *std::move(made);
    end.measure([&] { return segment.reset(), 0; });
  }
  all.push_back(create);
  all.push_back(end);
  return {};
}

Result<void> measure_shared(Catalog& catalog, const std::string& uri, const Options& options,
                            std::vector<Samples>& all) {
  Samples attach{.operation = "attach"};
  Samples detach{.operation = "detach"};
  Samples write{.operation = "write", .moved_bytes = options.bytes};
  Samples read{.operation = "read", .moved_bytes = options.bytes};
  std::vector<std::byte> bytes(options.bytes);
  for (std::uint64_t round = 0; round < options.rounds; ++round) {
    auto attached = attach.measure([&] { return catalog.attach(uri); });
    if (!attached) return unexpected(attached.error());
    std::optional<Segment> segment = *std::move(attached);
    STRATA_TRY(write.measure([&] { return segment->write(0, bytes); }));
    STRATA_TRY(read.measure([&] { return segment->read(0, bytes); }));
    detach.measure([&] { return segment.reset(), 0; });
  }
  for (Samples* const each : {&attach, &write, &read, &detach})
    all.push_back(*each);
  return {};
}

void tell(Output& output, const cuda::Device& device, const Options& options,
          const std::vector<Samples>& all) {
  const bool fake = cuda::is_fake(device.uuid());
  Table table({{"OPERATION"},
               {"DRIVER CALLS", Align::right},
               {"P50", Align::right},
               {"P99", Align::right},
               {fake ? "" : "RATE", Align::right}});
  Json list = Json::array();
  for (const Samples& each : all) {
    const double p50_us = static_cast<double>(each.quantile_ns(0.5)) / 1000;
    const double p99_us = static_cast<double>(each.quantile_ns(0.99)) / 1000;
    const auto rate = static_cast<std::uint64_t>(static_cast<double>(each.moved_bytes) * 1e6 /
                                                 std::max(p50_us, 0.001));
    const bool has_rate = !fake && each.moved_bytes != 0;
    const std::string calls = each.least_calls() == each.most_calls()
                                  ? std::to_string(each.most_calls())
                                  : fmt::format("{} to {}", each.least_calls(), each.most_calls());
    table.add({each.operation, calls, fmt::format("{:.1f} µs", p50_us),
               fmt::format("{:.1f} µs", p99_us), has_rate ? format_bytes(rate) + "/s" : ""});
    list.push_back({{"operation", each.operation},
                    {"least_driver_calls", each.least_calls()},
                    {"most_driver_calls", each.most_calls()},
                    {"p50_us", p50_us},
                    {"p99_us", p99_us},
                    {"bytes_per_s", has_rate ? Json(rate) : Json()}});
  }
  output.json({{"device", device.name()},
               {"fake", fake},
               {"payload_bytes", options.bytes},
               {"rounds", options.rounds},
               {"operations", list}});
  output.line(fmt::format("{}, {} of payload, {} rounds", device.describe(),
                          format_bytes(options.bytes), options.rounds));
  output.print(table);
  if (fake) {
    output.line(
        Cell("FAKE driver: the calls are those of any driver; the times are of our own "
             "layers and of the fake, and no rate is shown",
             Tone::warning));
  }
}

Result<ExitCode> bench(Context& context, const Options& options) {
  if (options.rounds == 0) return fail(Code::invalid_argument, "--rounds: at least 1");
  // Before another process is started, which would find no driver either.
  STRATA_TRY(cuda::Driver::installed_version(cuda_backend(context).options().driver_library));
  const std::string uri = fmt::format("cuda:strata-bench-{}", context.os().process_id());
  std::vector<Samples> all;
  {
    STRATA_ASSIGN(const Producer producer, Producer::start(uri, options));
    STRATA_TRY(measure_shared(context.catalog(), uri, options, all));
  }
  STRATA_TRY(measure_new(context.catalog(), uri + ".new", options, all));
  STRATA_ASSIGN(const auto devices, cuda_backend(context).devices());
  STRATA_ASSIGN(const cuda::Device* const device, devices->find(options.device));
  tell(context.output(), *device, options, all);
  return ExitCode::done;
}

}  // namespace

void add_gpu_bench(Commands& gpu) {
  const auto options = std::make_shared<Options>();
  gpu.add({.name = "bench",
           .summary = "measure what sharing memory of a GPU costs",
           .description =
               "Calls of the driver, times and rates of each operation. On the FAKE driver "
               "of the tests no rates, since they would say nothing of a GPU. Needs a "
               "driver.",
           .examples = "strata gpu bench\n"
                       "strata gpu bench --size 1G --rounds 20 --json",
           .other_names = {"benchmark"}},
          [options](Context& context) { return bench(context, *options); })
      .option("--device", options->device, "this GPU; without it the first", "N|UUID")
      .size("--size", options->bytes, "of the segment (default 64M)")
      .option("--rounds", options->rounds, "how often each is done (default 100)", "N");
}

}  // namespace strata::inline v0_1::tools
