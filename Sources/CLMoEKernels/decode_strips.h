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

/// Bytes of B of outputs [first, end) of a layer's experts as they are laid out.
static inline size_t up_bytes(const lmoe_linear *linear, size_t first, size_t end) {
  const int kind = linear->slots[0].up.kind;
  if (kind < 0) return (end - first) * linear->ranks * float_bytes(kind);
  return blocks_around(first, end) * up_ranks(linear->ranks) * Q8_BYTES;
}

/// Bytes of A of inputs [first, end) of a layer's experts as they are laid out.
static inline size_t down_bytes(const lmoe_linear *linear, size_t first, size_t end) {
  const int kind = linear->slots[0].down.kind;
  if (kind < 0) return (end - first) * linear->ranks * float_bytes(kind);
  return blocks_around(first, end) * down_ranks(linear->ranks) * Q8_BYTES;
}
#endif
