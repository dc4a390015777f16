// Attention of many queries that follow each other to keys and values before them. A part of every instruction set's
// translation unit.
//
// LMOE_ATTENTION_QUERIES rows of queries go through the keys, KEYS_AT_ONCE at a time, which meanwhile are in the
// nearest caches: scores, their exponentials less the largest so far, and the products with the values; where a later
// score is larger, what there is becomes smaller. Parts of keys begin at multiples of KEYS_AT_ONCE whatever the
// queries are, so that a row has the same bits in whatever block it is.

/// Vectors of eight take 2 % less time with 128 than with 64; with longer ones 64 are what was measured.
enum { KEYS_AT_ONCE = LANES > 8 ? ATTENTION_KEYS / 2 : ATTENTION_KEYS };

/// The parts of the scratch.
typedef struct {
  float *queries, *sums, *keys, *values, *scores, *largest, *totals;
  /// The head's width in whole vectors.
  size_t padded;
} attention_scratch;

static inline attention_scratch attention_parts(float *scratch, size_t width) {
  attention_scratch parts = {.padded = rounded_up(width, LANES)};
  const size_t rows = LMOE_ATTENTION_QUERIES * parts.padded, keys = KEYS_AT_ONCE * parts.padded;
  parts.queries = scratch;
  parts.sums = parts.queries + rows;
  parts.keys = parts.sums + rows;
  parts.values = parts.keys + keys;
  parts.scores = parts.values + keys;
  parts.largest = parts.scores + ATTENTION_ROWS * KEYS_AT_ONCE;
  parts.totals = parts.largest + LMOE_ATTENTION_QUERIES;
  return parts;
}

/// Row `row` of scores of keys from `first` on: those it does not see become minus infinity.
static inline void mask_scores(const lmoe_attention *a, size_t row, size_t first, size_t count, float *scores) {
  const ptrdiff_t place = (ptrdiff_t)(a->position + row);
  const ptrdiff_t low = a->window > 0 ? place - (ptrdiff_t)a->window + 1 : 0;
  const seen_range seen = seen_of(low, place + 1, (ptrdiff_t)first, count);
  for (size_t i = 0; i < seen.low; i++) scores[i] = -INFINITY;
  for (size_t i = seen.high; i < count; i++) scores[i] = -INFINITY;
}

/// The exponentials of ROWS rows of scores, less the largest of each row so far; `factors` becomes by what is to be
/// multiplied that came before.
static inline void attend_exponentials(float *scores, size_t count, float *largest, float *totals, float *factors) {
  float before[ATTENTION_ROWS], base[ATTENTION_ROWS];
  EACH(r, ROWS) {
    const float *row = scores + r * KEYS_AT_ONCE;
    vec most = splat(largest[r]);
    for (size_t i = 0; i < count; i += LANES) most = larger(load(row + i), most);
    before[r] = largest[r];
    largest[r] = largest_lane(most);
    // Where there is nothing to see, nothing is taken away, for infinity less infinity is no number.
    base[r] = largest[r] == -INFINITY ? 0 : largest[r];
  }
  for (size_t r = 0; r < ROWS; r += LANES) store(factors + r, exponential(load(before + r) - load(base + r)));
  EACH(r, ROWS) {
    float *row = scores + r * KEYS_AT_ONCE;
    vec total = load(totals + r * LANES) * splat(factors[r]);
    const vec less = splat(base[r]);
    for (size_t i = 0; i < count; i += LANES) {
      const vec value = exponential(load(row + i) - less);
      store(row + i, value);
      total += value;
    }
    store(totals + r * LANES, total);
  }
}

/// The rows of queries from `row` on, ROWS of them, with `count` keys from `first` on.
static inline void attend_rows(const lmoe_attention *a, const attention_scratch *s, size_t row, size_t first,
                               size_t count, const float *values, ptrdiff_t value_stride) {
  // What the last of the rows sees; and whether the first one sees all of that, and the last one from the beginning.
  const size_t last = a->position + row + ROWS - 1, visible = last + 1 - first < count ? last + 1 - first : count;
  const size_t width = rounded_up(visible, LANES);
  const float *queries = s->queries + row * s->padded;
  for (size_t j = 0; j < width; j += WIDTH)
    scores_tile(queries, (ptrdiff_t)s->padded, s->keys + j * a->width, a->width, s->scores + j, KEYS_AT_ONCE);
  const int hides = a->position + row + 1 < first + width || (a->window > 0 && last + 1 > first + a->window);
  if (hides || width > count) {
    for (size_t r = 0; r < ROWS; r++) mask_scores(a, row + r, first, width, s->scores + r * KEYS_AT_ONCE);
  }
  float factors[ATTENTION_ROWS];
  attend_exponentials(s->scores, width, s->largest + row, s->totals + row * LANES, factors);
  add_rows_tile_scaled(s->scores, KEYS_AT_ONCE, 1, values, value_stride, visible, s->sums + row * s->padded,
                       (ptrdiff_t)s->padded, s->padded, factors);
}

static void attend_finish(const lmoe_attention *a, const attention_scratch *s) {
  for (size_t r = 0; r < a->rows; r++) {
    vec total = load(s->totals + r * LANES);
    const float sum = sum_of(total), share = sum == 0 ? 0 : 1 / sum;
    const float *from = s->sums + r * s->padded;
    float *to = a->out + (ptrdiff_t)r * a->out_stride;
    size_t i = 0;
    for (; i + LANES <= a->width; i += LANES) store(to + i, load(from + i) * share);
    if (i < a->width) store_part(to + i, load_part(from + i, a->width - i) * share, a->width - i);
    if (!a->largest) continue;
    // Where all is masked, nothing is to be taken away on the way back either.
    a->largest[r] = s->largest[r] == -INFINITY ? 0 : s->largest[r];
    a->shares[r] = share;
  }
}

static void attend(const lmoe_attention *a, float *scratch) {
  const attention_scratch s = attention_parts(scratch, a->width);
  const size_t rows = rounded_up(a->rows, ROWS);
  copy_rows(a->queries, LMOE_F32, a->query_stride, a->rows, a->width, s.queries, rows, s.padded);
  memset(s.sums, 0, rows * s.padded * sizeof(float));
  memset(s.totals, 0, rows * LANES * sizeof(float));
  for (size_t r = 0; r < rows; r++) s.largest[r] = -INFINITY;
  const size_t end = a->position + a->rows;
  const size_t start = a->window > 0 && a->position + 1 > a->window ? a->position + 1 - a->window : 0;
  // Values of whole vectors of floats are read where they are.
  const int is_direct = a->kind == LMOE_F32 && a->width == s.padded;
  const size_t bytes = width_of(a->kind);
  for (size_t first = start / KEYS_AT_ONCE * KEYS_AT_ONCE; first < end; first += KEYS_AT_ONCE) {
    const size_t count = end - first < KEYS_AT_ONCE ? end - first : KEYS_AT_ONCE;
    const char *keys = (const char *)a->keys + first * (size_t)a->key_stride * bytes;
    const char *values = (const char *)a->values + first * (size_t)a->value_stride * bytes;
    copy_panels(keys, a->kind, a->key_stride, count, a->width, s.keys);
    if (!is_direct) copy_rows(values, a->kind, a->value_stride, count, a->width, s.values, count, s.padded);
    // The first rows may not see as far, the last ones not so far back.
    size_t row = first > a->position ? (first - a->position) / ROWS * ROWS : 0;
    for (; row < rows; row += ROWS) {
      if (a->window > 0 && a->position + row + 1 > first + count - 1 + a->window) break;
      attend_rows(a, &s, row, first, count, is_direct ? (const float *)values : s.values,
                  is_direct ? a->value_stride : (ptrdiff_t)s.padded);
    }
  }
  attend_finish(a, &s);
}
