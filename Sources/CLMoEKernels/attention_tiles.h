// Small products whose parts are in the nearest caches, as attention has them. A part of every instruction set's
// translation unit.

/// y[rows][vectors * LANES] = y * factors + sum over k of x[row * x_row + k * x_step] * panel[k][vectors * LANES].
/// With `begins`, y is not read. Any strides: x is read a number at a time. The sum is made by itself and then added,
/// which rounds less than one long chain.
static inline __attribute__((always_inline)) void small_tile(const int rows, const int vectors, const float *x,
                                                             ptrdiff_t x_row, ptrdiff_t x_step, const float *panel,
                                                             ptrdiff_t panel_stride, size_t depth, float *y,
                                                             ptrdiff_t y_stride, const int begins,
                                                             const float *factors) {
  vec sum[ROWS][4];
  EACH(r, rows) {
    EACH(v, vectors) sum[r][v] = zero();
  }
  // Rows are addressed by threes, as in gemm_panels.h.
  const ptrdiff_t row = x_row * (ptrdiff_t)sizeof(float);
  const char *at[(ROWS + 2) / 3];
  for (int r = 0; r < rows; r += 3) {
    at[r / 3] = (const char *)x + r * row;
    HIDE(at[r / 3]);
  }
#pragma clang loop unroll_count(4)
  for (size_t k = 0; k < depth; k++, panel += panel_stride) {
    vec value[4];
    EACH(v, vectors) value[v] = load(panel + v * LANES);
    EACH(r, rows) {
      const vec factor = splat(*(const float *)(at[r / 3] + r % 3 * row));
      EACH(v, vectors) sum[r][v] = multiply_add(factor, value[v], sum[r][v]);
    }
    for (int r = 0; r < rows; r += 3) at[r / 3] += x_step * (ptrdiff_t)sizeof(float);
  }
  EACH(r, rows) {
    EACH(v, vectors) {
      float *to = y + r * y_stride + v * LANES;
      if (!begins) sum[r][v] = factors ? multiply_add(load(to), splat(factors[r]), sum[r][v]) : load(to) + sum[r][v];
      store(to, sum[r][v]);
    }
  }
}

/// The same for ROWS rows and any number of vectors, in the tiles that fill the registers best.
static inline __attribute__((always_inline)) void rows_tile(const float *x, ptrdiff_t x_row, ptrdiff_t x_step,
                                                            const float *panel, ptrdiff_t panel_stride, size_t depth,
                                                            float *y, ptrdiff_t y_stride, size_t width,
                                                            const float *factors) {
  size_t j = 0;
#define SMALL_TILE(row, rows, vectors)                                                                           \
  small_tile(rows, vectors, x + (row) * x_row, x_row, x_step, panel + j, panel_stride, depth,                    \
             y + (row) * y_stride + j, y_stride, 0, factors ? factors + (row) : NULL)
#if TILE_ROWS == 12
  for (; j + 4 * LANES <= width; j += 4 * LANES) {
    SMALL_TILE(0, 6, 4);
    SMALL_TILE(6, 6, 4);
  }
  for (; j + 3 * LANES <= width; j += 3 * LANES) {
    SMALL_TILE(0, 6, 3);
    SMALL_TILE(6, 6, 3);
  }
#endif
  for (; j + 2 * LANES <= width; j += 2 * LANES) SMALL_TILE(0, ROWS, 2);
  for (; j < width; j += LANES) SMALL_TILE(0, ROWS, 1);
#undef SMALL_TILE
}

static inline __attribute__((always_inline)) void add_rows_tile(const float *x, ptrdiff_t x_row, ptrdiff_t x_step,
                                                                const float *panel, ptrdiff_t panel_stride,
                                                                size_t depth, float *y, ptrdiff_t y_stride,
                                                                size_t width) {
  rows_tile(x, x_row, x_step, panel, panel_stride, depth, y, y_stride, width, NULL);
}

static inline __attribute__((always_inline)) void add_rows_tile_scaled(const float *x, ptrdiff_t x_row,
                                                                       ptrdiff_t x_step, const float *panel,
                                                                       ptrdiff_t panel_stride, size_t depth, float *y,
                                                                       ptrdiff_t y_stride, size_t width,
                                                                       const float *factors) {
  rows_tile(x, x_row, x_step, panel, panel_stride, depth, y, y_stride, width, factors);
}

/// y[ROWS][WIDTH] = ROWS rows of x [depth] times a panel [depth][WIDTH], in two sums of half the depth.
static inline __attribute__((always_inline)) void scores_tile(const float *x, ptrdiff_t x_row, const float *panel,
                                                              size_t depth, float *y, ptrdiff_t y_stride) {
  const size_t half = depth / 2;
  small_tile(ROWS, 2, x, x_row, 1, panel, WIDTH, half, y, y_stride, 1, NULL);
  small_tile(ROWS, 2, x + half, x_row, 1, panel + half * WIDTH, WIDTH, depth - half, y, y_stride, 0, NULL);
}

static inline size_t rounded_up(size_t count, size_t step) { return (count + step - 1) / step * step; }

/// `count` rows of `width` elements as floats to rows of `padded` floats; rows up to `rows`, and what is beyond the
/// width, are zero.
static void copy_rows(const void *from, int kind, ptrdiff_t stride, size_t count, size_t width, float *out,
                      size_t rows, size_t padded) {
  const size_t bytes = width_of(kind);
  for (size_t r = 0; r < count; r++, out += padded) {
    const char *row = (const char *)from + (ptrdiff_t)r * stride * (ptrdiff_t)bytes;
    size_t i = 0;
    for (; i + LANES <= width; i += LANES) store(out + i, load_weight(row + i * bytes, kind));
    if (i < width) store(out + i, load_weight_part(row + i * bytes, width - i, kind));
  }
  if (rows > count) memset(out, 0, (rows - count) * padded * sizeof(float));
}

/// `count` rows of `width` elements, transposed: panels of WIDTH rows, [width][WIDTH]. Rows that fill the last
/// panel are zero.
static void copy_panels(const void *from, int kind, ptrdiff_t stride, size_t count, size_t width, float *out) {
  const lmoe_term rows = {.weight = from, .weight_stride = stride, .kind = kind, .is_transposed = 1, .depth = width};
  for (size_t first = 0; first < count; first += WIDTH, out += WIDTH * width) {
    const size_t end = count - first < WIDTH ? count : first + WIDTH;
    pack(&rows, first, end, 0, width, out, 0);
    for (size_t k = 0; k < width && end - first <= LANES; k++) store(out + k * WIDTH + LANES, zero());
  }
}

/// What of `size` places from `first` on the places [low, high) are.
typedef struct {
  size_t low, high;
} seen_range;
static inline seen_range seen_of(ptrdiff_t low, ptrdiff_t high, ptrdiff_t first, size_t size) {
  const ptrdiff_t from = low - first, end = high - first, most = (ptrdiff_t)size;
  seen_range seen = {from < 0 ? 0 : from > most ? size : (size_t)from, end < 0 ? 0 : end > most ? size : (size_t)end};
  if (seen.high < seen.low) seen.high = seen.low;
  return seen;
}
