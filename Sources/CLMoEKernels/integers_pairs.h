// Products with many rows of x where pairs of integers of sixteen bits are multiplied and summed at once: 2 LANES
// products of an instruction, twice as many as of floats. Sixteen rows of the weight are packed, and the sums of a tile
// are kept in registers over a run.

enum {
  WIDTH = 2 * LANES,
  TILE = 4,
  /// What is packed of sixteen rows of the weight stays in the nearest cache with four rows of x, the rows of x in the
  /// next one.
  PASS_RUNS = 16,
  PASS_ROWS = 128,
  /// Rows of x that are asked for ahead, and bytes of a line of the caches.
  ROWS_AHEAD = 4,
  LINE = 64,
};

/// A panel of WIDTH columns. Of each four elements of the depth, of the first and the third WIDTH pairs, then of the
/// other two; for each run WIDTH scales (two lots for Q6_K, whose runs are of sixteen) and, for Q4_K, as many minima.
typedef struct {
  int16_t *q;
  float *scale;
} panel;

enum { RUN_INTEGERS = X_RUN * WIDTH };

INLINE size_t scales_of_run(integer_form form) { return form == FORM_Q6_K || form == FORM_Q4_K ? 2 : 1; }

/// Loads stay behind what came before them, so that no sum is put away in memory: registers are few.
#define KEEP_ORDER(sum) __asm__ volatile("" : "+x"(sum)::"memory")

/// Packs LANES rows of the weight, of which there are `count`, from run `from` on, to the left or right half of a panel.
INLINE void pack_lanes(const integer_form form, const uint8_t *weight, size_t stride, size_t count, size_t depth,
                       size_t from, size_t runs, int16_t *q, float *scale) {
  const size_t elements = (size_t)stretch_elements(form);
  const int parts = (int)elements / SPAN;
  const size_t per_run = scales_of_run(form);
  for (size_t k = from * X_RUN; k < (from + runs) * X_RUN; k += elements) {
    const uint8_t *at[LANES];
    head heads[LANES];
    uint8_t rests[LANES][MOST_STRETCH_BYTES];
    for (size_t c = 0; c < LANES; c++) {
      const uint8_t *row = weight + (c < count ? c * stride : 0);
      at[c] = row + form_head(form) + k / form_elements(form) * form_bytes(form);
      if (k + elements > depth) {
        memset(rests[c], 0, sizeof rests[c]);
        memcpy(rests[c], at[c], (depth - k) / form_elements(form) * form_bytes(form));
        at[c] = rests[c];
      }
      heads[c] = read_head(form, at[c]);
      if (form == FORM_I8_ROW) {
        float value;
        memcpy(&value, row, sizeof value);
        heads[c].scales = splat(value);
      }
    }
    for (int part = 0; part < parts; part++) {
      const size_t run = (k + (size_t)part * SPAN) / X_RUN - from;
      if (run >= runs) break;
      vec block[LANES];
      float *own = scale + run * per_run * WIDTH;
      EACH(c, LANES) {
        block[c] = (vec)read_bytes(form, at[c], part);
        const vec factor = form == FORM_I8_ROW ? heads[c].scales : scale_of(form, &heads[c], part, splat(1));
        own[c] = factor[0];
        if (form == FORM_Q6_K) own[WIDTH + c] = factor[LANES / 2];
        if (form == FORM_Q4_K) own[WIDTH + c] = heads[c].more[part];
      }
      transpose(block);
      int16_t *to = q + run * RUN_INTEGERS;
      EACH(i, LANES) {
        const pairs own = pairs_of_bytes((__m256i)block[i]);
        _mm256_storeu_si256((__m256i *)(to + 4 * i * WIDTH), own.even);
        _mm256_storeu_si256((__m256i *)(to + (4 * i + 2) * WIDTH), own.odd);
      }
    }
  }
}

/// y[rows][WIDTH] (+)= `rows` rows of x, `x_pairs` of which are `runs` runs from run `from` on, times a panel.
INLINE void pair_tile(const int rows, const integer_form form, const x_row *x, const int16_t *x_pairs, size_t from,
                      size_t runs, panel panel, float *y, ptrdiff_t y_stride, int accumulates) {
  enum { QUADS = X_RUN / 4 };
  const int halves = form == FORM_Q6_K ? 2 : 1;
  const int16_t *q = panel.q;
  const float *scale = panel.scale;
  const size_t stride = runs * X_RUN;
  EACH(r, rows) {
    EACH(v, 2) if (!accumulates) store(y + r * y_stride + v * LANES, zero());
  }
  for (size_t run = 0; run < runs; run++, x_pairs += X_RUN) {
    EACH(half, halves) {
      __m256i sum[TILE][2];
      EACH(step, 2 * QUADS / halves) {
        const int16_t *at = x_pairs + (step % 2) * (X_RUN / 2) + 2 * (half * (QUADS / 2) + step / 2);
        __m256i weight[2];
        EACH(v, 2) weight[v] = _mm256_loadu_si256((const __m256i *)(q + 2 * LANES * v));
        EACH(r, rows) {
          int32_t pair;
          memcpy(&pair, at + (size_t)r * stride, sizeof pair);
          EACH(v, 2) {
            const __m256i product = _mm256_madd_epi16(weight[v], _mm256_set1_epi32(pair));
            sum[r][v] = step == 0 ? product : _mm256_add_epi32(sum[r][v], product);
            KEEP_ORDER(sum[r][v]);
          }
        }
        q += 2 * WIDTH;
      }
      // Sums of floats are in memory: registers are for those of integers.
      EACH(r, rows) {
        const vec own = splat(x[r].scale[from + run]);
        EACH(v, 2) {
          float *to = y + r * y_stride + v * LANES;
          store(to, multiply_add(_mm256_cvtepi32_ps(sum[r][v]), load(scale + v * LANES) * own, load(to)));
        }
      }
      scale += WIDTH;
    }
    if (form == FORM_Q4_K) {
      EACH(r, rows) {
        const int32_t *sums = x[r].sum + 2 * (from + run);
        const vec total = splat(x[r].scale[from + run] * (float)(sums[0] + sums[1]));
        EACH(v, 2) {
          float *to = y + r * y_stride + v * LANES;
          store(to, minus_product(load(scale + v * LANES), total, load(to)));
        }
      }
      scale += WIDTH;
    }
  }
}

typedef void tile_function(const x_row *x, const int16_t *x_pairs, size_t from, size_t runs, panel panel, float *y,
                           ptrdiff_t y_stride, int accumulates);
// Q8_0 stands for all that have one scale a run.
#define TILE_OF(rows, form)                                                                                        \
  static void tile_##rows##_##form(const x_row *x, const int16_t *x_pairs, size_t from, size_t runs, panel panel,    \
                                   float *y, ptrdiff_t y_stride, int accumulates) {                                \
    pair_tile(rows, form, x, x_pairs, from, runs, panel, y, y_stride, accumulates);                                  \
  }
#define TILES_OF(form)                                                                                             \
  TILE_OF(1, form) TILE_OF(2, form) TILE_OF(3, form) TILE_OF(4, form)                                               \
  static tile_function *const tiles_##form[TILE] = {tile_1_##form, tile_2_##form, tile_3_##form, tile_4_##form};
TILES_OF(FORM_Q8_0) TILES_OF(FORM_Q4_K) TILES_OF(FORM_Q6_K)
#undef TILE_OF
#undef TILES_OF

static tile_function *const *tiles_of(integer_form form) {
  return form == FORM_Q4_K ? tiles_FORM_Q4_K : form == FORM_Q6_K ? tiles_FORM_Q6_K : tiles_FORM_Q8_0;
}

/// Packs `columns` <= WIDTH rows of the weight; what is behind them is that of the first.
static void pack_panel(integer_form form, const uint8_t *weight, size_t stride, size_t columns, size_t depth,
                       size_t from, size_t runs, panel to) {
#define PACK(form)                                                                                                  \
  case form: pack_lanes(form, own, stride, left, depth, from, runs, to.q + half * 2 * LANES, to.scale + half * LANES); \
    break;
  for (size_t half = 0; half < 2 && half * LANES < columns; half++) {
    const uint8_t *own = weight + half * LANES * stride;
    const size_t left = columns - half * LANES;
    switch (form) {
      PACK(FORM_Q8_0) PACK(FORM_Q4_0) PACK(FORM_Q4_K) PACK(FORM_Q6_K) PACK(FORM_I8_ROW) PACK(FORM_I4_32) PACK(FORM_I4_64)
      PACK(FORM_I4_128)
      case FORMS: break;
    }
  }
#undef PACK
}

INLINE size_t bytes_of_runs(integer_form form, size_t runs) {
  return runs * X_RUN / form_elements(form) * form_bytes(form);
}

/// What is packed next: `bytes` bytes of each of some rows of the weight.
typedef struct {
  const uint8_t *at;
  size_t stride, rows, bytes;
} rows_to_come;

/// Asks for a row of them.
INLINE void ask_for_row(rows_to_come *next) {
  for (size_t offset = 0; offset < next->bytes + LINE; offset += LINE) __builtin_prefetch(next->at + offset, 0, 2);
  next->at += next->stride;
}

/// Asks for a row of x: what of it is read is short, and that of the next row is elsewhere.
INLINE void ask_for_runs(const x_row *x, size_t from, size_t runs) {
  for (size_t k = from * X_RUN; k < (from + runs) * X_RUN; k += LINE) {
    __builtin_prefetch(x->high + k, 0, 3);
    __builtin_prefetch(x->low + k, 0, 3);
  }
}

/// A panel times `rows` rows of x, to y. Meanwhile memory is asked for what is packed next.
static void multiply_panel(tile_function *const *tiles, const x_row *x, size_t rows, const int16_t *x_pairs, size_t from,
                           size_t runs, panel panel, size_t columns, float *y, ptrdiff_t y_stride, int accumulates,
                           rows_to_come next) {
  // Tiles of equal height: a last one of a row or two would not fill the pipes.
  const size_t count = (rows + TILE - 1) / TILE, least = rows / count, higher = rows % count;
  size_t asked = 0, left = rows;
  for (size_t t = 0; t < count; t++) {
    for (asked += next.rows; asked >= count; asked -= count) ask_for_row(&next);
    const size_t height = least + (t < higher), coming = left - height < height ? left - height : height;
    for (size_t r = height; r < height + coming; r++) __builtin_prefetch(y + (ptrdiff_t)r * y_stride, 1, 3);
    if (columns == WIDTH) {
      tiles[height - 1](x, x_pairs, from, runs, panel, y, y_stride, accumulates);
    } else {
      // A tile of fewer columns: computed whole, kept in part.
      float edge[TILE * WIDTH] = {0};
      for (size_t r = 0; r < height && accumulates; r++)
        memcpy(edge + r * WIDTH, y + (ptrdiff_t)r * y_stride, columns * sizeof(float));
      tiles[height - 1](x, x_pairs, from, runs, panel, edge, WIDTH, accumulates);
      for (size_t r = 0; r < height; r++)
        memcpy(y + (ptrdiff_t)r * y_stride, edge + r * WIDTH, columns * sizeof(float));
    }
    x += height;
    x_pairs += height * runs * X_RUN;
    y += (ptrdiff_t)height * y_stride;
    left -= height;
  }
}

static void integer_pairs(size_t m, const lmoe_term *term, integer_form form, size_t first, size_t end, float *y,
                          ptrdiff_t y_stride, int accumulates, float *scratch) {
  const size_t stride = row_bytes(term, form), total = (term->depth + X_RUN - 1) / X_RUN;
  // Passes of equal depth, of whole stretches.
  const size_t passes = (total + PASS_RUNS - 1) / PASS_RUNS, unit = (size_t)stretch_elements(form) / X_RUN;
  const size_t deep = passes == 0 ? 0 : ((total + passes - 1) / passes + unit - 1) / unit * unit;
  int16_t *x_pairs = (int16_t *)scratch;
  const panel panel = {x_pairs + PASS_ROWS * PASS_RUNS * X_RUN, scratch + (PASS_ROWS * PASS_RUNS * X_RUN + PASS_RUNS * RUN_INTEGERS) / 2};
  x_row x[PASS_ROWS];
  for (size_t row = 0; row < m; row += PASS_ROWS) {
    const size_t rows = m - row < PASS_ROWS ? m - row : PASS_ROWS;
    for (size_t r = 0; r < rows; r++) x[r] = x_row_at(term->x_integers, row + r, term->depth);
    for (size_t from = 0; from < total; from += deep) {
      const size_t runs = total - from < deep ? total - from : deep;
      for (size_t r = 0; r < rows; r++) {
        if (r + ROWS_AHEAD < rows) ask_for_runs(&x[r + ROWS_AHEAD], from, runs);
        for (size_t run = 0; run < runs; run++) store_pairs(x_pairs + (r * runs + run) * X_RUN, pairs_of_run(&x[r], from + run));
      }
      const uint8_t *weight = (const uint8_t *)term->weight + form_head(form) + bytes_of_runs(form, from);
      for (size_t j = first; j < end; j += WIDTH) {
        const size_t columns = end - j < WIDTH ? end - j : WIDTH, left = end - j - columns;
        const rows_to_come next = {weight + (j + WIDTH) * stride, stride, left < WIDTH ? left : WIDTH,
                                   bytes_of_runs(form, runs)};
        pack_panel(form, (const uint8_t *)term->weight + j * stride, stride, columns, term->depth, from, runs, panel);
        multiply_panel(tiles_of(form), x, rows, x_pairs, from, runs, panel, columns, y + (ptrdiff_t)row * y_stride + j,
                       y_stride, accumulates || from > 0, next);
      }
    }
  }
}
