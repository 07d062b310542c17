/* The array in C, which sees bytes, and knows what they are:
 *
 *     gcc one.c -o one_c $(pkg-config --cflags --libs strata-c)
 *     ./one_c shm:one
 */
#include <stdio.h>
#include <strata/c.h>

static void add_number(double* numbers) {
  double sum = 0;
  int i;
  for (i = 0; i < 4; ++i)
    sum += numbers[i];
  numbers[1] = sum + 1;
  printf("C reads the sum %g and writes %g\n", sum, numbers[1]);
}

int main(int argc, char** argv) {
  strata_catalog* catalog = NULL;
  strata_segment* segment = NULL;
  void* bytes = NULL;
  uint64_t payload_bytes = 0;
  int code;
  if (argc != 2) return 2;
  code = strata_catalog_open(NULL, &catalog);
  if (code == STRATA_OK) code = strata_catalog_attach(catalog, argv[1], NULL, &segment);
  if (code == STRATA_OK) code = strata_segment_writable_bytes(segment, &bytes, &payload_bytes);
  if (code == STRATA_OK && payload_bytes >= 4 * sizeof(double))
    add_number(bytes);
  else
    fprintf(stderr, "%s\n", code == STRATA_OK ? "no four numbers" : strata_error_message());
  strata_segment_close(segment);
  strata_catalog_close(catalog);
  return bytes == NULL;
}
