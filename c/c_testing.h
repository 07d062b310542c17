/* What the C programs of c_test.py share. Each is a list of cases; run with a name it runs that
 * one, with --list it names them all. A failed claim ends the process with its place.
 *
 *     static void a_claim(void) { ... MUST(strata_segment_publish(segment)); ... }
 *     int main(int argc, char** argv) { static const test_case cases[] = {CASE(a_claim)}; ... }
 */
#ifndef STRATA_C_TESTING_H_
#define STRATA_C_TESTING_H_

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "strata/c.h"

typedef struct test_case {
  const char* name;
  void (*run)(void);
} test_case;
#define CASE(function) \
  { #function, function }
#define CASE_COUNT(cases) (sizeof(cases) / sizeof((cases)[0]))

#define CHECK(condition)                                                                      \
  do {                                                                                        \
    if (!(condition)) {                                                                       \
      fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", __FILE__, __LINE__, #condition, \
              strata_error_message());                                                        \
      exit(1);                                                                                \
    }                                                                                         \
  } while (0)

/* The call succeeds. */
#define MUST(call)                                                      \
  do {                                                                  \
    const int must_code = (call);                                       \
    if (must_code != STRATA_OK) {                                       \
      fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call, \
              strata_code_name(must_code), strata_error_message());     \
      exit(1);                                                          \
    }                                                                   \
  } while (0)

/* The call fails with that code, says so in words that contain `words`, and is the last error. */
#define FAILS(call, code, words)                                                                   \
  do {                                                                                             \
    const int fails_code = (call);                                                                 \
    if (fails_code != (code) || strata_error_code() != (code) ||                                   \
        strstr(strata_error_message(), (words)) == NULL) {                                         \
      fprintf(stderr, "%s:%d: %s gave %s (\"%s\"), not %s with \"%s\"\n", __FILE__, __LINE__,      \
              #call, strata_code_name(fails_code), strata_error_message(), strata_code_name(code), \
              (words));                                                                            \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

/* A name of this process. */
static inline const char* test_uri(const char* scheme_and_name) {
  static char uri[256];
  snprintf(uri, sizeof uri, "%s-%d", scheme_and_name, (int)getpid());
  return uri;
}

static inline strata_catalog* open_test_catalog(void) {
  strata_catalog* catalog = NULL;
  MUST(strata_catalog_open(NULL, &catalog));
  return catalog;
}

/* Of so many bytes; gone with this process, however it ends. */
static inline strata_segment* make_test_segment(strata_catalog* catalog, const char* uri,
                                                uint64_t bytes) {
  strata_create_options options = {
      .size = sizeof options, .payload_bytes = bytes, .lifetime = STRATA_LIFETIME_PROCESS};
  strata_segment* segment = NULL;
  MUST(strata_catalog_create(catalog, uri, &options, &segment));
  return segment;
}

/* A child that runs `body(with)` and exits with 0, unless a claim of it fails. */
static inline pid_t start_child(void (*body)(void* with), void* with) {
  pid_t child;
  fflush(NULL);
  child = fork();
  CHECK(child >= 0);
  if (child != 0) return child;
  alarm(300); /* where the test has left it behind */
  body(with);
  fflush(NULL);
  _exit(0);
}

static inline void must_end_well(pid_t child) {
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static inline void must_be_killed(pid_t child) {
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Long enough for any machine; a wait that is meant to end does so much earlier. */
#define SOON_MS 120000u

static inline int run_cases(int argc, char** argv, const test_case* cases, size_t count) {
  size_t i;
  if (argc != 2) {
    fprintf(stderr, "usage: %s CASE | --list\n", argv[0]);
    return 2;
  }
  for (i = 0; i < count; ++i) {
    if (strcmp(argv[1], "--list") == 0) {
      printf("%s\n", cases[i].name);
    } else if (strcmp(argv[1], cases[i].name) == 0) {
      cases[i].run();
      return 0;
    }
  }
  return strcmp(argv[1], "--list") == 0 ? 0 : 2;
}

#endif /* STRATA_C_TESTING_H_ */
