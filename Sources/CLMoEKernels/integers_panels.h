// Products with many rows of x: 32 rows of the weight are packed, their bytes four deep and their scales, and a tile
// of sums is kept in registers over the whole depth. For sets with a product of four bytes at once.

enum {
  WIDTH = 2 * LANES,
  TILE = 4,
  /// Runs of the depth that a pass covers: as many as a panel of them leaves room for in the scratch.
  PASS_RUNS = 128,
};

/// A panel of WIDTH columns: for each four elements of the depth WIDTH times those four, for each run WIDTH scales (two
/// lots for Q6_K, whose runs are of sixteen) and, for Q4_K, as many minima.
typedef struct {
  const uint8_t *q;
  const float *scale;
} panel;

INLINE size_t scales_of_run(integer_form form) { return form == FORM_Q6_K || form == FORM_Q4_K ? 2 : 1; }
INLINE size_t panel_floats(integer_form form, size_t runs) {
  return runs * WIDTH * (X_RUN / 4 + scales_of_run(form));
}

/// Packs LANES rows of the weight, of which there are `count`, from run `from` on.
INLINE void pack_lanes(const integer_form form, const uint8_t *weight,
                                                             size_t stride, size_t count, size_t depth, size_t from,
                                                             size_t runs, uint8_t *q, float *scale) {
  const size_t elements = (size_t)stretch_elements(form);
  const int parts = (int)elements / SPAN;
  const size_t per_run = scales_of_run(form);
  for (size_t k = from * X_RUN; k < (from + runs) * X_RUN; k += elements) {
    const uint8_t *at[LANES];
    head heads[LANES];
    vec factors[LANES];
    const size_t whole = k + elements <= depth;
    uint8_t rests[LANES][MOST_STRETCH_BYTES];
    EACH(c, LANES) {
      const uint8_t *row = weight + ((size_t)c < count ? (size_t)c * stride : 0);
      at[c] = row + form_head(form) + k / form_elements(form) * form_bytes(form);
      if (!whole) {
        memset(rests[c], 0, sizeof rests[c]);
        memcpy(rests[c], at[c], (depth - k) / form_elements(form) * form_bytes(form));
        at[c] = rests[c];
      }
      heads[c] = read_head(form, at[c]);
      if (form == FORM_I8_ROW) {
        float value;
        memcpy(&value, row, 4);
        heads[c].scales = splat(value);
      }
    }
    for (int part = 0; part < parts; part++) {
      const size_t run = (k + (size_t)part * SPAN) / X_RUN - from;
      vec block[LANES];
      EACH(c, LANES) {
        block[c] = (vec)read_bytes(form, at[c], part);
        factors[c] = form == FORM_I8_ROW ? heads[c].scales : scale_of(form, &heads[c], part, splat(1));
      }
      transpose(block);
      transpose(factors);
      EACH(i, LANES) {
        if (i < LANES / 2 || run + 1 < runs)
          _mm512_storeu_ps((float *)(q + (run * X_RUN / 4 + (size_t)i) * WIDTH * 4), block[i]);
      }
      for (size_t half = 0; half < 2 && run + half < runs; half++) {
        float *to = scale + (run + half) * per_run * WIDTH;
        store(to, factors[half * 8]);
        if (form == FORM_Q6_K) store(to + WIDTH, factors[half * 8 + 4]);
      }
    }
    if (form == FORM_Q4_K) {
      EACH(c, LANES) factors[c] = minima_of(&heads[c]);
      transpose(factors);
      for (size_t run = 0; run < 8; run++)
        store(scale + ((k / X_RUN - from + run) * per_run + 1) * WIDTH, factors[2 * run]);
    }
  }
}

/// y[rows][WIDTH] of the panel (+)= `rows` rows of x from run `from` on.
INLINE void integer_tile(const int rows, const integer_form form, const x_row *x,
                                                               panel panel, size_t from, size_t runs, float *y,
                                                               ptrdiff_t y_stride, int accumulates) {
  vec sum[TILE][2];
  EACH(r, rows) {
    EACH(v, 2) sum[r][v] = accumulates ? load(y + r * y_stride + v * LANES) : zero();
  }
  const uint8_t *q = panel.q;
  const float *scale = panel.scale;
  const int halves = form == FORM_Q6_K ? 2 : 1;
  for (size_t run = from; run < from + runs; run++) {
    EACH(half, halves) {
      __m512i products[TILE][2], lower[TILE][2];
      EACH(r, rows) {
        // What the offset of the weight adds is taken off beforehand.
        const int32_t *sums = x[r].sum + 2 * run;
        const int32_t total = halves == 2 ? sums[half] : sums[0] + sums[1];
        EACH(v, 2) {
          lower[r][v] = _mm512_set1_epi32(-offset_of(form) * total);
          products[r][v] = _mm512_setzero_si512();
        }
      }
      EACH(step, X_RUN / 4 / halves) {
        const size_t k = run * X_RUN + (size_t)(half * (X_RUN / 2) + 4 * step);
        __m512i weight[2];
        EACH(v, 2) weight[v] = _mm512_loadu_si512(q + v * LANES * 4);
        EACH(r, rows) {
          int32_t high, low;
          memcpy(&high, x[r].high + k, 4);
          memcpy(&low, x[r].low + k, 4);
          EACH(v, 2) products[r][v] = _mm512_dpbusd_epi32(products[r][v], weight[v], _mm512_set1_epi32(high));
          EACH(v, 2) lower[r][v] = _mm512_dpbusd_epi32(lower[r][v], weight[v], _mm512_set1_epi32(low));
        }
        q += WIDTH * 4;
      }
      vec factor[2];
      EACH(v, 2) factor[v] = load(scale + v * LANES);
      EACH(r, rows) {
        const vec own = splat(x[r].scale[run]);
        EACH(v, 2) {
          __m512i whole = _mm512_add_epi32(_mm512_slli_epi32(products[r][v], LOW_BITS), lower[r][v]);
          sum[r][v] = multiply_add(_mm512_cvtepi32_ps(whole), factor[v] * own, sum[r][v]);
        }
      }
      scale += WIDTH;
    }
    if (form == FORM_Q4_K) {
      EACH(r, rows) {
        const vec total = splat(x[r].scale[run] * (float)(x[r].sum[2 * run] + x[r].sum[2 * run + 1]));
        EACH(v, 2) sum[r][v] = minus_product(load(scale + v * LANES), total, sum[r][v]);
      }
      scale += WIDTH;
    }
  }
  EACH(r, rows) {
    EACH(v, 2) store(y + r * y_stride + v * LANES, sum[r][v]);
  }
}

typedef void tile_function(const x_row *x, panel panel, size_t from, size_t runs, float *y, ptrdiff_t y_stride,
                           int accumulates);
// With an offset (that of the form stands for others with the same), with minima, and with runs of sixteen.
#define TILE_OF(rows, form)                                                                                     \
  static void tile_##rows##_##form(const x_row *x, panel panel, size_t from, size_t runs, float *y,             \
                                   ptrdiff_t y_stride, int accumulates) {                                       \
    integer_tile(rows, form, x, panel, from, runs, y, y_stride, accumulates);                                   \
  }
#define TILES_OF(form)                                                                                          \
  TILE_OF(1, form) TILE_OF(2, form) TILE_OF(3, form) TILE_OF(4, form)                                            \
  static tile_function *const tiles_##form[TILE] = {tile_1_##form, tile_2_##form, tile_3_##form,                \
                                                    tile_4_##form};
TILES_OF(FORM_Q8_0) TILES_OF(FORM_Q4_0) TILES_OF(FORM_Q4_K) TILES_OF(FORM_Q6_K) TILES_OF(FORM_I4_32)
#undef TILE_OF
#undef TILES_OF

static tile_function *const *tiles_of(integer_form form) {
  switch (form) {
    case FORM_Q4_0: return tiles_FORM_Q4_0;
    case FORM_Q4_K: return tiles_FORM_Q4_K;
    case FORM_Q6_K: return tiles_FORM_Q6_K;
    case FORM_I4_32: case FORM_I4_64: case FORM_I4_128: return tiles_FORM_I4_32;
    default: return tiles_FORM_Q8_0;
  }
}

static void pack_panel(integer_form form, const uint8_t *weight, size_t stride, size_t count, size_t depth, size_t from,
                       size_t runs, uint8_t *q, float *scale) {
#define PACK(form) \
  case form: pack_lanes(form, weight, stride, count, depth, from, runs, q, scale); break;
  switch (form) {
    PACK(FORM_Q8_0) PACK(FORM_Q4_0) PACK(FORM_Q4_K) PACK(FORM_Q6_K) PACK(FORM_I8_ROW) PACK(FORM_I4_32) PACK(FORM_I4_64)
    PACK(FORM_I4_128)
    case FORMS: break;
  }
#undef PACK
}

static void integer_panels(size_t m, const lmoe_term *term, integer_form form, size_t first, size_t end, float *y,
                           ptrdiff_t y_stride, int accumulates, float *scratch) {
  const size_t stride = row_bytes(term, form), depth = term->depth;
  const size_t total = (depth + X_RUN - 1) / X_RUN;
  tile_function *const *tiles = tiles_of(form);
  for (size_t from = 0; from < total; from += PASS_RUNS) {
    const size_t runs = total - from < PASS_RUNS ? total - from : PASS_RUNS;
    const int adds = accumulates || from > 0;
    const size_t each = panel_floats(form, runs), group = SCRATCH / each * WIDTH;
    for (size_t j = first; j < end; j += group) {
      const size_t group_end = end - j < group ? end : j + group;
      float *to = scratch;
      for (size_t c = j; c < group_end; c += WIDTH, to += each) {
        uint8_t *q = (uint8_t *)to;
        float *scale = to + runs * WIDTH * (X_RUN / 4);
        for (size_t half = 0; half < 2; half++) {
          const size_t at = c + half * LANES;
          if (at >= group_end) break;
          pack_panel(form, (const uint8_t *)term->weight + at * stride, stride,
                     group_end - at < LANES ? group_end - at : LANES, depth, from, runs, q + half * LANES * 4,
                     scale + half * LANES);
        }
      }
      // Tiles of equal height: a last one of a row or two would not fill the pipes.
      const size_t tile_count = (m + TILE - 1) / TILE;
      for (size_t t = 0; t < tile_count; t++) {
        const size_t row = m * t / tile_count, rows = m * (t + 1) / tile_count - row;
        x_row x[TILE];
        for (size_t r = 0; r < rows; r++) x[r] = x_row_at(term->x_integers, row + r, depth);
        to = scratch;
        for (size_t c = j; c < group_end; c += WIDTH, to += each) {
          const panel panel = {(const uint8_t *)to, to + runs * WIDTH * (X_RUN / 4)};
          const size_t columns = group_end - c < WIDTH ? group_end - c : WIDTH;
          float *out = y + (ptrdiff_t)row * y_stride + c;
          if (columns == WIDTH) {
            tiles[rows - 1](x, panel, from, runs, out, y_stride, adds);
            continue;
          }
          // A tile of fewer columns: computed whole, kept in part.
          float edge[TILE * WIDTH] = {0};
          for (size_t r = 0; r < rows && adds; r++)
            memcpy(edge + r * WIDTH, out + (ptrdiff_t)r * y_stride, columns * sizeof(float));
          tiles[rows - 1](x, panel, from, runs, edge, WIDTH, adds);
          for (size_t r = 0; r < rows; r++)
            memcpy(out + (ptrdiff_t)r * y_stride, edge + r * WIDTH, columns * sizeof(float));
        }
      }
    }
  }
}
