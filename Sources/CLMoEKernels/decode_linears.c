// Linear layers of one token: W x of the base, and the experts' factors with it.
#include "decode_prefetch.h"
#include "integers.h"

#include <string.h>

/// y[first..<end) += u times panels of B, of the ranks of a run.
static void add_panels(const worker *self, const lmoe_linear *linear, const float *u, const run *own, size_t first,
                       size_t end, float *y) {
  const char *panel = self->strip;
  const size_t ranks = linear->ranks;
  const int kind = linear->slots[0].up.kind;
  if (kind < 0) {
    for (size_t width; first < end; first += width, panel += width * ranks * float_bytes(kind)) {
      width = end - first < PANEL ? end - first : PANEL;
      const lmoe_matrix matrix = {panel, kind, 0, 0, ranks, width};
      lmoe_term term = term_of(&matrix, own->first, u + own->first, 0);
      term.depth = own->count;
      self->kernels->gemm(1, &term, 1, 0, width, y + first, 0, 1, self->scratch);
    }
    return;
  }
  for (size_t from = first / Q8_PANEL * Q8_PANEL; from < end; from += Q8_PANEL, panel += up_ranks(ranks) * Q8_BYTES) {
    float part[Q8_PANEL] = {0};
    const size_t low = from > first ? from : first, high = from + Q8_PANEL < end ? from + Q8_PANEL : end;
    const int is_whole = high - low == Q8_PANEL;
    self->kernels->integers->up_q8_0(u, ranks, own->first, own->first + own->count, panel,
                                     is_whole ? y + from : part);
    for (size_t j = low; j < high && !is_whole; j++) y[j] += part[j - from];
  }
}

/// Some of the rows of A of the experts that have a say.
void lmoe_decode_factors_task(lmoe_decoder *d, const stage *stage, worker *self, size_t task) {
  enum { UNIT = 4 };
  size_t total = 0;
  for (size_t c = 0; c < self->choice_count; c++) total += self->choices[c].slot->count;
  const size_t units = (total + UNIT - 1) / UNIT;
  size_t first = part(task, stage->tasks, units) * UNIT, end = part(task + 1, stage->tasks, units) * UNIT;
  if (end > total) end = total;
  size_t before = 0;
  for (size_t c = 0; c < self->choice_count && before < end; c++) {
    const lmoe_slot *slot = self->choices[c].slot;
    const size_t low = first > before ? first - before : 0;
    const size_t high = end - before < slot->count ? end - before : slot->count;
    if (low < high)
      multiply(d, self, &slot->down, low, high, d->u + self->choices[c].linear * d->ranks + slot->first, 0);
    before += slot->count;
  }
}

/// y[j] *= 1 + sum of g (c - 1).
static void rescale(const worker *self, size_t linear, size_t first, size_t end, float *y) {
  // Choices of a linear layer follow each other.
  size_t from = 0;
  while (from < self->choice_count && self->choices[from].linear != linear) from++;
  size_t to = from;
  while (to < self->choice_count && self->choices[to].linear == linear) to++;
  for (size_t j = first; j < end; j++) {
    float factor = 1;
    for (size_t c = from; c < to; c++) {
      const lmoe_slot *slot = self->choices[c].slot;
      if (slot->rescaling) factor += self->weights[linear][slot->expert] * slot->rescaling[j];
    }
    y[j] *= factor;
  }
}

/// y[first..<end) += U times B of the experts that have a say.
static void add_experts(const lmoe_decoder *d, worker *self, const lmoe_linear *linear, int is_laid_out, size_t place,
                        size_t first, size_t end, float *y) {
  const float *u = self->u + place * d->ranks;
  if (is_laid_out) {
    for (size_t r = 0; r < self->run_count; r++)
      if (self->runs[r].linear == place) add_panels(self, linear, u, &self->runs[r], first, end, y);
    self->strip += up_bytes(linear, first, end);
    return;
  }
  // Experts lie apart; of several, one is asked for while others are added.
  enum { LATER = 4 };
  for (size_t c = 0; c < self->choice_count; c++) {
    const lmoe_slot *slot = self->choices[c].slot;
    if (self->choices[c].linear != place) continue;
    if (c + LATER < self->choice_count && self->choices[c + LATER].linear == place)
      prefetch_up(self->choices[c + LATER].slot, first, end, PREFETCH_ROOM / LATER);
    lmoe_term term = term_of(&slot->up, 0, u + slot->first, !slot->up_is_transposed);
    term.depth = slot->count;
    self->kernels->gemm(1, &term, 1, first, end, y, 0, 1, self->scratch);
  }
}

/// Where a linear layer's outputs go, and whether they are added to what is there.
typedef struct {
  const lmoe_linear *linear;
  float *y, *sum;
  int accumulates, is_laid_out, rescales;
} target;

/// The targets of a stage; what magnitudes rescale is summed apart.
static size_t targets_of(const lmoe_decoder *d, const stage *stage, target targets[MOST_LINEARS]) {
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(&d->model, stage->group, stage->layer, linears);
  float *const attention[] = {d->q, d->k, d->v}, *const feed_forward[] = {d->gated, d->upward};
  const linear_plan *plans = lmoe_decode_linear_plans(d, stage->group, stage->layer);
  for (size_t i = 0; i < count; i++) {
    target *own = &targets[i];
    *own = (target){.linear = linears[i], .is_laid_out = plans[i].up, .rescales = plans[i].rescales};
    switch (stage->group) {
      case GROUP_ATTENTION: own->y = attention[i]; break;
      case GROUP_FEED_FORWARD: own->y = feed_forward[i]; break;
      case GROUP_HEAD: own->y = d->model.logits; break;
      default:
        own->y = d->model.residual;
        own->accumulates = 1;
    }
    own->sum = own->rescales && own->accumulates ? d->apart : own->y;
  }
  return count;
}

/// Outputs of tasks [task, end_task).
static void outputs_of(const lmoe_decoder *d, const stage *stage, size_t task, size_t end_task, size_t *first,
                       size_t *end) {
  size_t other;
  lmoe_decode_outputs(&d->model, stage, task, first, &other);
  lmoe_decode_outputs(&d->model, stage, end_task - 1, &other, end);
}

/// Outputs [first, end) of the base, W x.
static void multiply_base(const lmoe_decoder *d, const stage *stage, worker *self, const target *targets, size_t count,
                          size_t first, size_t end) {
  size_t low, high;
  for (size_t i = 0; i < count; i++) {
    const target *own = &targets[i];
    if (lmoe_decode_own_outputs(&d->model, stage, i, first, end, &low, &high))
      multiply(d, self, &own->linear->weight, low, high, own->sum, own->accumulates && own->sum == own->y);
  }
}

/// Rows of large gates; and of the base, which nobody has to wait with for what the gates make of them.
void lmoe_decode_gates_tasks(lmoe_decoder *d, const stage *stage, worker *self, size_t task, size_t end_task) {
  const uint64_t start = d->times ? lmoe_decode_now() : 0;
  for (size_t i = 0; i < MOST_LINEARS; i++) {
    const lmoe_gate *gate = lmoe_decode_gate(&d->model, stage->group, stage->layer, i);
    if (!lmoe_decode_is_large(gate)) continue;
    multiply(d, self, &gate->rows, part(task, stage->tasks, gate->routed), part(end_task, stage->tasks, gate->routed),
             d->scores[i], 0);
  }
  if (d->times) self->gates_time += lmoe_decode_now() - start;
  target targets[MOST_LINEARS];
  const size_t count = targets_of(d, stage, targets);
  size_t first, end;
  outputs_of(d, stage, task, end_task, &first, &end);
  multiply_base(d, stage, self, targets, count, first, end);
}

/// What the experts make of outputs [first, end), and the bias.
static void finish(const lmoe_decoder *d, worker *self, const target *target, size_t place, size_t first, size_t end) {
  const lmoe_linear *linear = target->linear;
  float *sum = target->sum;
  if (target->rescales) rescale(self, place, first, end, sum);
  add_experts(d, self, linear, target->is_laid_out, place, first, end, sum);
  if (linear->bias) {
    const char *bias = (const char *)linear->bias + first * float_bytes(linear->bias_kind);
    self->kernels->add_bias(sum + first, 0, 1, end - first, bias, linear->bias_kind);
  }
  if (sum != target->y) self->kernels->add(target->y + first, sum + first, end - first);
}

/// Asks for what experts whose factors are not laid out have of outputs [first, end).
static void prefetch_ups(const lmoe_decoder *d, const stage *stage, const worker *self, const target *targets,
                         size_t first, size_t end) {
  size_t low, high;
  size_t room = PREFETCH_ROOM;
  for (size_t c = 0; c < self->choice_count && room > 0; c++) {
    const choice *own = &self->choices[c];
    if (!targets[own->linear].is_laid_out &&
        lmoe_decode_own_outputs(&d->model, stage, own->linear, first, end, &low, &high))
      room = prefetch_up(own->slot, low, high, room);
  }
}

/// Outputs [first, end), with whatever belongs to them behind the linear layers.
static void finish_outputs(const lmoe_decoder *d, const stage *stage, worker *self, const target *targets,
                           size_t count, size_t first, size_t end) {
  size_t low, high;
  for (size_t i = 0; i < count; i++) {
    if (!lmoe_decode_own_outputs(&d->model, stage, i, first, end, &low, &high)) continue;
    finish(d, self, &targets[i], i, low, high);
    if (stage->group == GROUP_ATTENTION) lmoe_decode_finish_heads(d, self, stage->layer, i, low, high);
  }
  if (stage->group == GROUP_FEED_FORWARD)
    self->kernels->silu_multiply(d->gated + first, d->upward + first, end - first);
}

void lmoe_decode_linears_tasks(lmoe_decoder *d, const stage *stage, worker *self, size_t task, size_t end_task) {
  target targets[MOST_LINEARS];
  const size_t count = targets_of(d, stage, targets);
  size_t first, end;
  // First the rows of all tasks, one long run of memory, then what lies together for each.
  outputs_of(d, stage, task, end_task, &first, &end);
  prefetch_ups(d, stage, self, targets, first, end);
  if (!stage->is_base_early) multiply_base(d, stage, self, targets, count, first, end);
  if (!stage->strips) {
    if (first < end) finish_outputs(d, stage, self, targets, count, first, end);
    return;
  }
  for (; task < end_task; task++) {
    lmoe_decode_outputs(&d->model, stage, task, &first, &end);
    if (first >= end) continue;
    self->strip = stage->strips[task];
    finish_outputs(d, stage, self, targets, count, first, end);
    if (stage->makes_u) lmoe_decode_make_u(d, stage, self, task, first, end);
  }
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
