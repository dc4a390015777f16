// Linear layers of one token: W x of the base, and the experts' factors with it.
#include "decode_prefetch.h"
#include "integers.h"

#include <string.h>

/// y[first..<end) += u times panels of B, of the ranks of a run.
static void add_panels(const worker *self, const lmoe_matrix *up, const void *panels, const float *u,
                       const run *own, size_t first, size_t end, float *y) {
  const size_t width = up->kind < 0 ? PANEL : Q8_PANEL;
  for (size_t from = first / width * width; from < end; from += width) {
    float part[PANEL] = {0};
    const int is_whole = from >= first && from + width <= end;
    float *to = is_whole ? y + from : part;
    if (up->kind < 0) {
      const lmoe_matrix panel = {panels, up->kind, 0, 0, up->rows, PANEL};
      lmoe_term term = term_of(&panel, from / PANEL * up->rows + own->first, u + own->first, 0);
      term.depth = own->count;
      self->kernels->gemm(1, &term, 1, 0, PANEL, to, 0, 1, self->scratch);
    } else {
      self->kernels->integers->up_q8_0(u, up->rows, own->first, own->first + own->count, panels, from, to);
    }
    if (is_whole) continue;
    const size_t low = from > first ? from : first, high = from + width < end ? from + width : end;
    for (size_t j = low; j < high; j++) y[j] += part[j - from];
  }
}

void lmoe_decode_gates_task(lmoe_decoder *d, const stage *stage, worker *self, size_t task) {
  for (size_t i = 0; i < MOST_LINEARS; i++) {
    const lmoe_gate *gate = lmoe_decode_gate(&d->model, stage->group, stage->layer, i);
    if (!lmoe_decode_is_large(gate)) continue;
    multiply(d, self, &gate->rows, part(task, stage->tasks, gate->routed), part(task + 1, stage->tasks, gate->routed),
             d->scores[i], 0);
  }
}

/// Some of the rows of A of the experts that have a say.
void lmoe_decode_factors_task(lmoe_decoder *d, const stage *stage, worker *self, size_t task) {
  enum { UNIT = 4 };
  const lmoe_linear *linears[MOST_LINEARS];
  lmoe_decode_linears(&d->model, stage->group, stage->layer, linears);
  size_t total = 0;
  for (size_t r = 0; r < self->run_count; r++) total += self->runs[r].count;
  const size_t units = (total + UNIT - 1) / UNIT;
  size_t first = part(task, stage->tasks, units) * UNIT, end = part(task + 1, stage->tasks, units) * UNIT;
  if (end > total) end = total;
  size_t before = 0;
  for (size_t r = 0; r < self->run_count && before < end; r++) {
    const run *own = &self->runs[r];
    const size_t low = first > before ? first - before : 0;
    const size_t high = end - before < own->count ? end - before : own->count;
    if (low < high)
      multiply(d, self, &linears[own->linear]->down, own->first + low, own->first + high,
               d->u + own->linear * d->ranks, 0);
    before += own->count;
  }
}

/// y[j] *= 1 + sum of g (c - 1).
static void rescale(const lmoe_linear *linear, const float *weights, size_t first, size_t end, float *y) {
  for (size_t j = first; j < end; j++) {
    float factor = 1;
    for (size_t s = 0; s < linear->slot_count; s++) {
      const lmoe_slot *slot = &linear->slots[s];
      if (slot->rescaling && weights[slot->expert] != 0) factor += weights[slot->expert] * slot->rescaling[j];
    }
    y[j] *= factor;
  }
}

/// y[first..<end) += U times B of the experts that have a say.
static void add_experts(const lmoe_decoder *d, const worker *self, const lmoe_linear *linear,
                        const factor_panels *panels, size_t place, size_t first, size_t end, float *y) {
  for (size_t r = 0; r < self->run_count; r++) {
    const run *own = &self->runs[r];
    if (own->linear != place) continue;
    const float *u = self->u + place * d->ranks;
    if (panels->up) {
      add_panels(self, &linear->up, panels->up, u, own, first, end, y);
    } else {
      lmoe_term term = term_of(&linear->up, own->first, u + own->first, 0);
      term.depth = own->count;
      self->kernels->gemm(1, &term, 1, first, end, y, 0, 1, self->scratch);
    }
  }
}

/// Outputs [first, end) of one of the group's linear layers.
static void compute(const lmoe_decoder *d, worker *self, const stage *stage, const lmoe_linear *linear,
                    size_t place, size_t first, size_t end, float *y, int accumulates) {
  const factor_panels *panels = lmoe_decode_panels(d, stage->group, stage->layer) + place;
  int rescales = 0;
  for (size_t s = 0; s < linear->slot_count; s++) rescales |= linear->slots[s].rescaling != NULL;
  float *sum = rescales && accumulates ? self->apart : y;
  for (size_t r = 0; r < self->run_count && !panels->up; r++)
    if (self->runs[r].linear == place) prefetch_up(&linear->up, &self->runs[r], first, end);
  for (size_t row = first; row < end; row += CHUNK) {
    multiply(d, self, &linear->weight, row, end - row < CHUNK ? end : row + CHUNK, sum, accumulates && sum == y);
    prefetch_some(&self->prefetch);
  }
  if (rescales) rescale(linear, self->weights[place], first, end, sum);
  add_experts(d, self, linear, panels, place, first, end, sum);
  if (linear->bias) {
    const char *bias = (const char *)linear->bias + first * float_bytes(linear->bias_kind);
    self->kernels->add_bias(sum + first, 0, 1, end - first, bias, linear->bias_kind);
  }
  if (sum != y) self->kernels->add(y + first, sum + first, end - first);
}

static void attention_linears(lmoe_decoder *d, const stage *stage, worker *self, size_t first, size_t end) {
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(&d->model, stage->group, stage->layer, linears);
  size_t before = 0;
  for (size_t i = 0; i < count && before < end; i++) {
    const size_t rows = linears[i]->weight.rows;
    const size_t low = first > before ? first - before : 0, high = end - before < rows ? end - before : rows;
    if (low < high) {
      compute(d, self, stage, linears[i], i, low, high, i == 0 ? d->q : i == 1 ? d->k : d->v, 0);
      lmoe_decode_finish_heads(d, self, stage->layer, i, low, high);
    }
    before += rows;
  }
}

/// Columns [first, end) of the next group's input, which this task has just computed, times those columns of A.
static void make_u(const lmoe_decoder *d, const stage *stage, worker *self, size_t task, size_t first, size_t end) {
  const lmoe_model *model = &d->model;
  size_t layer;
  const group_kind group = next_group(model, stage, &layer);
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(model, group, layer, linears);
  const float *x = d->gated + first;
  if (group != GROUP_DOWN) {
    const lmoe_norm *norm = group == GROUP_HEAD           ? &model->norm
                            : group == GROUP_FEED_FORWARD ? &model->layers[layer].post_norm
                                                          : &model->layers[layer].input_norm;
    self->kernels->weigh(model->residual + first, end - first, norm->weight, first, norm->kind, self->slice);
    x = self->slice;
  }
  int has_integers = 0;
  const factor_panels *panels = lmoe_decode_panels(d, group, layer);
  for (size_t i = 0; i < count; i++) {
    if (linears[i]->slot_count == 0) continue;
    const lmoe_matrix *down = &linears[i]->down;
    float *u = d->u_parts[group == GROUP_DOWN] + (task * MOST_LINEARS + i) * d->ranks;
    if (down->kind < 0) {
      lmoe_matrix transposed = *down;
      transposed.columns = down->rows;
      transposed.values = panels[i].down;
      lmoe_term term = term_of(&transposed, first, x, 0);
      term.depth = end - first;
      self->kernels->gemm(1, &term, 1, 0, down->rows, u, 0, 0, self->scratch);
    } else {
      if (!has_integers) lmoe_integer_rows(x, 0, 1, end - first, self->slice_integers);
      has_integers = 1;
      self->kernels->integers->down_q8_0(self->slice_integers, end - first, panels[i].down, down->rows, first, u);
    }
  }
}

void lmoe_decode_linears_task(lmoe_decoder *d, const stage *stage, worker *self, size_t task) {
  const lmoe_model *model = &d->model;
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(model, stage->group, stage->layer, linears);
  size_t rows = linears[0]->weight.rows;
  if (stage->group == GROUP_ATTENTION)
    for (size_t i = 1; i < count; i++) rows += linears[i]->weight.rows;
  const size_t unit = lmoe_decode_unit(model, stage->group), units = (rows + unit - 1) / unit;
  const size_t first = part(task, stage->tasks, units) * unit;
  size_t end = part(task + 1, stage->tasks, units) * unit;
  if (end > rows) end = rows;
  if (first >= end) return;
  note_factors(d, stage, self, first, end);
  switch (stage->group) {
    case GROUP_ATTENTION: attention_linears(d, stage, self, first, end); break;
    case GROUP_FEED_FORWARD:
      compute(d, self, stage, linears[0], 0, first, end, d->gated, 0);
      compute(d, self, stage, linears[1], 1, first, end, d->upward, 0);
      self->kernels->silu_multiply(d->gated + first, d->upward + first, end - first);
      break;
    case GROUP_HEAD: compute(d, self, stage, linears[0], 0, first, end, model->logits, 0); break;
    default: compute(d, self, stage, linears[0], 0, first, end, model->residual, 1);
  }
  if (stage->makes_u) make_u(d, stage, self, task, first, end);
}

/// What others look at later: the layer's weights of the experts, the last norm's output.
void lmoe_decode_publish(lmoe_decoder *d, const stage *stage, const worker *self) {
  const lmoe_model *model = &d->model;
  if (stage->group == GROUP_HEAD) {
    memcpy(model->normed, self->x, model->hidden * sizeof(float));
  } else if (stage->group == GROUP_ATTENTION && lmoe_decode_gate(model, GROUP_ATTENTION, stage->layer, 0)) {
    memcpy(d->layer_weights, self->own_weights, model->gate_width * sizeof(float));
  }
}
