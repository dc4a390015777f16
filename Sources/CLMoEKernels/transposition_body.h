// Transposition in blocks that registers hold. A part of every instruction set's translation unit.

static inline size_t least(size_t a, size_t b) { return a < b ? a : b; }

/// The largest power of two that divides a stride.
static inline size_t evenness(ptrdiff_t stride) { return (size_t)stride & -(size_t)stride; }

/// Transposes up to LANES rows of up to LANES columns.
static inline void transpose_block(const float *from, size_t rows, size_t columns, ptrdiff_t stride, float *to,
                                   ptrdiff_t out_stride) {
  vec block[LANES];
  if (rows == LANES && columns == LANES) {
    for (int k = 0; k < LANES; k++) block[k] = load(from + k * stride);
    transpose(block);
    for (int k = 0; k < LANES; k++) store(to + k * out_stride, block[k]);
  } else {
    for (size_t k = 0; k < LANES; k++)
      block[k] = k < rows ? load_lanes(from + (ptrdiff_t)k * stride, columns) : zero();
    transpose(block);
    for (size_t k = 0; k < columns; k++) store_lanes(to + (ptrdiff_t)k * out_stride, block[k], rows);
  }
}

static void transpose_strided(const float *matrix, size_t rows, size_t columns, ptrdiff_t stride, float *out,
                              ptrdiff_t out_stride) {
  // The first step ends where a vector of the result is aligned: a store over two cache lines costs twice.
  const size_t head = LANES - (uintptr_t)out / sizeof *out % LANES;
  // Lines a large power of two apart push each other out of the cache. So whichever of the two matrices is worse
  // in that is walked along its rows.
  if (evenness(out_stride) > evenness(stride)) {
    for (size_t c = 0; c < columns; c += LANES)
      for (size_t r = 0, step = head; r < rows; r += step, step = LANES)
        transpose_block(matrix + (ptrdiff_t)r * stride + c, least(step, rows - r), least(LANES, columns - c),
                        stride, out + (ptrdiff_t)c * out_stride + r, out_stride);
  } else {
    for (size_t r = 0, step = head; r < rows; r += step, step = LANES)
      for (size_t c = 0; c < columns; c += LANES)
        transpose_block(matrix + (ptrdiff_t)r * stride + c, least(step, rows - r), least(LANES, columns - c),
                        stride, out + (ptrdiff_t)c * out_stride + r, out_stride);
  }
}
