/* Segments through <strata/c.h>. */
#define _GNU_SOURCE
#include <sys/socket.h>

#include "c/c_testing.h"

static void attach_and_answer(void* uri) {
  strata_catalog* catalog = open_test_catalog();
  strata_segment* segment = NULL;
  void* bytes = NULL;
  uint64_t count = 0;
  MUST(strata_catalog_attach(catalog, uri, NULL, &segment));
  MUST(strata_segment_writable_bytes(segment, &bytes, &count));
  CHECK(count == 65536 && strcmp(bytes, "hello") == 0);
  strcpy((char*)bytes + 100, "world");
  strata_segment_close(segment);
  strata_catalog_close(catalog);
}

static void what_one_process_writes_another_reads_and_answers(void) {
  const char* uri = test_uri("shm:c-segment");
  strata_catalog* catalog = open_test_catalog();
  strata_segment* segment = make_test_segment(catalog, uri, 65536);
  const void* bytes = NULL;
  char copied[6] = {0};
  CHECK(strcmp(strata_segment_uri(segment), uri) == 0);
  MUST(strata_segment_write(segment, 0, "hello", 6));
  must_end_well(start_child(attach_and_answer, (void*)(size_t)uri));
  MUST(strata_segment_read(segment, 100, copied, 6));
  CHECK(strcmp(copied, "world") == 0);
  MUST(strata_segment_bytes(segment, &bytes, NULL));
  CHECK(strcmp((const char*)bytes + 100, "world") == 0);
  FAILS(strata_segment_read(segment, 65530, copied, 7), STRATA_INVALID_ARGUMENT, "65536");
  FAILS(strata_segment_write(segment, ~(uint64_t)0, "x", 1), STRATA_INVALID_ARGUMENT, "65536");
  MUST(strata_segment_settle(segment));
  strata_segment_close(segment);
  strata_catalog_close(catalog);
}

static void errors_carry_code_words_and_errno_and_success_leaves_them(void) {
  strata_catalog* catalog = open_test_catalog();
  strata_segment* segment = NULL;
  CHECK(strata_error_code() == STRATA_OK && strata_error_message()[0] == '\0');
  FAILS(strata_catalog_attach(catalog, "shm:c-is-nowhere", NULL, &segment), STRATA_NOT_FOUND,
        "shm:c-is-nowhere");
  CHECK(segment == NULL);
  strata_segment_close(make_test_segment(catalog, test_uri("shm:c-errors"), 4096));
  CHECK(strata_error_code() == STRATA_NOT_FOUND);
  CHECK(strstr(strata_error_message(), "shm:c-is-nowhere") != NULL);
  FAILS(strata_catalog_attach(catalog, "nosuch:thing", NULL, &segment), STRATA_UNSUPPORTED,
        "nosuch");
  CHECK(strata_error_errno() == 0 && strata_error_driver_result() == 0);
  CHECK(strcmp(strata_code_name(STRATA_NOT_FOUND), "not_found") == 0);
  CHECK(strcmp(strata_code_name(STRATA_OK), "ok") == 0);
  CHECK(strcmp(strata_code_name(STRATA_WRONG_DEVICE), "wrong_device") == 0);
  CHECK(strcmp(strata_code_name(15), "unknown") == 0 &&
        strcmp(strata_code_name(-1), "unknown") == 0);
  CHECK(strata_c_api_version() == STRATA_C_API_VERSION);
  CHECK(strata_version()[0] >= '0' && strata_version()[0] <= '9');
  strata_catalog_close(catalog);
}

static void a_segment_is_filled_published_sealed_and_verified(void) {
  const char* uri = test_uri("shm:c-sealed");
  strata_catalog* catalog = open_test_catalog();
  strata_create_options options = {.size = sizeof options,
                                   .payload_bytes = 8192,
                                   .lifetime = STRATA_LIFETIME_PROCESS,
                                   .publish = STRATA_PUBLISH_BY_CREATOR};
  strata_attach_options at_once = {.size = sizeof at_once, .timeout_ms = -1};
  strata_attach_options reading = {.size = sizeof reading, .access = STRATA_READ_ONLY};
  strata_segment_info info = {.size = sizeof info};
  strata_segment *segment = NULL, *reader = NULL;
  void* bytes = NULL;
  MUST(strata_catalog_create(catalog, uri, &options, &segment));
  FAILS(strata_catalog_attach(catalog, uri, &at_once, &reader), STRATA_NOT_READY, uri);
  MUST(strata_segment_write(segment, 0, "final", 6));
  MUST(strata_segment_get_info(segment, &info));
  CHECK(info.state == STRATA_STATE_INITIALISING && info.kind == STRATA_KIND_SHM);
  MUST(strata_segment_publish(segment));
  FAILS(strata_segment_verify(segment), STRATA_FAILED_PRECONDITION, "");
  MUST(strata_segment_seal(segment, SOON_MS));
  MUST(strata_segment_get_info(segment, &info));
  CHECK(info.state == STRATA_STATE_SEALED && info.payload_bytes == 8192);
  CHECK(info.lifetime == STRATA_LIFETIME_PROCESS && info.page_bytes == 4096);
  MUST(strata_segment_verify(segment));
  FAILS(strata_segment_writable_bytes(segment, &bytes, NULL), STRATA_FAILED_PRECONDITION, "");
  MUST(strata_catalog_attach(catalog, uri, &reading, &reader));
  MUST(strata_segment_verify(reader));
  strata_segment_close(reader);
  strata_segment_close(segment);
  strata_catalog_close(catalog);
}

static void growth_is_seen_after_a_refresh_and_addresses_stay(void) {
  const char* uri = test_uri("shm:c-grown");
  strata_catalog* catalog = open_test_catalog();
  strata_create_options options = {.size = sizeof options,
                                   .payload_bytes = 4096,
                                   .max_bytes = 1 << 20,
                                   .lifetime = STRATA_LIFETIME_PROCESS};
  strata_segment *first = NULL, *second = NULL;
  const void *before = NULL, *after = NULL;
  uint64_t bytes = 0;
  MUST(strata_catalog_create(catalog, uri, &options, &first));
  MUST(strata_catalog_attach(catalog, uri, NULL, &second));
  MUST(strata_segment_bytes(second, &before, &bytes));
  MUST(strata_segment_grow(first, 65536, SOON_MS));
  MUST(strata_segment_write(first, 65000, "far", 4));
  MUST(strata_segment_refresh(second, &bytes));
  CHECK(bytes == 65536);
  MUST(strata_segment_bytes(second, &after, &bytes));
  CHECK(before == after && bytes == 65536 && strcmp((const char*)after + 65000, "far") == 0);
  FAILS(strata_segment_grow(first, 2 << 20, SOON_MS), STRATA_INVALID_ARGUMENT, "");
  strata_segment_close(first);
  strata_segment_close(second);
  strata_catalog_close(catalog);
}

static void what_a_payload_is_goes_with_its_name(void) {
  const char* uri = test_uri("shm:c-array");
  strata_catalog* catalog = open_test_catalog();
  strata_content array = {
      .size = sizeof array, .element = "<f8", .dimensions = 2, .shape = {100, 3}};
  strata_create_options options = {.size = sizeof options,
                                   .max_bytes = 4800,
                                   .lifetime = STRATA_LIFETIME_PROCESS,
                                   .content = &array};
  strata_content told = {.size = sizeof told};
  strata_segment *made = NULL, *other = NULL, *plain = NULL;
  uint64_t bytes = 0;
  MUST(strata_catalog_create(catalog, uri, &options, &made));
  MUST(strata_catalog_attach(catalog, uri, NULL, &other));
  MUST(strata_segment_refresh(other, &bytes));
  CHECK(bytes == 2400);
  MUST(strata_segment_get_content(other, &told));
  CHECK(strcmp(told.type, "array") == 0 && strcmp(told.element, "<f8") == 0);
  CHECK(told.size == sizeof told && told.dimensions == 2);
  CHECK(told.shape[0] == 100 && told.shape[1] == 3 && told.shape[2] == 0);
  MUST(strata_segment_grow(made, 4800, SOON_MS));
  MUST(strata_segment_get_content(made, &told));
  CHECK(told.shape[0] == 200);
  plain = make_test_segment(catalog, test_uri("shm:c-bytes"), 4096);
  MUST(strata_segment_get_content(plain, &told));
  CHECK(told.type[0] == '\0' && told.element[0] == '\0' && told.dimensions == 0);
  strata_segment_close(plain);
  strata_segment_close(other);
  strata_segment_close(made);
  strata_catalog_close(catalog);
}

static void content_that_cannot_be_is_refused(void) {
  const char* uri = test_uri("shm:c-no-array");
  strata_catalog* catalog = open_test_catalog();
  strata_content content = {.size = sizeof content, .element = "f8", .dimensions = 1, .shape = {1}};
  strata_create_options options = {
      .size = sizeof options, .lifetime = STRATA_LIFETIME_PROCESS, .content = &content};
  strata_segment* segment = NULL;
  FAILS(strata_catalog_create(catalog, uri, &options, &segment), STRATA_INVALID_ARGUMENT, "f8");
  memset(content.element, '1', sizeof content.element);
  FAILS(strata_catalog_create(catalog, uri, &options, &segment), STRATA_INVALID_ARGUMENT, "15");
  strcpy(content.element, "<f8");
  memset(content.type, 'a', sizeof content.type);
  FAILS(strata_catalog_create(catalog, uri, &options, &segment), STRATA_INVALID_ARGUMENT, "63");
  strcpy(content.type, "array");
  content.dimensions = 17;
  FAILS(strata_catalog_create(catalog, uri, &options, &segment), STRATA_INVALID_ARGUMENT,
        "dimensions");
  content.dimensions = 2;
  content.shape[0] = content.shape[1] = (uint64_t)1 << 62;
  FAILS(strata_catalog_create(catalog, uri, &options, &segment), STRATA_INVALID_ARGUMENT, "2^64");
  content.size = 3;
  FAILS(strata_catalog_create(catalog, uri, &options, &segment), STRATA_INVALID_ARGUMENT,
        "content");
  CHECK(segment == NULL);
  strata_catalog_close(catalog);
}

static int fill_with_42(strata_segment* segment, void* calls) {
  const unsigned char value = 42;
  ++*(int*)calls;
  strata_segment_close(segment); /* it is not the callback's to close */
  return strata_segment_write(segment, 0, &value, 1);
}

static int fill_too_far(strata_segment* segment, void* unused) {
  (void)unused;
  return strata_segment_write(segment, 1 << 30, "x", 1);
}

static int fill_with_a_code_of_its_own(strata_segment* segment, void* unused) {
  (void)segment, (void)unused;
  return STRATA_EXHAUSTED;
}

static void create_or_attach_fills_once_and_a_failed_fill_leaves_nothing(void) {
  const char* uri = test_uri("shm:c-filled");
  strata_catalog* catalog = open_test_catalog();
  strata_create_options options = {
      .size = sizeof options, .payload_bytes = 4096, .lifetime = STRATA_LIFETIME_PROCESS};
  strata_segment *first = NULL, *second = NULL;
  int calls = 0, was_created = -1;
  unsigned char value = 0;
  FAILS(strata_catalog_create_or_attach(catalog, uri, &options, fill_too_far, NULL, NULL, &first,
                                        &was_created),
        STRATA_INVALID_ARGUMENT, "4096");
  FAILS(strata_catalog_create_or_attach(catalog, uri, &options, fill_with_a_code_of_its_own, NULL,
                                        NULL, &first, &was_created),
        STRATA_EXHAUSTED, "fill returned 5");
  CHECK(first == NULL && was_created == -1);
  FAILS(strata_catalog_attach(catalog, uri, NULL, &second), STRATA_NOT_FOUND, uri);
  MUST(strata_catalog_create_or_attach(catalog, uri, &options, fill_with_42, &calls, NULL, &first,
                                       &was_created));
  CHECK(was_created == 1 && calls == 1);
  MUST(strata_catalog_create_or_attach(catalog, uri, &options, fill_with_42, &calls, NULL, &second,
                                       &was_created));
  CHECK(was_created == 0 && calls == 1);
  MUST(strata_segment_read(second, 0, &value, 1));
  CHECK(value == 42);
  strata_segment_close(first);
  strata_segment_close(second);
  strata_catalog_close(catalog);
}

typedef struct seen {
  const char* uri;
  int times;
  uint64_t payload_bytes;
} seen;

static int look_for(const strata_segment_stat* stat, void* user) {
  seen* const what = user;
  CHECK(stat->size == sizeof *stat);
  if (strcmp(stat->uri, what->uri) != 0) return 0;
  ++what->times;
  what->payload_bytes = stat->payload_bytes;
  return 0;
}

static int stop_at_once(const strata_segment_stat* stat, void* times) {
  (void)stat;
  return ++*(int*)times;
}

static void segments_are_listed_told_and_removed(void) {
  const char* uri = test_uri("shm:c-listed");
  strata_catalog* catalog = open_test_catalog();
  strata_segment* segment = make_test_segment(catalog, uri, 12288);
  strata_list_options options = {.size = sizeof options, .scheme = "shm"};
  strata_segment_stat stat = {.size = sizeof stat};
  strata_remove_options forced = {.size = sizeof forced, .even_if_attached = 1};
  seen what = {uri, 0, 0};
  int times = 0;
  MUST(strata_catalog_list(catalog, &options, look_for, NULL, &what));
  CHECK(what.times == 1 && what.payload_bytes == 12288);
  MUST(strata_catalog_list(catalog, &options, stop_at_once, NULL, &times));
  CHECK(times == 1);
  MUST(strata_catalog_stat(catalog, uri, &stat));
  CHECK(strcmp(stat.uri, uri) == 0 && stat.problem_code == STRATA_OK);
  CHECK(stat.is_attached && stat.is_creator_alive && stat.creator_pid == (uint32_t)getpid());
  FAILS(strata_catalog_remove(catalog, uri, NULL), STRATA_FAILED_PRECONDITION, uri);
  forced.uuid[0] = (uint8_t)~stat.uuid[0];
  FAILS(strata_catalog_remove(catalog, uri, &forced), STRATA_NOT_FOUND, "");
  memcpy(forced.uuid, stat.uuid, sizeof stat.uuid);
  MUST(strata_catalog_remove(catalog, uri, &forced));
  FAILS(strata_catalog_stat(catalog, uri, &stat), STRATA_NOT_FOUND, uri);
  strata_segment_close(segment);
  strata_catalog_close(catalog);
}

static void create_and_die(void* uri) {
  (void)make_test_segment(open_test_catalog(), uri, 4096);
  raise(SIGKILL);
}

typedef struct decided {
  const char* uri;
  int orphans;
  int reclaimed;
} decided;

static int note_decision(const strata_reclaim_decision* decision, void* user) {
  decided* const what = user;
  CHECK(decision->size == sizeof *decision && decision->evidence[0] != '\0');
  if (strcmp(decision->uri, what->uri) != 0) return 0;
  what->orphans += decision->is_orphan;
  what->reclaimed += decision->was_reclaimed;
  return 0;
}

static void what_a_killed_process_leaves_is_reclaimed(void) {
  const char* uri = test_uri("shm:c-orphan");
  strata_catalog* catalog = open_test_catalog();
  strata_reclaim_options dry = {.size = sizeof dry, .dry_run = 1};
  strata_segment_stat stat = {.size = sizeof stat};
  decided what = {uri, 0, 0};
  must_be_killed(start_child(create_and_die, (void*)(size_t)uri));
  MUST(strata_catalog_reclaim(catalog, &dry, note_decision, NULL, &what));
  CHECK(what.orphans == 1 && what.reclaimed == 0);
  MUST(strata_catalog_stat(catalog, uri, &stat));
  MUST(strata_catalog_reclaim(catalog, NULL, NULL, NULL, NULL));
  FAILS(strata_catalog_stat(catalog, uri, &stat), STRATA_NOT_FOUND, uri);
  strata_catalog_close(catalog);
}

static int job_has_ended(const char* job_id, void* unused) {
  (void)unused;
  return strncmp(job_id, "c-job-", 6) == 0 ? STRATA_JOB_ENDED : STRATA_JOB_UNKNOWN;
}

static void a_program_that_knows_the_jobs_says_which_have_ended(void) {
  const char* uri = test_uri("shm:c-of-a-job");
  char job[64];
  strata_catalog* catalog = open_test_catalog();
  strata_create_options options = {.size = sizeof options,
                                   .payload_bytes = 4096,
                                   .lifetime = STRATA_LIFETIME_JOB,
                                   .job_id = job};
  strata_reclaim_options knowing = {.size = sizeof knowing, .job_state = job_has_ended};
  strata_segment_stat stat = {.size = sizeof stat};
  strata_segment* segment = NULL;
  snprintf(job, sizeof job, "c-job-%d", (int)getpid());
  MUST(strata_catalog_create(catalog, uri, &options, &segment));
  strata_segment_close(segment);
  MUST(strata_catalog_reclaim(catalog, NULL, NULL, NULL, NULL));
  MUST(strata_catalog_stat(catalog, uri, &stat));
  CHECK(strcmp(stat.job_id, job) == 0);
  MUST(strata_catalog_reclaim(catalog, &knowing, NULL, NULL, NULL));
  FAILS(strata_catalog_stat(catalog, uri, &stat), STRATA_NOT_FOUND, uri);
  strata_catalog_close(catalog);
}

static void receive_and_answer(void* sockets) {
  const int socket = ((int*)sockets)[1];
  strata_catalog* catalog = open_test_catalog();
  strata_segment* segment = NULL;
  strata_segment* named = NULL;
  void* bytes = NULL;
  close(((int*)sockets)[0]);
  MUST(strata_catalog_receive(catalog, socket, NULL, SOON_MS, &segment));
  MUST(strata_catalog_receive(catalog, socket, NULL, SOON_MS, &named));
  MUST(strata_segment_writable_bytes(segment, &bytes, NULL));
  *(char*)bytes = 42;
  MUST(strata_segment_write(named, 0, "*", 1));
}

static void segments_are_handed_over_a_socket(void) {
  const char* uri = test_uri("shm:c-sent");
  strata_catalog* catalog = open_test_catalog();
  strata_create_options options = {.size = sizeof options, .payload_bytes = 4096};
  strata_segment* anonymous = NULL;
  strata_segment* named = make_test_segment(catalog, uri, 4096);
  int sockets[2];
  char value = 0;
  pid_t child;
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
  child = start_child(receive_and_answer, sockets);
  close(sockets[1]);
  MUST(strata_catalog_create_anonymous(catalog, &options, &anonymous));
  MUST(strata_catalog_send(catalog, anonymous, sockets[0], SOON_MS));
  MUST(strata_catalog_send(catalog, named, sockets[0], SOON_MS));
  must_end_well(child);
  MUST(strata_segment_read(anonymous, 0, &value, 1));
  CHECK(value == 42);
  MUST(strata_segment_read(named, 0, &value, 1));
  CHECK(value == '*');
  FAILS(strata_catalog_receive(catalog, sockets[0], NULL, SOON_MS, &named),
        STRATA_FAILED_PRECONDITION, "closed");
  strata_segment_close(named);
  strata_segment_close(anonymous);
  strata_catalog_close(catalog);
}

static void a_handle_attaches_that_very_segment_or_says_why_not(void) {
  strata_catalog* catalog = open_test_catalog();
  strata_create_options options = {.size = sizeof options, .payload_bytes = 4096};
  strata_handle_info info = {.size = sizeof info};
  strata_segment *segment = NULL, *again = NULL;
  unsigned char handle[STRATA_MAX_HANDLE_BYTES];
  int descriptors[STRATA_MAX_HANDLE_DESCRIPTORS];
  size_t bytes = 0, count = 0;
  char text[8] = {0};
  MUST(strata_catalog_create_anonymous(catalog, &options, &segment));
  FAILS(strata_segment_handle(segment, handle, 8, &bytes), STRATA_EXHAUSTED, "buffer");
  CHECK(bytes > 8 && bytes <= sizeof handle);
  MUST(strata_segment_handle(segment, handle, sizeof handle, &bytes));
  MUST(strata_segment_descriptors(segment, descriptors, &count));
  MUST(strata_handle_decode(handle, bytes, &info));
  CHECK(info.descriptor_count == count && count > 0 && info.payload_bytes == 4096);
  CHECK(info.exporter_pid == (uint32_t)getpid() && info.locator[0] == '\0');
  MUST(strata_segment_write(segment, 0, "shared", 7));
  MUST(strata_catalog_attach_handle(catalog, handle, bytes, descriptors, count, NULL, &again));
  strata_segment_close(segment);
  MUST(strata_segment_read(again, 0, text, 7));
  CHECK(strcmp(text, "shared") == 0);
  FAILS(strata_catalog_attach_handle(catalog, handle, bytes, NULL, 0, NULL, &segment),
        STRATA_CORRUPT, "descriptors");
  handle[20] ^= 1;
  FAILS(strata_handle_decode(handle, bytes, &info), STRATA_CORRUPT, "");
  FAILS(strata_handle_decode(handle, 3, &info), STRATA_CORRUPT, "");
  strata_segment_close(again);
  strata_catalog_close(catalog);
}

static void a_kind_of_memory_says_what_it_cannot_do(void) {
  strata_catalog* catalog = open_test_catalog();
  strata_segment* segment = make_test_segment(catalog, test_uri("shm:c-able"), 8192);
  strata_device_span span = {.size = sizeof span};
  strata_device_info device = {.size = sizeof device};
  MUST(strata_segment_require(segment, STRATA_CAN_HEAP));
  FAILS(strata_segment_require(segment, STRATA_CAN_PERSIST), STRATA_UNSUPPORTED, "");
  FAILS(strata_segment_require(segment, 10), STRATA_INVALID_ARGUMENT, "capability");
  FAILS(strata_segment_require(segment, -1), STRATA_INVALID_ARGUMENT, "capability");
  FAILS(strata_segment_persist(segment, 0, 1), STRATA_UNSUPPORTED, "");
  FAILS(strata_segment_device_bytes(segment, &span), STRATA_UNSUPPORTED, "");
  FAILS(strata_segment_device(segment, &device), STRATA_UNSUPPORTED, "");
  strata_segment_close(segment);
  strata_catalog_close(catalog);
}

static void pages_are_placed_where_the_program_asks(void) {
  static const int nodes[] = {0};
  const char* uri = test_uri("shm:c-placed");
  strata_catalog* catalog = open_test_catalog();
  strata_placement placement = {
      .size = sizeof placement, .kind = STRATA_PLACE_NODE, .nodes = nodes, .node_count = 1};
  strata_create_options options = {.size = sizeof options,
                                   .payload_bytes = 65536,
                                   .lifetime = STRATA_LIFETIME_PROCESS,
                                   .placement = &placement};
  strata_segment* segment = NULL;
  const int code = strata_catalog_create(catalog, uri, &options, &segment);
  /* A kernel without NUMA refuses to bind, and says so. */
  if (code == STRATA_OK) {
    MUST(strata_segment_write(segment, 0, "here", 5));
    (void)strata_segment_migrate(segment, &placement, SOON_MS);
  }
  placement.kind = 9;
  FAILS(strata_segment_migrate(
            segment == NULL ? (segment = make_test_segment(catalog, uri, 4096)) : segment,
            &placement, SOON_MS),
        STRATA_INVALID_ARGUMENT, "kind");
  placement.kind = STRATA_PLACE_WEIGHTED;
  FAILS(strata_segment_migrate(segment, &placement, SOON_MS), STRATA_INVALID_ARGUMENT, "weights");
  strata_segment_close(segment);
  strata_catalog_close(catalog);
}

int main(int argc, char** argv) {
  static const test_case cases[] = {
      CASE(what_one_process_writes_another_reads_and_answers),
      CASE(errors_carry_code_words_and_errno_and_success_leaves_them),
      CASE(a_segment_is_filled_published_sealed_and_verified),
      CASE(what_a_payload_is_goes_with_its_name),
      CASE(content_that_cannot_be_is_refused),
      CASE(growth_is_seen_after_a_refresh_and_addresses_stay),
      CASE(create_or_attach_fills_once_and_a_failed_fill_leaves_nothing),
      CASE(segments_are_listed_told_and_removed),
      CASE(what_a_killed_process_leaves_is_reclaimed),
      CASE(a_program_that_knows_the_jobs_says_which_have_ended),
      CASE(segments_are_handed_over_a_socket),
      CASE(a_handle_attaches_that_very_segment_or_says_why_not),
      CASE(a_kind_of_memory_says_what_it_cannot_do),
      CASE(pages_are_placed_where_the_program_asks),
  };
  return run_cases(argc, argv, cases, CASE_COUNT(cases));
}
