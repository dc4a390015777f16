// Products of integers in plain C, for any processor.
#include "integers.h"
#include "blocks.h"

#include <string.h>

/// A stretch is a block, or where blocks are of one element, a run of x.
enum { MOST_ELEMENTS = 256 };

/// The integers of a stretch of one row of the weight; with scales of sixteen elements each, and for Q4_K minima.
typedef struct {
  int8_t q[MOST_ELEMENTS];
  float scale[MOST_ELEMENTS / X_PART], minimum[MOST_ELEMENTS / X_PART];
} stretch;

static size_t stretch_elements(integer_form form) { return form == FORM_I8_ROW ? X_RUN : form_elements(form); }

/// `count` nibbles of the lower halves of bytes, then as many of the upper ones, less `offset`.
static inline void read_nibbles(const uint8_t *from, int count, int offset, int8_t *q) {
  for (int i = 0; i < count; i++) q[i] = (int8_t)((from[i] & 15) - offset);
  for (int i = 0; i < count; i++) q[i + count] = (int8_t)((from[i] >> 4) - offset);
}

static void read_q6_k(const uint8_t *at, stretch *out) {
  for (int part = 0; part < 8; part++) {
    const uint8_t *low = at + 64 * (part / 4) + 32 * (part & 1), *high = at + 128 + 32 * (part / 4);
    const int shift = part & 2 ? 4 : 0, bits = 2 * (part & 3);
    for (int i = 0; i < 32; i++)
      out->q[32 * part + i] = (int8_t)((((low[i] >> shift) & 15) | ((high[i] >> bits) & 3) << 4) - 32);
  }
  const float d = half_at(at + 208);
  for (int run = 0; run < 16; run++) out->scale[run] = d * (float)(int8_t)at[192 + run];
}

static void read_q4_k(const uint8_t *at, stretch *out) {
  for (int pair = 0; pair < 4; pair++) read_nibbles(at + 16 + 32 * pair, 32, 0, out->q + 64 * pair);
  for (int run = 0; run < 8; run++) {
    int scale, minimum;
    q4_k_scales(at + 4, run, &scale, &minimum);
    for (int half = 0; half < 2; half++) {
      out->scale[2 * run + half] = half_at(at) * (float)scale;
      out->minimum[2 * run + half] = half_at(at + 2) * (float)minimum;
    }
  }
}

static void read_stretch(integer_form form, const uint8_t *at, stretch *out) {
  if (form == FORM_Q4_K) {
    read_q4_k(at, out);
    return;
  }
  if (form == FORM_Q6_K) {
    read_q6_k(at, out);
    return;
  }
  const float scale = form == FORM_I8_ROW ? 1 : half_at(at);
  for (size_t i = 0; i < stretch_elements(form) / X_PART; i++) out->scale[i] = scale;
  switch (form) {
    case FORM_Q8_0: memcpy(out->q, at + 2, 32); break;
    case FORM_I8_ROW: memcpy(out->q, at, X_RUN); break;
    case FORM_Q4_0: read_nibbles(at + 2, 16, 8, out->q); break;
    default: read_nibbles(at + 3, (int)form_elements(form) / 2, at[2], out->q); break;
  }
}

/// The sum of a stretch times x from element k on, run by run in their order.
static float add_stretch(integer_form form, const stretch *weight, const x_row *x, size_t k, float sum) {
  const size_t elements = stretch_elements(form);
  for (size_t i = 0; i < elements; i += X_PART) {
    const int8_t *high = x->high + k + i, *low = x->low + k + i;
    int32_t product = 0;
    for (int j = 0; j < X_PART; j++) product += weight->q[i + (size_t)j] * ((int32_t)high[j] * (1 << LOW_BITS) + low[j]);
    const float scale = x->scale[(k + i) / X_RUN];
    sum += (float)product * (weight->scale[i / X_PART] * scale);
    if (form == FORM_Q4_K) sum -= weight->minimum[i / X_PART] * (scale * (float)x->sum[(k + i) / X_PART]);
  }
  return sum;
}

static void integer_rows(size_t m, const lmoe_term *term, integer_form form, size_t first, size_t end, float *y,
                         ptrdiff_t y_stride, int accumulates) {
  enum { ROWS = 8 };
  const size_t elements = stretch_elements(form), depth = term->depth;
  const size_t width = elements / form_elements(form) * form_bytes(form);
  const size_t stride = form_head(form) + (size_t)term->weight_stride / form_elements(form) * form_bytes(form);
  for (size_t j = first; j < end; j++) {
    const uint8_t *row = (const uint8_t *)term->weight + j * stride, *start = row + form_head(form);
    // Each stretch is read once for so many rows of x.
    for (size_t i = 0; i < m; i += ROWS) {
      const size_t rows = m - i < ROWS ? m - i : ROWS;
      float sums[ROWS] = {0};
      const uint8_t *at = start;
      for (size_t k = 0; k < depth; k += elements, at += width) {
        stretch weight;
        uint8_t rest[X_RUN] = {0};
        if (form == FORM_I8_ROW && depth - k < elements) memcpy(rest, at, depth - k);
        read_stretch(form, form == FORM_I8_ROW && depth - k < elements ? rest : at, &weight);
        for (size_t r = 0; r < rows; r++) {
          const x_row x = x_row_at(term->x_integers, i + r, depth);
          sums[r] = add_stretch(form, &weight, &x, k, sums[r]);
        }
      }
      for (size_t r = 0; r < rows; r++) {
        float *to = y + (ptrdiff_t)(i + r) * y_stride + j;
        float factor = 1;
        if (form == FORM_I8_ROW) memcpy(&factor, row, 4);
        *to = accumulates ? *to + sums[r] * factor : sums[r] * factor;
      }
    }
  }
}

const lmoe_integer_kernels lmoe_integers_portable = {integer_rows, 0, 0, 0};
