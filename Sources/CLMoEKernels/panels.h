// Factors of experts in Q8_0 as one token takes them: the same numbers as in the blocks, laid out so that four products
// of bytes are summed at once and what a task reads lies together.
//
// A panel of B has Q8_PANEL outputs: the scales of all ranks (f16, ranks rounded up to QUAD), then for each QUAD of
// ranks Q8_PANEL times those four bytes. A run of A has Q8_PANEL inputs: the scales of all ranks (f16, ranks rounded
// up to RANKS), then for each QUAD of inputs each rank's four bytes. Bytes have the offset 128, which makes them
// unsigned; what it adds is taken away again.
#ifndef LMOE_PANELS_H
#define LMOE_PANELS_H
#include <stddef.h>

enum { Q8_PANEL = 32, QUAD = 4, RANKS = 16, Q8_BYTES = 34 };

static inline size_t up_ranks(size_t ranks) { return (ranks + QUAD - 1) / QUAD * QUAD; }
static inline size_t down_ranks(size_t ranks) { return (ranks + RANKS - 1) / RANKS * RANKS; }
#endif
