// `strata gpu hold`: keeps device memory while nobody is attached. It makes no call of the driver.
#include <fmt/format.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "gpu/holder.h"
#include "strata/base/bytes.h"
#include "tools/gpu/gpu_commands.h"
#include "tools/view/gpu_view.h"

namespace strata::inline v0_1::tools {
namespace {

using cuda::SegmentHolder;

// Readable once SIGINT or SIGTERM has come; both are kept back from here on, in the threads that
// are started later too. SIGHUP is left as it is: who starts a holder for good has it ignored.
Result<Fd> stop_signal() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) return unexpected(status_from_errno(errno, "signalfd"));
  return Fd(fd);
}

Json to_json(const std::vector<std::unique_ptr<SegmentHolder>>& holders) {
  Json list = Json::array();
  for (const auto& holder : holders) {
    list.push_back({{"uri", holder->uri().to_string()},
                    {"allocation_bytes", holder->bytes()},
                    {"note", holder->note()}});
  }
  return {{"held", list}};
}

// Whoever starts a holder reads its first line and no more: nothing may be printed after it.
void tell(Output& output, const std::vector<std::unique_ptr<SegmentHolder>>& holders) {
  output.json(to_json(holders));
  for (const auto& holder : holders) {
    output.line(fmt::format("holding {}: {}{}{}", holder->uri().to_string(),
                            format_bytes(holder->bytes()), holder->note().empty() ? "" : "; ",
                            holder->note()));
  }
  std::fflush(stdout);
}

Result<ExitCode> hold(Context& context, const std::vector<std::string>& uris) {
  const CudaOptions& own = cuda_backend(context).options();
  STRATA_ASSIGN(const Fd stop, stop_signal());
  cuda::DescriptorServer server(context.os(), own.directory);
  std::vector<std::unique_ptr<SegmentHolder>> holders;
  for (const std::string& text : uris) {
    STRATA_ASSIGN(const SegmentUri uri, device_uri(text));
    auto held = SegmentHolder::hold(
        context.os(), server,
        {.directory = own.directory, .device_directory = own.device_directory}, uri);
    if (!held) return unexpected(held.error());
    holders.push_back(*std::move(held));
  }
  tell(context.output(), holders);
  STRATA_TRY(cuda::keep_until_over(context.os(), holders, stop.get()));
  return ExitCode::done;
}

}  // namespace

void add_gpu_hold(Commands& gpu) {
  const auto uris = std::make_shared<std::vector<std::string>>();
  gpu.add({.name = "hold",
           .summary = "keep the memory of device segments while nobody is attached",
           .description =
               "Until they are removed, or until Ctrl-C. Memory of a GPU is gone with the "
               "last process that has it; a segment that was made to stay has such a "
               "holder already. Needs no driver and makes no call of one.",
           .examples = "strata gpu hold cuda:weights\n"
                       "strata gpu hold cuda:weights cuda:mesh",
           .other_names = {"keep"}},
          [uris](Context& context) { return hold(context, *uris); })
      .word("URI", *uris, "the segments");
}

}  // namespace strata::inline v0_1::tools
