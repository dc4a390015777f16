// What a task takes of the experts' factors lies together, in the order in which it takes it: a strip. Strips of tasks
// that follow each other do too. So the memory of the experts is read in long runs, as that of the base is; the same
// bytes here and there take twice as long.
#ifndef LMOE_DECODE_STRIPS_H
#define LMOE_DECODE_STRIPS_H
#include "decode_products.h"
#include "panels.h"

/// Blocks of Q8_0 that have some of the elements [first, end).
static inline size_t blocks_around(size_t first, size_t end) {
  return (end + Q8_PANEL - 1) / Q8_PANEL - first / Q8_PANEL;
}

/// Bytes of B of outputs [first, end) as they are laid out.
static inline size_t up_bytes(const lmoe_matrix *up, size_t first, size_t end) {
  if (up->kind < 0) return (end - first) * up->rows * float_bytes(up->kind);
  return blocks_around(first, end) * up_ranks(up->rows) * Q8_BYTES;
}

/// Bytes of A of inputs [first, end) as they are laid out.
static inline size_t down_bytes(const lmoe_matrix *down, size_t first, size_t end) {
  if (down->kind < 0) return (end - first) * down->rows * float_bytes(down->kind);
  return blocks_around(first, end) * down_ranks(down->rows) * Q8_BYTES;
}
#endif
