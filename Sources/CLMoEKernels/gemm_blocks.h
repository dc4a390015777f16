// Products with quantized weights: of integers, where x is there in eight bits too, else of the floats that the blocks
// stand for. A part of every instruction set's translation unit.
#include "blocks.h"

enum { Q8_0_BLOCK = 32, Q8_0_BYTES = 34, Q8_0_DEPTH = 4 };

/// y += x times `deep` rows of a weight of Q8_0, depth x columns, as far as `blocks` blocks go. As with floats, each
/// sum is one chain in the order of k; the rows are read along, for that is how they lie in memory.
static inline __attribute__((always_inline)) void add_rows_q8_0(const int deep, const float *x, const uint8_t *weight,
                                                                size_t stride, size_t blocks, float *y,
                                                                int accumulates) {
  enum { VECTORS = Q8_0_BLOCK / LANES };
  vec values[Q8_0_DEPTH];
  EACH(k, deep) values[k] = splat(x[k]);
  for (size_t b = 0; b < blocks; b++, weight += Q8_0_BYTES, y += Q8_0_BLOCK) {
    vec sum[VECTORS];
    EACH(v, VECTORS) sum[v] = accumulates ? load(y + v * LANES) : zero();
    EACH(k, deep) {
      const uint8_t *block = weight + (size_t)k * stride;
      // The same place of the rows to come.
      __builtin_prefetch(block + 2 * Q8_0_DEPTH * stride, 0, 3);
      const vec factor = values[k] * splat_half(block);
      EACH(v, VECTORS) sum[v] = multiply_add(factor, widen_bytes((const int8_t *)block + 2 + v * LANES), sum[v]);
    }
    EACH(v, VECTORS) store(y + v * LANES, sum[v]);
  }
}

static void add_product_q8_0(const float *x, const uint8_t *weight, size_t stride, size_t depth, size_t blocks,
                             float *y, int accumulates) {
  size_t k = 0;
  for (; k + Q8_0_DEPTH <= depth; k += Q8_0_DEPTH)
    add_rows_q8_0(Q8_0_DEPTH, x + k, weight + k * stride, stride, blocks, y, accumulates || k > 0);
  for (; k < depth; k++) add_rows_q8_0(1, x + k, weight + k * stride, stride, blocks, y, accumulates || k > 0);
}

static void gemm_plain_q8_0(size_t m, const lmoe_term *term, size_t first, size_t end, float *y, ptrdiff_t y_stride,
                            int accumulates) {
  const size_t stride = (size_t)term->weight_stride / Q8_0_BLOCK * Q8_0_BYTES;
  for (size_t row = 0; row < m; row++) {
    const float *x = term->x + (ptrdiff_t)row * term->x_stride;
    float *to = y + (ptrdiff_t)row * y_stride;
    if (term->depth == 0 && !accumulates) memset(to + first, 0, (end - first) * sizeof(float));
    for (size_t j = first; j < end;) {
      const size_t start = j % Q8_0_BLOCK, left = Q8_0_BLOCK - start < end - j ? Q8_0_BLOCK - start : end - j;
      const uint8_t *weight = (const uint8_t *)term->weight + j / Q8_0_BLOCK * Q8_0_BYTES;
      if (left < Q8_0_BLOCK) {
        // Part of a block: computed whole, kept in part.
        float part[Q8_0_BLOCK] = {0};
        if (accumulates) memcpy(part + start, to + j, left * sizeof(float));
        add_product_q8_0(x, weight, stride, term->depth, 1, part, accumulates);
        memcpy(to + j, part + start, left * sizeof(float));
        j += left;
      } else {
        const size_t blocks = (end - j) / Q8_0_BLOCK;
        add_product_q8_0(x, weight, stride, term->depth, blocks, to + j, accumulates);
        j += blocks * Q8_0_BLOCK;
      }
    }
  }
}

/// Whether rows of a weight of NF4 begin and end with runs, so that they need not be decoded beforehand.
static int has_whole_runs(const lmoe_term *term) {
  return term->kind == LMOE_NF4 && term->is_transposed && term->depth % NF4_RUN == 0 &&
         term->weight_stride % NF4_RUN == 0 && term->weight_first % NF4_RUN == 0;
}

/// The sums of `rows` rows of x with `count` <= DOTS rows of a weight of NF4. What a run's values add up to with x is
/// multiplied with the run's scale.
static inline __attribute__((always_inline)) void dots_nf4(const int rows, const lmoe_term *term, size_t row, size_t j,
                                                           size_t count, float *y, ptrdiff_t y_stride,
                                                           int accumulates) {
  const float *x = term->x + (ptrdiff_t)row * term->x_stride;
  size_t runs[DOTS];
  for (size_t c = 0; c < DOTS; c++)
    runs[c] = (term->weight_first + (j + (c < count ? c : 0)) * (size_t)term->weight_stride) / NF4_RUN;
  vec sum[ROWS_AT_ONCE][DOTS];
  EACH(r, rows) {
    EACH(c, DOTS) sum[r][c] = zero();
  }
  for (size_t k = 0; k < term->depth; k += NF4_RUN) {
    EACH(c, DOTS) {
      const size_t run = runs[c]++;
      const uint8_t *block = (const uint8_t *)term->weight + run / NF4_RUNS * LMOE_NF4_BYTES;
      const uint8_t *from = block + NF4_CODES + run % NF4_RUNS * (NF4_RUN / 2);
      __builtin_prefetch(from + AHEAD, 0, 3);
      float scale = lmoe_dynamic_values[block[8 + run % NF4_RUNS]] * float_at(block + 4);
      scale += float_at(block);
      vec values[NF4_RUN / LANES];
      look_up_64(lmoe_nf4_values, from, values);
      EACH(r, rows) {
        vec part = zero();
        EACH(v, NF4_RUN / LANES)
        part = multiply_add(values[v], load(x + r * term->x_stride + (ptrdiff_t)k + v * LANES), part);
        sum[r][c] = multiply_add(part, splat(scale), sum[r][c]);
      }
    }
  }
  EACH(r, rows) {
    four all = sums(sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
    float *to = y + ((ptrdiff_t)row + r) * y_stride + j;
    for (size_t c = 0; c < count; c++) to[c] = accumulates ? to[c] + all[c] : all[c];
  }
}

static void gemm_nf4(size_t m, const lmoe_term *term, size_t first, size_t end, float *y, ptrdiff_t y_stride,
                     int accumulates) {
  for (size_t j = first; j < end; j += DOTS) {
    const size_t count = end - j < DOTS ? end - j : DOTS;
    size_t row = 0;
    for (; row + 2 <= m; row += 2) dots_nf4(2, term, row, j, count, y, y_stride, accumulates);
    if (row < m) dots_nf4(1, term, row, j, count, y, y_stride, accumulates);
  }
}

/// Columns [first, end) of y (+)= x times a weight that is decoded part by part.
static void gemm_decoded(size_t m, const lmoe_term *term, size_t first, size_t end, float *y, ptrdiff_t y_stride,
                         int accumulates, float *scratch) {
  float *decoded = scratch + SCRATCH;
  const size_t room = are_few(m, term, 1) ? DECODED / 2 : DECODED, stride = (size_t)term->weight_stride;
  const size_t depth = term->depth, width = end - first;
  // So much of the depth at a time, and so many columns.
  const size_t most = room / 4;
  size_t deep = term->is_transposed ? (depth < most ? depth : most) : room / (width < most ? width : most);
  if (deep > depth) deep = depth;
  size_t wide = term->is_transposed ? room / (deep > 0 ? deep : 1) : most;
  if (term->is_transposed) wide = wide / WIDTH > 0 ? wide / WIDTH * WIDTH : wide;
  lmoe_term part = *term;
  part.kind = LMOE_F32;
  part.weight = decoded;
  for (size_t j = first; j < end; j += wide) {
    const size_t columns = end - j < wide ? end - j : wide;
    size_t from = 0;
    do {
      part.depth = depth - from < deep ? depth - from : deep;
      part.x = term->x + from;
      part.weight_stride = (ptrdiff_t)(term->is_transposed ? part.depth : columns);
      const size_t lines = term->is_transposed ? columns : part.depth;
      const size_t line = term->weight_first + (term->is_transposed ? j : from) * stride;
      const size_t at = term->is_transposed ? from : j;
      for (size_t i = 0; i < lines; i++)
        lmoe_dequantize(term->kind, term->block, term->weight, line + i * stride + at, (size_t)part.weight_stride,
                        decoded + i * (size_t)part.weight_stride);
      gemm_floats(m, &part, 1, 0, columns, y + j, y_stride, accumulates || from > 0, scratch);
      from += part.depth;
    } while (from < depth);
  }
}

static void gemm_blocks(const lmoe_integer_kernels *integers, size_t m, const lmoe_term *term, size_t first, size_t end,
                        float *y, ptrdiff_t y_stride, int accumulates, float *scratch) {
  const integer_form form = lmoe_integer_form(term->kind, term->block);
  if (term->is_transposed && term->x_integers && form != FORMS) {
    // As with floats: packing does not pay for few rows.
    if (m > FEW_ROWS && integers->panels) {
      integers->panels(m, term, form, first, end, y, y_stride, accumulates, scratch);
    } else {
      integers->rows(m, term, form, first, end, y, y_stride, accumulates);
    }
  } else if (!term->is_transposed && term->kind == LMOE_Q8_0 && m <= FEW_ROWS) {
    gemm_plain_q8_0(m, term, first, end, y, y_stride, accumulates);
  } else if (m <= FEW_ROWS && has_whole_runs(term)) {
    gemm_nf4(m, term, first, end, y, y_stride, accumulates);
  } else {
    gemm_decoded(m, term, first, end, y, y_stride, accumulates, scratch);
  }
}
