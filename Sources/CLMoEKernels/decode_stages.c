// What the tasks of each stage do. Sums are those of the general path, in the same order; but attention over more than
// ATTENTION_PART positions is put together of parts, and so is U where it is made while its input comes about.
#include "decode_products.h"

void lmoe_decode_prefetch(const lmoe_decoder *d, const stage *next, size_t number) {
  enum { AHEAD = 6 << 10 };
  const lmoe_model *model = &d->model;
  const lmoe_linear *linears[MOST_LINEARS];
  if ((next->kind != STAGE_LINEARS && next->kind != STAGE_FACTORS) || is_backward(d, next)) return;
  const size_t count = lmoe_decode_linears(model, next->group, next->layer, linears);
  const size_t together = next->group == GROUP_FEED_FORWARD && next->kind == STAGE_LINEARS ? 1 : count;
  size_t rows = 0;
  for (size_t i = 0; i < together; i++)
    rows += next->kind == STAGE_FACTORS ? linears[i]->down.rows : linears[i]->weight.rows;
  size_t row = number * rows / d->worker_count;
  for (size_t i = 0; i < together; i++) {
    const lmoe_matrix *matrix = next->kind == STAGE_FACTORS ? &linears[i]->down : &linears[i]->weight;
    if (row >= matrix->rows) {
      row -= matrix->rows;
      continue;
    }
    const lmoe_term term = term_of(matrix, row, NULL, 1);
    const char *at = term.weight;
    for (size_t offset = 0; offset < AHEAD; offset += LINE) __builtin_prefetch(at + offset, 0, 2);
    return;
  }
}

void lmoe_decode_tasks(lmoe_decoder *decoder, const stage *stage, worker *self, size_t first, size_t end) {
  if (stage->kind == STAGE_ATTENTION) {
    for (size_t task = first; task < end; task++) lmoe_decode_attention_task(decoder, stage, self, task);
    return;
  }
  lmoe_decode_prepare_input(decoder, stage, self);
  if (stage->kind == STAGE_GATES) {
    for (size_t task = first; task < end; task++) lmoe_decode_gates_task(decoder, stage, self, task);
    return;
  }
  lmoe_decode_prepare_weights(decoder, stage, self);
  if (stage->kind == STAGE_FACTORS) {
    for (size_t task = first; task < end; task++) lmoe_decode_factors_task(decoder, stage, self, task);
    return;
  }
  lmoe_decode_prepare_u(decoder, stage, self);
  lmoe_decode_linears_tasks(decoder, stage, self, first, end);
  if (first == 0) lmoe_decode_publish(decoder, stage, self);
}
