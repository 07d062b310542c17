/* What a user writes in C; the tests build it against what was installed. */
#include <stdio.h>
#include <strata/c.h>
#include <string.h>

int main(int argc, char** argv) {
  static const char text[] = "hello from another mapping";
  strata_create_options options = {.size = sizeof options, .payload_bytes = 4096};
  strata_catalog* catalog = NULL;
  strata_segment* made = NULL;
  strata_segment* seen = NULL;
  const void* bytes = NULL;
  if (argc != 2 || strata_catalog_open(NULL, &catalog) != STRATA_OK ||
      strata_catalog_create(catalog, argv[1], &options, &made) != STRATA_OK ||
      strata_segment_write(made, 0, text, sizeof text) != STRATA_OK ||
      strata_catalog_attach(catalog, argv[1], NULL, &seen) != STRATA_OK ||
      strata_segment_bytes(seen, &bytes, NULL) != STRATA_OK)
    return puts(strata_error_message()), 1;
  puts(bytes);
  strata_segment_close(seen);
  strata_segment_close(made);
  const int removed = strata_catalog_remove(catalog, argv[1], NULL);
  strata_catalog_close(catalog);
  return removed;
}
