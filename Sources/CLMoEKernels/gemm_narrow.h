// Products with few rows, and weights whose rows are narrow, as B of an expert has them: outputs x rank. A part of
// gemm_rows.h.

/// The longest rows of a weight that are narrow: to add up the lanes of their sums takes longer than the sums. And of how
/// many columns together they are turned, MOST_TURNED at most.
enum { NARROW = 32, MOST_TURNED = 128 };

static int is_narrow(const lmoe_term *term) {
  return term->is_transposed && term->depth > 0 && term->depth <= NARROW && term->weight_stride == (ptrdiff_t)term->depth;
}

/// The terms from the first on that are one of more depth: narrow ones whose parts of x are next to each other.
static size_t narrow_terms(const lmoe_term *terms, size_t term_count, size_t *depth) {
  size_t count = 0;
  for (*depth = 0; count < term_count && is_narrow(&terms[count]); *depth += terms[count++].depth) {
    const lmoe_term *next = &terms[count];
    if (*depth + next->depth > MOST_TURNED || next->kind != terms->kind || next->x_stride != terms->x_stride ||
        next->x != terms->x + *depth)
      break;
  }
  return count;
}

/// Columns [first, end) of y += terms whose weights have narrow rows, as B of experts have: some of them are turned at a
/// time, so that the sums of columns are beside each other.
static void add_narrow_terms(size_t m, const lmoe_term *terms, size_t term_count, size_t depth, size_t first,
                             size_t end, float *y, ptrdiff_t y_stride) {
  enum { COLUMNS = 64 };
  float turned[MOST_TURNED * COLUMNS];
  const size_t passes = (m + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE, width = width_of(terms->kind);
  term_function *const *functions = term_functions[0] + (terms->kind - LMOE_F32);
  lmoe_term panel = *terms;
  panel.weight = turned;
  panel.is_transposed = 0;
  panel.depth = depth;
  for (size_t j = first, count; j < end; j += count) {
    count = end - j < COLUMNS ? end - j : COLUMNS;
    char *to = (char *)turned;
    for (size_t t = 0; t < term_count; to += count * terms[t++].depth * width) {
      const char *from = (const char *)terms[t].weight + j * terms[t].depth * width;
      if (width == sizeof(float)) {
        lmoe_transpose_32(from, count, terms[t].depth, to);
      } else {
        lmoe_transpose_16(from, count, terms[t].depth, to);
      }
    }
    panel.weight_stride = (ptrdiff_t)count;
    for (size_t pass = 0; pass < passes; pass++) {
      const size_t row = m * pass / passes, rows = m * (pass + 1) / passes - row;
      functions[(rows - 1) * 3](&panel, row, 0, count, (wanted){0, DOTS}, y + j, y_stride, 1);
    }
  }
}
