// Products with many rows: the weight is packed into panels, columns x depth, in the scratch; then a tile of sums
// is kept in registers over the whole depth of all terms. A part of every instruction set's translation unit.
//
// Each sum is one chain of fused multiply-adds in the order of k, whatever the tile, the range of columns or
// the number of rows: they change no bit of it.

#include "gemm_pack.h"

enum { ROWS = TILE_ROWS, DEPTH = 640, PARTS = 8, UNROLLED = 4 };

/// What a pointer is made of is hidden, so that the compiler computes no other address from it.
#define HIDE(pointer) __asm__("" : "+r"(pointer))

/// What a panel covers of one term.
typedef struct {
  const lmoe_term *term;
  const float *x;
  size_t from, depth;
} part;

/// sum += x[k] of each row times a row of the panel.
static inline __attribute__((always_inline)) void add_products(const int rows, const int vectors, const char *const *x,
                                                               ptrdiff_t stride, const int k, const float *panel,
                                                               vec sum[ROWS][2]) {
  vec weight[2];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) weight[v] = load(panel + v * LANES);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    const vec factor = splat(*(const float *)(x[r / 3] + r % 3 * stride + k * (int)sizeof(float)));
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) sum[r][v] = multiply_add(factor, weight[v], sum[r][v]);
  }
}

/// y[rows][vectors * LANES] of the panel (+)= the sum of the parts, of which x is that of the tile's first row.
static inline __attribute__((always_inline)) void tile(const int rows, const int vectors, const part *parts,
                                                       size_t part_count, size_t row, const float *panel, float *y,
                                                       ptrdiff_t y_stride, int accumulates) {
  vec sum[ROWS][2];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++)
      sum[r][v] = accumulates ? load(y + r * y_stride + v * LANES) : zero();
  }
  for (size_t p = 0; p < part_count; p++) {
    const ptrdiff_t stride = parts[p].term->x_stride * (ptrdiff_t)sizeof(float);
    // Rows are addressed by threes, at one, two and no strides: fewer instructions for a multiplication. That counts
    // where another thread of the core takes every second cycle in which they are decoded.
    const char *x[(ROWS + 2) / 3];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r += 3) {
      x[r / 3] = (const char *)parts[p].x + ((ptrdiff_t)row + r) * stride;
      HIDE(x[r / 3]);
    }
    size_t left = parts[p].depth;
    for (; left >= UNROLLED; left -= UNROLLED, panel += UNROLLED * WIDTH) {
#pragma clang loop unroll(full)
      for (int k = 0; k < UNROLLED; k++) add_products(rows, vectors, x, stride, k, panel + k * WIDTH, sum);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r += 3) x[r / 3] += UNROLLED * sizeof(float);
    }
    for (; left > 0; left--, panel += WIDTH) {
      add_products(rows, vectors, x, stride, 0, panel, sum);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r += 3) x[r / 3] += sizeof(float);
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) store(y + r * y_stride + v * LANES, sum[r][v]);
  }
}

typedef void tile_function(const part *parts, size_t part_count, size_t row, const float *panel, float *y,
                           ptrdiff_t y_stride, int accumulates);
#define TILE(rows, vectors)                                                                                    \
  static void tile_##rows##_##vectors(const part *parts, size_t part_count, size_t row, const float *panel,    \
                                      float *y, ptrdiff_t y_stride, int accumulates) {                         \
    tile(rows, vectors, parts, part_count, row, panel, y, y_stride, accumulates);                              \
  }
#define TILES(rows) TILE(rows, 1) TILE(rows, 2)
TILES(1) TILES(2) TILES(3) TILES(4)
#if TILE_ROWS > 4
TILES(5) TILES(6)
#endif
#if TILE_ROWS > 6
TILES(7) TILES(8)
#endif
#if TILE_ROWS > 8
TILES(9) TILES(10) TILES(11) TILES(12)
#endif
#undef TILE
#undef TILES

#define BOTH(rows) {tile_##rows##_1, tile_##rows##_2}
static tile_function *const tiles[ROWS][2] = {
    BOTH(1), BOTH(2), BOTH(3), BOTH(4),
#if TILE_ROWS > 4
    BOTH(5), BOTH(6),
#endif
#if TILE_ROWS > 6
    BOTH(7), BOTH(8),
#endif
#if TILE_ROWS > 8
    BOTH(9), BOTH(10), BOTH(11), BOTH(12),
#endif
};
#undef BOTH

/// A tile of fewer than WIDTH columns: computed whole, kept in part.
static void edge_tile(const part *parts, size_t part_count, size_t row, size_t rows, const float *panel,
                      size_t columns, float *y, ptrdiff_t y_stride, int accumulates) {
  float edge[ROWS * WIDTH];
  size_t vectors = columns > LANES ? 2 : 1;
  if (accumulates) {
    for (size_t r = 0; r < rows; r++) {
      memset(edge + r * WIDTH, 0, sizeof(float) * WIDTH);
      memcpy(edge + r * WIDTH, y + (ptrdiff_t)r * y_stride, columns * sizeof(float));
    }
  }
  tiles[rows - 1][vectors - 1](parts, part_count, row, panel, edge, WIDTH, accumulates);
  for (size_t r = 0; r < rows; r++)
    memcpy(y + (ptrdiff_t)r * y_stride, edge + r * WIDTH, columns * sizeof(float));
}

/// All rows of columns [first, end), which are packed at `panels`.
static void sweep(size_t m, const part *parts, size_t part_count, size_t depth, const float *panels, size_t first,
                  size_t end, float *y, ptrdiff_t y_stride, int accumulates) {
  // Tiles of equal height: a last one of a row or two would not fill the pipes.
  size_t tile_count = (m + ROWS - 1) / ROWS;
  for (size_t t = 0; t < tile_count; t++) {
    size_t row = m * t / tile_count, rows = m * (t + 1) / tile_count - row;
    float *at = y + (ptrdiff_t)row * y_stride;
    const float *panel = panels;
    for (size_t j = first; j < end; j += WIDTH, panel += depth * WIDTH) {
      size_t columns = end - j < WIDTH ? end - j : WIDTH;
      if (columns == WIDTH) {
        tiles[rows - 1][1](parts, part_count, row, panel, at + j, y_stride, accumulates);
      } else {
        edge_tile(parts, part_count, row, rows, panel, columns, at + j, y_stride, accumulates);
      }
    }
  }
}

static void gemm_panels(size_t m, const lmoe_term *terms, size_t term_count, size_t first, size_t end, float *y,
                        ptrdiff_t y_stride, int accumulates, float *scratch) {
  size_t total = 0;
  for (size_t t = 0; t < term_count; t++) total += terms[t].depth;
  // Passes of equal depth, in whole vectors; where there is nothing to add up, one all the same.
  size_t passes = total == 0 ? 1 : (total + DEPTH - 1) / DEPTH;
  size_t longest = total == 0 ? LANES : ((total + passes - 1) / passes + LANES - 1) / LANES * LANES;
  // As many panels at a time as the scratch holds: meanwhile a tile's rows of x stay in the nearest cache.
  size_t group = SCRATCH / (longest * WIDTH) * WIDTH;
  for (size_t j = first; j < end; j += group) {
    size_t group_end = end - j < group ? end : j + group;
    size_t term = 0, from = 0;
    int adds = accumulates;
    do {
      // One pass: up to `longest` of the depth of all terms.
      part parts[PARTS];
      size_t count = 0, depth = 0;
      while (term < term_count && count < PARTS && depth < longest) {
        size_t left = terms[term].depth - from, room = longest - depth;
        size_t length = left < room ? left : room;
        if (length > 0) parts[count++] = (part){&terms[term], terms[term].x + from, from, length};
        depth += length;
        from += length;
        if (from == terms[term].depth) {
          term++;
          from = 0;
        }
      }
      float *packed = scratch;
      for (size_t p = 0; p < count; p++) {
        pack(parts[p].term, j, group_end, parts[p].from, parts[p].depth, packed, depth * WIDTH);
        packed += parts[p].depth * WIDTH;
      }
      sweep(m, parts, count, depth, scratch, j, group_end, y, y_stride, adds);
      adds = 1;
    } while (term < term_count);
  }
}
