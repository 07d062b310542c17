// A child of a test that says in words what it found.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <exception>
#include <string>

#include "base/check.h"
#include "tests/child.h"

namespace strata::inline v0_1::test {

// The text that `body` returned in a forked child, and how the child ended where it did not end
// well: empty for a child with nothing to say.
template <typename Body>
std::string told_by_child(Body body) {
  int ends[2];
  STRATA_CHECK(pipe(ends) == 0);
  const pid_t child = start_child([&] {
    close(ends[0]);
    std::string text;
    try {
      text = body();
    } catch (const std::exception& thrown) {
      text = std::string("threw ") + thrown.what();
    }
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t count = write(ends[1], text.data() + done, text.size() - done);
      if (count <= 0) _exit(98);
      done += static_cast<std::size_t>(count);
    }
  });
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t count = 0; (count = read(ends[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(count));
  close(ends[0]);
  const int status = wait_for(child);
  if (WIFSIGNALED(status)) text += " (ended by signal " + std::to_string(WTERMSIG(status)) + ")";
  if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
    text += " (exited with " + std::to_string(WEXITSTATUS(status)) + ")";
  return text;
}

}  // namespace strata::inline v0_1::test
