// Attention of many queries, by the kernels for this processor.
#include "kernel_variants.h"

/// No set of kernels has longer vectors, so many floats.
enum { MOST_LANES = 16 };

static size_t whole(size_t count, size_t step) { return (count + step - 1) / step * step; }

size_t lmoe_attention_scratch(size_t width) {
  // Queries and sums, keys and values; scores; the largest of each row, and its totals.
  return 2 * (LMOE_ATTENTION_QUERIES + ATTENTION_KEYS) * whole(width, MOST_LANES) + ATTENTION_ROWS * ATTENTION_KEYS +
         LMOE_ATTENTION_QUERIES * (1 + MOST_LANES);
}

size_t lmoe_attention_gradient_scratch(size_t rows, size_t width) {
  // Panels of queries and gradients, both as rows, what becomes of the queries; three numbers of each; a block's keys,
  // values and their gradients; P and dS.
  const size_t places = whole(rows, GRADIENT_QUERIES), padded = whole(width, MOST_LANES);
  return 5 * places * padded + 3 * places + 4 * GRADIENT_KEYS * padded + 2 * GRADIENT_KEYS * GRADIENT_QUERIES;
}

void lmoe_attend(const lmoe_attention *attention, float *scratch) { lmoe_kernels_now()->attend(attention, scratch); }

void lmoe_attend_backward(const lmoe_attention_gradient *gradient, float *scratch) {
  lmoe_kernels_now()->attend_backward(gradient, scratch);
}
