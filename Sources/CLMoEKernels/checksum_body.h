// The XXH3 entry points, compiled once per instruction set: the including file defines NAME(x), and on
// x86-64 the target attribute. A private header, inlined: no shared library at run time, and twice the speed
// of Debian's, which is built for the baseline.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "checksum_variants.h"

static lmoe_hash128 as_pair(XXH128_hash_t hash) {
  lmoe_hash128 pair = {hash.low64, hash.high64};
  return pair;
}

uint64_t NAME(64)(const void *bytes, size_t length) { return XXH3_64bits(bytes, length); }
lmoe_hash128 NAME(128)(const void *bytes, size_t length) { return as_pair(XXH3_128bits(bytes, length)); }
void NAME(reset)(void *state) { XXH3_128bits_reset((XXH3_state_t *)state); }
void NAME(update)(void *state, const void *bytes, size_t length) {
  XXH3_128bits_update((XXH3_state_t *)state, bytes, length);
}
lmoe_hash128 NAME(digest)(const void *state) { return as_pair(XXH3_128bits_digest((const XXH3_state_t *)state)); }
uint64_t NAME(digest64)(const void *state) { return XXH3_64bits_digest((const XXH3_state_t *)state); }
size_t NAME(state_size)(void) { return sizeof(XXH3_state_t); }
