/* Structs of <strata/c.h> keep their layout within STRATA_C_API_VERSION: programs were compiled
 * with it. One that begins with its `size` may get more: from its old size on, never in the padding
 * at its end, which old programs leave as it is. Then its line here changes. */
#include "c/c_testing.h"

typedef struct layout {
  const char* name;
  size_t bytes, expected_bytes;
  size_t last_at, expected_last_at;
} layout;

#define LAYOUT(type, bytes, last, last_at) \
  { #type, sizeof(type), bytes, offsetof(type, last), last_at }

static void structs_have_the_layout_that_programs_were_compiled_with(void) {
  static const layout layouts[] = {
      LAYOUT(strata_catalog_options, 88, cuda_holder_command_count, 80),
      LAYOUT(strata_placement, 56, is_strict, 48),
      LAYOUT(strata_content, 224, shape, 96),
      LAYOUT(strata_create_options, 88, content, 80),
      LAYOUT(strata_attach_options, 32, device, 24),
      LAYOUT(strata_remove_options, 32, uuid, 12),
      LAYOUT(strata_segment_stat, 5632, is_creator_alive, 5628),
      LAYOUT(strata_list_options, 24, container, 16),
      LAYOUT(strata_reclaim_options, 40, job_state, 32),
      LAYOUT(strata_reclaim_decision, 40, was_reclaimed, 36),
      LAYOUT(strata_handle_info, 4432, locator, 64),
      LAYOUT(strata_segment_info, 72, generation, 64),
      LAYOUT(strata_mutex, 64, reserved, 0),
      LAYOUT(strata_rw_lock, 1024, reserved, 0),
      LAYOUT(strata_semaphore, 512, reserved, 0),
      LAYOUT(strata_event, 16, reserved, 0),
      LAYOUT(strata_barrier, 1024, reserved, 0),
      LAYOUT(strata_condition, 8, reserved, 0),
      LAYOUT(strata_arrival, 8, phase, 4),
      LAYOUT(strata_ring_options, 16, message_bytes, 12),
      LAYOUT(strata_loan, 32, reserved, 16),
      LAYOUT(strata_message, 32, reserved, 16),
      LAYOUT(strata_heap_options, 24, is_by_node, 16),
      LAYOUT(strata_type, 40, version, 32),
      LAYOUT(strata_object_info, 544, align_bytes, 536),
      LAYOUT(strata_range, 16, bytes, 8),
      LAYOUT(strata_pool_options, 24, mode, 20),
      LAYOUT(strata_pool_entry, 792, problem, 280),
      LAYOUT(strata_checkpoint_options, 32, content, 24),
      LAYOUT(strata_checkpoint_report, 40, bytes_written, 32),
      LAYOUT(strata_load_options, 24, threads, 20),
      LAYOUT(strata_load_report, 32, blocks_verified, 24),
      LAYOUT(strata_device_span, 40, device_uuid, 24),
      LAYOUT(strata_device_info, 328, pci_address, 296),
      LAYOUT(strata_copy_options, 40, bytes, 32),
      LAYOUT(strata_copy_report, 536, why, 24),
  };
  size_t i;
  for (i = 0; i < sizeof layouts / sizeof layouts[0]; ++i) {
    const layout* const here = &layouts[i];
    if (here->bytes == here->expected_bytes && here->last_at == here->expected_last_at) continue;
    fprintf(stderr, "%s: %zu bytes, its last member at %zu\n", here->name, here->bytes,
            here->last_at);
    exit(1);
  }
  CHECK(STRATA_C_API_VERSION == 1);
}

int main(int argc, char** argv) {
  static const test_case cases[] = {
      CASE(structs_have_the_layout_that_programs_were_compiled_with),
  };
  return run_cases(argc, argv, cases, CASE_COUNT(cases));
}
