// Transposition of whole matrices.
#include "CLMoEKernels.h"

void lmoe_transpose(const float *matrix, size_t rows, size_t columns, float *out) {
  lmoe_transpose_strided(matrix, rows, columns, (ptrdiff_t)columns, out, (ptrdiff_t)rows);
}

// Any four bytes are moved as those of a float are, unseen.
void lmoe_transpose_32(const void *matrix, size_t rows, size_t columns, void *out) {
  lmoe_transpose(matrix, rows, columns, out);
}

enum { SIDE = 8 };
typedef uint16_t halves __attribute__((vector_size(SIDE * sizeof(uint16_t)), aligned(2), may_alias));

/// What two rows have in columns [from, from + 4), by turns.
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)

static inline void transpose_block(const uint16_t *from, size_t columns, uint16_t *to, size_t rows) {
  halves block[SIDE], other[SIDE];
#pragma clang loop unroll(full)
  for (int i = 0; i < SIDE; i++) block[i] = *(const halves *)(from + (size_t)i * columns);
  // Three times: the first half of the rows by turns with the second.
#define SHUFFLE(in, out)                                                                              \
  _Pragma("clang loop unroll(full)") for (int i = 0; i < SIDE / 2; i++) {                             \
    out[2 * i] = LOW(in[i], in[i + SIDE / 2]);                                                        \
    out[2 * i + 1] = HIGH(in[i], in[i + SIDE / 2]);                                                   \
  }
  SHUFFLE(block, other)
  SHUFFLE(other, block)
  SHUFFLE(block, other)
#undef SHUFFLE
#pragma clang loop unroll(full)
  for (int i = 0; i < SIDE; i++) *(halves *)(to + (size_t)i * rows) = other[i];
}

void lmoe_transpose_16(const void *matrix, size_t rows, size_t columns, void *out) {
  const uint16_t *from = matrix;
  uint16_t *to = out;
  for (size_t row = 0; row < rows; row += SIDE) {
    size_t column = 0;
    if (rows - row >= SIDE) {
      for (; column + SIDE <= columns; column += SIDE)
        transpose_block(from + row * columns + column, columns, to + column * rows + row, rows);
    }
    const size_t end = rows - row < SIDE ? rows : row + SIDE;
    for (; column < columns; column++) {
      for (size_t r = row; r < end; r++) to[column * rows + r] = from[r * columns + column];
    }
  }
}
