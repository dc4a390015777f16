// Weights as panels: WIDTH columns side by side, one row of the depth after the other. A part of every instruction set's
// translation unit.

enum { WIDTH = 2 * LANES };

static inline size_t width_of(int kind) { return kind == LMOE_F32 ? 4 : 2; }

/// Packs columns [first, first + count), count <= LANES, of depth [from, from + depth) to out[k][WIDTH].
static inline __attribute__((always_inline)) void pack_transposed(const lmoe_term *term, const int kind, size_t first,
                                                                  size_t count, size_t from, size_t depth,
                                                                  float *out) {
  const size_t width = kind == LMOE_F32 ? 4 : 2;
  const ptrdiff_t stride = term->weight_stride * (ptrdiff_t)width;
  const char *weight = (const char *)term->weight + (ptrdiff_t)first * stride + from * width;
  vec block[LANES];
  for (size_t k = 0; k < depth; k += LANES) {
    size_t length = depth - k < LANES ? depth - k : LANES;
    const char *at = weight + k * width;
    if (count == LANES && length == LANES) {
#pragma clang loop unroll(full)
      for (int i = 0; i < LANES; i++) {
        // The same place of the rows to come.
        __builtin_prefetch(at + (i + LANES) * stride, 0, 3);
        block[i] = load_weight(at + i * stride, kind);
      }
    } else {
      for (size_t i = 0; i < LANES; i++) {
        block[i] = i >= count        ? zero()
                   : length == LANES ? load_weight(at + (ptrdiff_t)i * stride, kind)
                                     : load_weight_part(at + (ptrdiff_t)i * stride, length, kind);
      }
    }
    transpose(block);
    if (length == LANES) {
#pragma clang loop unroll(full)
      for (int i = 0; i < LANES; i++) store(out + (k + (size_t)i) * WIDTH, block[i]);
    } else {
      for (size_t i = 0; i < length; i++) store(out + (k + i) * WIDTH, block[i]);
    }
  }
}

/// Packs columns [first, end) of depth [from, from + depth) into panels that are `panel` floats apart. Each row is read
/// along, for that is how it lies in memory.
static inline __attribute__((always_inline)) void pack_rows(const lmoe_term *term, const int kind, size_t first,
                                                            size_t end, size_t from, size_t depth, float *out,
                                                            size_t panel) {
  enum { ROWS_AHEAD = 8 };
  const size_t width = kind == LMOE_F32 ? 4 : 2;
  const ptrdiff_t stride = term->weight_stride * (ptrdiff_t)width;
  const char *weight = (const char *)term->weight + (ptrdiff_t)from * stride;
  for (size_t k = 0; k < depth; k++, weight += stride, out += WIDTH) {
    float *to = out;
    for (size_t j = first; j < end; j += WIDTH, to += panel) {
      const char *at = weight + j * width;
      __builtin_prefetch(at + ROWS_AHEAD * stride, 0, 3);
      if (end - j >= WIDTH) {
        store(to, load_weight(at, kind));
        store(to + LANES, load_weight(at + LANES * width, kind));
      } else if (end - j > LANES) {
        store(to, load_weight(at, kind));
        store(to + LANES, load_weight_part(at + LANES * width, end - j - LANES, kind));
      } else {
        store(to, end - j == LANES ? load_weight(at, kind) : load_weight_part(at, end - j, kind));
      }
    }
  }
}

/// The same of either kind of weight; panels of a transposed one are packed half by half.
static inline __attribute__((always_inline)) void pack_kind(const lmoe_term *term, const int kind, size_t first,
                                                            size_t end, size_t from, size_t depth, float *out,
                                                            size_t panel) {
  if (!term->is_transposed) return pack_rows(term, kind, first, end, from, depth, out, panel);
  for (size_t j = first; j < end; j += WIDTH, out += panel) {
    for (size_t half = 0; half < 2 && j + half * LANES < end; half++) {
      const size_t at = j + half * LANES;
      pack_transposed(term, kind, at, end - at < LANES ? end - at : LANES, from, depth, out + half * LANES);
    }
  }
}

/// Packs columns [first, end) of depth [from, from + depth) into panels that are `panel` floats apart. What a half of a
/// panel has beyond the last column is zero; a half that has no column is left as it is.
static inline void pack(const lmoe_term *term, size_t first, size_t end, size_t from, size_t depth, float *out,
                        size_t panel) {
  switch (term->kind) {
    case LMOE_F32: pack_kind(term, LMOE_F32, first, end, from, depth, out, panel); break;
    case LMOE_F16: pack_kind(term, LMOE_F16, first, end, from, depth, out, panel); break;
    case LMOE_BF16: pack_kind(term, LMOE_BF16, first, end, from, depth, out, panel); break;
  }
}
