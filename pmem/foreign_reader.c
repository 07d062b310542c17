// Knows only libpmemobj and docs/format/pool.md: prints the first bytes of a pool's segment.
#include <libpmemobj.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char** argv) {
  PMEMobjpool* pool = argc == 3 ? pmemobj_open(argv[1], "strata") : NULL;
  if (pool == NULL) return 1;
  const char* directory = pmemobj_direct(pmemobj_root(pool, pmemobj_root_size(pool)));
  uint32_t slots;
  memcpy(&slots, directory + 40, 4);
  const char* entry = directory + ((256 + 8 * slots + 63) & ~63u);
  for (uint32_t i = 0; i < slots; ++i, entry += 512) {
    uint32_t state;
    uint64_t header, payload, bytes;
    memcpy(&state, entry, 4), memcpy(&header, entry + 24, 8);
    memcpy(&payload, entry + 32, 8), memcpy(&bytes, entry + 40, 8);
    if (state == 1 && strcmp(entry + 256, argv[2]) == 0) {
      printf("%.*s\n", (int)bytes, (const char*)pool + header + payload);
    }
  }
  pmemobj_close(pool);
  return 0;
}
