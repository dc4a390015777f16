// What the tasks of each stage do. Sums are those of the general path, in the same order; but attention over more than
// ATTENTION_PART positions is put together of parts, and so is U where it is made while its input comes about.
#include "decode_prefetch.h"

// A worker asks for what comes next when it finds nothing left to do. If it is so late that the others are far ahead, it
// sees numbers of a later layer or token; nothing comes of that, for no task of the stage in between is left for it.

/// The first of so many rows that worker `number` begins with.
static size_t first_row(const lmoe_decoder *d, size_t number, size_t rows) { return number * rows / d->worker_count; }

/// The rows of A of the experts that have a say, where that is known before the input is.
static void prefetch_chosen(const lmoe_decoder *d, const stage *next, worker *self, size_t number) {
  const lmoe_model *model = &d->model;
  for (size_t i = 0; i < MOST_LINEARS; i++)
    if (lmoe_decode_gate(model, next->group, next->layer, i)) return;
  lmoe_decode_prepare_weights(d, next, self);
  size_t total = 0, before = 0;
  for (size_t c = 0; c < self->choice_count; c++) total += self->choices[c].slot->count;
  const size_t first = first_row(d, number, total), end = first_row(d, number + 1, total);
  for (size_t c = 0; c < self->choice_count; before += self->choices[c++].slot->count) {
    const lmoe_slot *slot = self->choices[c].slot;
    const size_t low = first > before ? first - before : 0;
    const size_t high = end < before ? 0 : end - before < slot->count ? end - before : slot->count;
    if (low < high) prefetch_rows(&slot->down, low, high);
  }
}

/// What B of the experts that have a say has of the outputs of the tasks that worker `number` begins with.
static void prefetch_ups(const lmoe_decoder *d, const stage *next, worker *self, size_t number) {
  lmoe_decode_prepare_input(d, next, self);
  lmoe_decode_prepare_weights(d, next, self);
  const size_t task = first_row(d, number, next->tasks), end_task = first_row(d, number + 1, next->tasks);
  if (task == end_task) return;
  size_t first, end, low, high;
  lmoe_decode_outputs(&d->model, next, task, &first, &end);
  lmoe_decode_outputs(&d->model, next, end_task - 1, &low, &end);
  size_t room = PREFETCH_ROOM;
  for (size_t c = 0; c < self->choice_count && room > 0; c++) {
    const choice *own = &self->choices[c];
    if (lmoe_decode_own_outputs(&d->model, next, own->linear, first, end, &low, &high))
      room = prefetch_up(own->slot, low, high, room);
  }
}

void lmoe_decode_prefetch(const lmoe_decoder *d, const stage *next, worker *self, size_t number) {
  enum { AHEAD = 6 << 10 };
  const lmoe_model *model = &d->model;
  const lmoe_linear *linears[MOST_LINEARS];
  if (next->kind == STAGE_ATTENTION || is_backward(d, next)) return;
  if (next->kind == STAGE_FACTORS) {
    prefetch_chosen(d, next, self, number);
    return;
  }
  if (next->kind == STAGE_LINEARS && next->is_base_early) {
    prefetch_ups(d, next, self, number);
    return;
  }
  const size_t count = lmoe_decode_linears(model, next->group, next->layer, linears);
  const size_t together = next->group == GROUP_FEED_FORWARD ? 1 : count;
  size_t rows = 0;
  for (size_t i = 0; i < together; i++) rows += linears[i]->weight.rows;
  if (rows == 0) return;
  size_t row = first_row(d, number, rows);
  const lmoe_matrix *matrix = &linears[0]->weight;
  for (size_t i = 0; i < together && row >= matrix->rows; i++, matrix = &linears[i]->weight) row -= matrix->rows;
  if (next->kind == STAGE_GATES) {
    const lmoe_gate *gate = NULL;
    for (size_t i = 0; i < count && !lmoe_decode_is_large(gate); i++)
      gate = lmoe_decode_gate(model, next->group, next->layer, i);
    if (!gate) return;
    matrix = &gate->rows;
    row = first_row(d, number, matrix->rows);
  }
  const lmoe_term term = term_of(matrix, row, NULL, 1);
  const char *at = term.weight;
  for (size_t offset = 0; offset < AHEAD; offset += LINE) __builtin_prefetch(at + offset, 0, 2);
}

void lmoe_decode_tasks(lmoe_decoder *decoder, const stage *stage, worker *self, size_t first, size_t end) {
  if (stage->kind == STAGE_ATTENTION) {
    for (size_t task = first; task < end; task++) lmoe_decode_attention_task(decoder, stage, self, task);
    return;
  }
  lmoe_decode_prepare_input(decoder, stage, self);
  if (stage->kind == STAGE_GATES) {
    lmoe_decode_gates_tasks(decoder, stage, self, first, end);
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
