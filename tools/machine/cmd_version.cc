#include <fmt/format.h>

#include "gpu/driver.h"
#include "gpu/export_block.h"
#include "gpu/peer_protocol.h"
#include "heap/layout.h"
#include "numa/hwloc_version.h"
#include "pmem/backup_format.h"
#include "pmem/pmdk_version.h"
#include "pmem/pool_format.h"
#include "segment/handle_version.h"
#include "strata/heap/list.h"
#include "strata/segment/header.h"
#include "strata/sync/ring_layout.h"
#include "strata/version.h"
#include "tools/machine/machine_commands.h"
#include "tools/view/gpu_view.h"
#include "transaction/transaction_format.h"

namespace strata::inline v0_1::tools {
namespace {

struct Format {
  const char* key;
  const char* title;
  std::string version;
};

std::string dotted(unsigned major, unsigned minor) { return fmt::format("{}.{}", major, minor); }

// Everything that other processes, other machines or a later Strata may read: docs/format.
std::vector<Format> formats() {
  return {
      {"header", "header page", dotted(kHeaderVersionMajor, kHeaderVersionMinor)},
      {"handle", "handle", std::to_string(kHandleVersion)},
      {"heap", "heap", dotted(heap_layout::kHeapVersionMajor, heap_layout::kHeapVersionMinor)},
      {"list", "immutable list", std::to_string(kListVersion)},
      {"ring", "ring", std::to_string(kRingVersion)},
      {"transaction_log", "transaction log", std::to_string(kLogVersion)},
      {"pool_directory", "pool directory", dotted(kDirectoryVersionMajor, kDirectoryVersionMinor)},
      {"pool_backup", "pool backup", dotted(kBackupVersionMajor, kBackupVersionMinor)},
      {"libpmemobj_pool", "libpmemobj pool", std::to_string(kObjMajorVersion)},
      {"device_export", "device export block", std::to_string(kExportVersion)},
      {"device_peers", "device peers", std::to_string(cuda::kPeerVersion)}};
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

std::string build_mode() {
#if defined(__OPTIMIZE__)
  std::string mode = "optimised";
#else
  std::string mode = "debug";
#endif
#if !defined(NDEBUG)
  mode += ", with assertions";
#endif
#if defined(__SANITIZE_ADDRESS__)
  mode += ", with AddressSanitizer";
#endif
#if defined(__SANITIZE_THREAD__)
  mode += ", with ThreadSanitizer";
#endif
  return mode;
}

std::string kernel_release(Os& os) {
  const auto text = os.read_file("/proc/sys/kernel/osrelease");
  return text ? text->substr(0, text->find('\n')) : std::string();
}

std::string release_text(const LibraryVersion& library) {
  std::string text = library.running.empty() ? library.built : library.running;
  if (!library.running.empty() && library.running != library.built)
    text += fmt::format(", built with {}", library.built);
  const std::string file = library.file.substr(library.file.rfind('/') + 1);
  if (!file.empty()) text += text.empty() ? file : " (" + file + ")";
  return text.empty() ? "linked in" : text;
}

Json to_json(const LibraryVersion& library) {
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? Json() : Json(text);
  };
  return {{"built", text_or_null(library.built)},
          {"running", text_or_null(library.running)},
          {"file", text_or_null(library.file)}};
}

std::vector<LibraryVersion> libraries() {
  std::vector<LibraryVersion> found = pmdk_versions();
  found.push_back(hwloc_version());
  return found;
}

Result<ExitCode> show(Context& context) {
  const std::vector<LibraryVersion> linked = libraries();
  const std::string kernel = kernel_release(context.os());
  const Result<int> driver =
      cuda::Driver::installed_version(cuda_backend(context).options().driver_library);

  Json format_json = Json::object();
  for (const Format& each : formats())
    format_json[each.key] = each.version;
  Json library_json = Json::object();
  for (const LibraryVersion& each : linked)
    library_json[each.name] = to_json(each);
  Output& output = context.output();
  output.json({{"version", STRATA_VERSION_STRING},
               {"compiler", compiler()},
               {"build_mode", build_mode()},
               {"kernel", kernel},
               {"cuda_driver", driver ? Json(cuda_version_text(*driver)) : Json()},
               {"libraries", library_json},
               {"formats", format_json}});

  Facts facts;
  facts.add("strata", Cell(STRATA_VERSION_STRING, Tone::strong));
  facts.add("built", compiler() + ", " + build_mode());
  facts.heading("runs with");
  facts.add("Linux", kernel);
  for (const LibraryVersion& each : linked)
    facts.add(each.name, release_text(each));
  facts.add("CUDA driver", driver ? Cell(cuda_version_text(*driver)) : Cell("none", Tone::dim));
  facts.heading("formats");
  for (const Format& each : formats())
    facts.add(each.title, each.version);
  output.print(facts);
  return ExitCode::done;
}

}  // namespace

void add_version(Commands& commands) {
  commands.add(
      {.name = "version",
       .summary = "show which Strata this is, and what it runs with",
       .description =
           "The versions of Strata, of what it is built on, and of each format that others may "
           "read: put it into a report of a fault. The driver of a GPU is asked for its version, "
           "and not started. `strata --version` says the first in one line.",
       .examples = "strata version\nstrata version --json\nstrata --version"},
      show);
}

}  // namespace strata::inline v0_1::tools
