// Factors of experts as one token takes them: the same numbers as in the matrices, laid out so that what a task reads
// lies together.
//
// Floats: panels of PANEL outputs of B, or of what is left of the task's; in each panel the outputs of the first rank,
// then of the next. Of A all ranks of one input, then of the next.
//
// Q8_0: so that four products of bytes are summed at once. A panel of B has Q8_PANEL outputs: the scales of all ranks
// (f16, ranks rounded up to QUAD), then for each QUAD of ranks Q8_PANEL times those four bytes. A run of A has Q8_PANEL
// inputs: the scales of all ranks (f16, ranks rounded up to RANKS), then of the first RANKS ranks for each QUAD of
// inputs each rank's four bytes, then of the next ranks. Bytes have the offset 128, which makes them unsigned; what it adds is taken away again.
#ifndef LMOE_PANELS_H
#define LMOE_PANELS_H
#include "CLMoEDecoding.h"

#include <stddef.h>

enum { PANEL = 64, Q8_PANEL = 32, QUAD = 4, RANKS = 16, Q8_BYTES = 34 };

static inline size_t up_ranks(size_t ranks) { return (ranks + QUAD - 1) / QUAD * QUAD; }
static inline size_t down_ranks(size_t ranks) { return (ranks + RANKS - 1) / RANKS * RANKS; }

/// Lays out B of outputs [first, end) of all experts of a linear layer; of Q8_0 the whole panels that have some of them.
void lmoe_pack_up(const lmoe_linear *linear, size_t first, size_t end, void *panels);
/// Lays out A of inputs [first, end) of all of them; of Q8_0 the whole runs that have some of them.
void lmoe_pack_down(const lmoe_linear *linear, size_t first, size_t end, void *runs);
#endif
