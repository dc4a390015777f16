// The way back through attention, for one head of keys and values and the heads of queries that read it. A part of
// every instruction set's translation unit.
//
// With P = softmax(q kT), deltas = <d out, out> and dP = d out vT: dS = P * (dP - delta), dv = PT d out, dk = dST q,
// dq = dS k. A block of keys goes through the queries that see it, and P and dS, keys x queries, are of a size that
// the nearest cache keeps. Queries and gradients are laid out once in panels for the products that make P and dP.

/// The parts of the scratch.
typedef struct {
  /// Panels of queries, and of gradients; the same as rows; the gradient of the queries; and of each query the
  /// largest score, the share of what one exponential is, and its delta.
  float *query_panels, *gradient_panels, *queries, *gradients, *query_sums, *largest, *shares, *deltas;
  /// Of a block: keys, values, their gradients, P and dS.
  float *keys, *values, *key_sums, *value_sums, *p, *ds;
  size_t padded;
} gradient_scratch;

static inline gradient_scratch gradient_parts(float *scratch, size_t rows, size_t width) {
  gradient_scratch s = {.padded = rounded_up(width, LANES)};
  const size_t places = rounded_up(rows, GRADIENT_QUERIES), all = places * s.padded;
  s.query_panels = scratch;
  s.gradient_panels = s.query_panels + all;
  s.queries = s.gradient_panels + all;
  s.gradients = s.queries + all;
  s.query_sums = s.gradients + all;
  s.largest = s.query_sums + all;
  s.shares = s.largest + places;
  s.deltas = s.shares + places;
  s.keys = s.deltas + places;
  s.values = s.keys + GRADIENT_KEYS * s.padded;
  s.key_sums = s.values + GRADIENT_KEYS * s.padded;
  s.value_sums = s.key_sums + GRADIENT_KEYS * s.padded;
  s.p = s.value_sums + GRADIENT_KEYS * s.padded;
  s.ds = s.p + GRADIENT_KEYS * GRADIENT_QUERIES;
  return s;
}

/// A block of keys and a block of queries.
typedef struct {
  /// The first key, and how many; the first query, and how many.
  size_t key, keys, query, queries;
  /// Queries before this one see none of the keys.
  size_t from;
} gradient_block;

/// P and dS of a block, of which the scores and dP are there.
static inline void score_gradients(const lmoe_attention_gradient *a, const gradient_scratch *s,
                                   const gradient_block *b) {
  // What the products read: whole panels, and whole tiles of rows.
  const size_t panels = b->from / WIDTH * WIDTH, tiles = b->from / ROWS * ROWS;
  const size_t begin = panels < tiles ? panels : tiles;
  const size_t panels_end = rounded_up(b->queries, WIDTH), tiles_end = rounded_up(b->queries, ROWS);
  const size_t end = panels_end > tiles_end ? panels_end : tiles_end;
  const float *largest = s->largest + b->query, *shares = s->shares + b->query, *deltas = s->deltas + b->query;
  for (size_t r = 0; r < rounded_up(b->keys, ROWS); r++) {
    float *p = s->p + r * GRADIENT_QUERIES, *ds = s->ds + r * GRADIENT_QUERIES;
    const ptrdiff_t key = (ptrdiff_t)(b->key + r);
    const ptrdiff_t last = a->window > 0 ? key + (ptrdiff_t)a->window : (ptrdiff_t)a->rows;
    seen_range seen = seen_of(key, last, (ptrdiff_t)b->query, b->queries);
    if (r >= b->keys) seen.low = seen.high = begin;
    for (size_t i = seen.low / LANES * LANES; i < seen.high; i += LANES) {
      const vec share = exponential(load(p + i) - load(largest + i)) * load(shares + i);
      store(p + i, share);
      store(ds + i, share * (load(ds + i) - load(deltas + i)));
    }
    for (size_t i = begin; i < seen.low; i++) p[i] = ds[i] = 0;
    for (size_t i = seen.high; i < end; i++) p[i] = ds[i] = 0;
  }
}

/// Adds what a block gives to the gradients of its keys, values and queries.
static inline void gradient_of_block(const lmoe_attention_gradient *a, const gradient_scratch *s,
                                     const gradient_block *b, const float *queries, ptrdiff_t query_stride,
                                     const float *gradients, ptrdiff_t gradient_stride) {
  const ptrdiff_t padded = (ptrdiff_t)s->padded;
  const size_t rows = rounded_up(b->keys, ROWS);
  for (size_t j = b->from / WIDTH * WIDTH; j < b->queries; j += WIDTH) {
    const float *query_panel = s->query_panels + (b->query + j) * a->width;
    const float *gradient_panel = s->gradient_panels + (b->query + j) * a->width;
    for (size_t r = 0; r < rows; r += ROWS) {
      const size_t at = r * GRADIENT_QUERIES + j;
      scores_tile(s->keys + r * s->padded, padded, query_panel, a->width, s->p + at, GRADIENT_QUERIES);
      scores_tile(s->values + r * s->padded, padded, gradient_panel, a->width, s->ds + at, GRADIENT_QUERIES);
    }
  }
  score_gradients(a, s, b);
  const size_t depth = b->queries - b->from;
  const float *query_rows = queries + (ptrdiff_t)(b->query + b->from) * query_stride;
  const float *gradient_rows = gradients + (ptrdiff_t)(b->query + b->from) * gradient_stride;
  for (size_t r = 0; r < rows; r += ROWS) {
    const size_t at = r * GRADIENT_QUERIES + b->from;
    add_rows_tile(s->p + at, GRADIENT_QUERIES, 1, gradient_rows, gradient_stride, depth, s->value_sums + r * s->padded,
                  padded, s->padded);
    add_rows_tile(s->ds + at, GRADIENT_QUERIES, 1, query_rows, query_stride, depth, s->key_sums + r * s->padded, padded,
                  s->padded);
  }
  for (size_t q = b->from / ROWS * ROWS; q < b->queries; q += ROWS)
    add_rows_tile(s->ds + q, 1, GRADIENT_QUERIES, s->keys, padded, b->keys, s->query_sums + (b->query + q) * s->padded,
                  padded, s->padded);
}

/// Rows of sums of `padded` floats to rows of `width`, or onto them.
static void put_rows(const float *from, size_t padded, size_t count, size_t width, float *to, ptrdiff_t stride,
                     int accumulates) {
  for (size_t r = 0; r < count; r++, from += padded, to += stride) {
    PASS(width, {
      vec value = load_lanes(from + i, n);
      if (accumulates) value += load_lanes(to + i, n);
      store_lanes(to + i, value, n);
    })
  }
}

/// Lays out what one head of queries needs.
static void prepare_gradient(const lmoe_attention_gradient *a, const gradient_scratch *s, size_t head) {
  const float *queries = a->queries + head * a->width, *gradients = a->gradients + head * a->width;
  copy_panels(queries, LMOE_F32, a->query_stride, a->rows, a->width, s->query_panels);
  copy_panels(gradients, LMOE_F32, a->gradient_stride, a->rows, a->width, s->gradient_panels);
  if (s->padded != a->width) {
    copy_rows(queries, LMOE_F32, a->query_stride, a->rows, a->width, s->queries, a->rows, s->padded);
    copy_rows(gradients, LMOE_F32, a->gradient_stride, a->rows, a->width, s->gradients, a->rows, s->padded);
  }
  const size_t places = rounded_up(a->rows, GRADIENT_QUERIES);
  memset(s->query_sums, 0, places * s->padded * sizeof(float));
  for (size_t i = 0; i < places; i++) {
    const size_t at = head * (size_t)a->sums_stride + i;
    s->largest[i] = i < a->rows ? a->largest[at] : 0;
    s->shares[i] = i < a->rows ? a->shares[at] : 0;
    s->deltas[i] = i < a->rows ? a->deltas[head * (size_t)a->deltas_stride + i] : 0;
  }
}

static void attend_backward(const lmoe_attention_gradient *a, float *scratch) {
  const gradient_scratch s = gradient_parts(scratch, a->rows, a->width);
  const int is_direct = s.padded == a->width;
  for (size_t head = 0; head < a->group; head++) {
    prepare_gradient(a, &s, head);
    const float *queries = is_direct ? a->queries + head * a->width : s.queries;
    const float *gradients = is_direct ? a->gradients + head * a->width : s.gradients;
    const ptrdiff_t padded = (ptrdiff_t)s.padded;
    for (size_t key = 0; key < a->rows; key += GRADIENT_KEYS) {
      const size_t keys = a->rows - key < GRADIENT_KEYS ? a->rows - key : GRADIENT_KEYS;
      const ptrdiff_t at = (ptrdiff_t)key * a->key_stride;
      copy_rows(a->keys + at, LMOE_F32, a->key_stride, keys, a->width, s.keys, GRADIENT_KEYS, s.padded);
      copy_rows(a->values + at, LMOE_F32, a->key_stride, keys, a->width, s.values, GRADIENT_KEYS, s.padded);
      memset(s.key_sums, 0, 2 * GRADIENT_KEYS * s.padded * sizeof(float));
      // Queries up to here see some of the keys.
      const size_t far = key + keys - 1 + a->window, end = a->window > 0 && far < a->rows ? far : a->rows;
      for (size_t query = key / GRADIENT_QUERIES * GRADIENT_QUERIES; query < end; query += GRADIENT_QUERIES) {
        const gradient_block block = {key, keys, query, end - query < GRADIENT_QUERIES ? end - query : GRADIENT_QUERIES,
                                      key > query ? key - query : 0};
        gradient_of_block(a, &s, &block, queries, is_direct ? a->query_stride : padded, gradients,
                          is_direct ? a->gradient_stride : padded);
      }
      const ptrdiff_t to = (ptrdiff_t)key * a->key_gradient_stride;
      put_rows(s.key_sums, s.padded, keys, a->width, a->key_gradients + to, a->key_gradient_stride, head > 0);
      put_rows(s.value_sums, s.padded, keys, a->width, a->value_gradients + to, a->key_gradient_stride, head > 0);
    }
    put_rows(s.query_sums, s.padded, a->rows, a->width, a->query_gradients + head * a->width,
             a->query_gradient_stride, 0);
  }
}
