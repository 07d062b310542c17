#include "tools/segment/segment_commands.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
namespace {

struct Options {
  std::vector<std::string> uris;
  bool is_forced = false;
};

Result<ExitCode> rm(Context& context, const Options& options) {
  Json removed = Json::array();
  std::optional<Status> failure;
  for (const std::string& uri : options.uris) {
    if (auto done = context.catalog().remove(uri, {.even_if_attached = options.is_forced})) {
      removed.push_back(uri);
      context.output().line("removed " + uri);
    } else {
      if (failure) context.output().error(*failure);
      failure = done.error();
    }
  }
  context.output().json({{"removed", removed}});
  // Like rm(1): the others are removed all the same, and the status tells of the last failure.
  if (failure) return unexpected(*failure);
  return ExitCode::done;
}

}  // namespace

void add_rm(Commands& commands) {
  const auto options = std::make_shared<Options>();
  commands
      .add({.name = "rm",
            .summary = "remove segments",
            .description =
                "Refused (exit status 4) while somebody is attached, and says who. With "
                "--force the name is gone at once, and those who are attached keep their "
                "memory until they let go. Refused too where the file is another user's, or "
                "a second name or a copy of another segment; nothing has changed then.\n\n"
                "Of several segments those that can be removed are. For those that nobody "
                "will ever remove see `strata gc`.",
            .examples = "strata rm shm:mesh\n"
                        "strata rm shm:a shm:b\n"
                        "strata rm --force shm:mesh    # users keep their memory, the name is gone",
            .other_names = {"remove", "delete", "del", "unlink", "free"}},
           [options](Context& context) { return rm(context, *options); })
      .word("URI", options->uris, "the segments")
      .flag("--force", options->is_forced, "although processes are attached");
}

}  // namespace strata::inline v0_1::tools
