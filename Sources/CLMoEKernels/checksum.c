// Dispatches XXH3 to the widest body that the processor has. The digests are the same.
#include "checksum_variants.h"

#include <stdlib.h>

#if defined(__x86_64__)
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"); }
#define PICK(call) (has_avx2() ? lmoe_avx2_##call : lmoe_base_##call)
#else
#define PICK(call) lmoe_base_##call
#endif

struct lmoe_xxh3_state {
  void *body;  // XXH3 wants 64-byte alignment, so it is allocated apart
};

uint64_t lmoe_xxh3_64(const void *bytes, size_t length) { return PICK(64(bytes, length)); }
lmoe_hash128 lmoe_xxh3_128(const void *bytes, size_t length) { return PICK(128(bytes, length)); }

lmoe_xxh3_state *lmoe_xxh3_create(void) {
  lmoe_xxh3_state *state = malloc(sizeof *state);
  if (!state) abort();
  if (posix_memalign(&state->body, 64, lmoe_base_state_size()) != 0) abort();
  lmoe_xxh3_reset(state);
  return state;
}
#if defined(__x86_64__)
void lmoe_xxh3_reset(lmoe_xxh3_state *state) {
  if (has_avx2()) lmoe_avx2_reset(state->body); else lmoe_base_reset(state->body);
}
void lmoe_xxh3_update(lmoe_xxh3_state *state, const void *bytes, size_t length) {
  if (has_avx2()) lmoe_avx2_update(state->body, bytes, length);
  else lmoe_base_update(state->body, bytes, length);
}
#else
void lmoe_xxh3_reset(lmoe_xxh3_state *state) { lmoe_base_reset(state->body); }
void lmoe_xxh3_update(lmoe_xxh3_state *state, const void *bytes, size_t length) {
  lmoe_base_update(state->body, bytes, length);
}
#endif
lmoe_hash128 lmoe_xxh3_digest(const lmoe_xxh3_state *state) { return PICK(digest(state->body)); }
uint64_t lmoe_xxh3_digest64(const lmoe_xxh3_state *state) { return PICK(digest64(state->body)); }
void lmoe_xxh3_free(lmoe_xxh3_state *state) {
  free(state->body);
  free(state);
}
