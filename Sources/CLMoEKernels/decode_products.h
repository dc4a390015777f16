// What the stages of decoding share: where the rows of a matrix are as it is stored, and products of one row with them.
#ifndef LMOE_DECODE_PRODUCTS_H
#define LMOE_DECODE_PRODUCTS_H
#include "decode.h"

static inline int takes_integers(const lmoe_model *model, const lmoe_matrix *matrix) {
  return model->uses_integers && matrix->kind >= 0 && lmoe_has_integers(matrix->kind, matrix->block);
}

/// Bytes of a float of that kind.
static inline size_t float_bytes(int kind) { return kind == LMOE_F32 ? 4 : 2; }

/// Bytes of so many elements of a matrix: of the whole blocks that they make.
static inline size_t bytes_of(const lmoe_matrix *matrix, size_t elements) {
  if (matrix->kind < 0) return elements * float_bytes(matrix->kind);
  return elements / matrix->block * lmoe_block_bytes(matrix->kind, matrix->block);
}

/// Bytes of a matrix; none of one that is not there.
static inline size_t all_bytes(const lmoe_matrix *matrix) {
  return matrix->values ? bytes_of(matrix, matrix->rows * matrix->columns) : 0;
}

/// Rows of a matrix from `row` on as the weight of a term.
static inline lmoe_term term_of(const lmoe_matrix *matrix, size_t row, const float *x, int is_transposed) {
  const size_t skipped = row * matrix->columns;
  // Blocks of NF4 know no rows.
  const int has_rows = matrix->kind != LMOE_NF4;
  return (lmoe_term){.x = x,
                     .x_stride = 0,
                     .weight = (const char *)matrix->values + (has_rows ? bytes_of(matrix, skipped) : 0),
                     .weight_stride = (ptrdiff_t)matrix->columns,
                     .kind = matrix->kind,
                     .is_transposed = is_transposed,
                     .depth = matrix->columns,
                     .block = matrix->block,
                     .weight_first = matrix->first + (has_rows ? 0 : skipped)};
}

/// Elements [first, end) of y (+)= the group's input times the rows of a matrix.
static inline void multiply(const lmoe_decoder *d, const worker *self, const lmoe_matrix *matrix, size_t first,
                            size_t end, float *y, int accumulates) {
  lmoe_term term = term_of(matrix, 0, self->x, 1);
  if (takes_integers(&d->model, matrix)) term.x_integers = self->integers;
  self->kernels->gemm(1, &term, 1, first, end, y, 0, accumulates, self->scratch);
}

/// Where a task begins in so many units.
static inline size_t part(size_t task, size_t tasks, size_t units) { return task * units / tasks; }

/// Of how many parts a group's U is put together; 0 where a stage of its own has made it.
static inline size_t parts_of_u(const lmoe_decoder *d, const stage *stage) {
  return stage->group == GROUP_OUTPUT && !d->is_short ? 0 : stage->u_parts;
}

/// The parts of U of a group: MOST_LINEARS * ranks floats each.
static inline float *u_parts_of(const lmoe_decoder *d, group_kind group) {
  return d->u_parts[group == GROUP_DOWN || group == GROUP_OUTPUT];
}
#endif
