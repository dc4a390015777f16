// What a worker prepares before its first task of a stage: the input of the linear layers, what the experts weigh,
// and U.
#include "decode_products.h"

#include <math.h>
#include <string.h>

/// Counts groups over all tokens; none is 0.
static uint64_t number_of(const lmoe_decoder *d, const stage *stage) {
  return (d->token * (d->model.layer_count + 1) + stage->layer) * (GROUP_HEAD + 1) + (uint64_t)stage->group + 1;
}

static void normalise(const lmoe_decoder *d, worker *self, const lmoe_norm *norm) {
  self->kernels->rms_norm(d->model.residual, 0, 1, d->model.hidden, norm->weight, norm->kind, d->model.epsilon,
                          self->normed, 0);
  self->x = self->normed;
}

/// The input of the group's linear layers. Every worker makes its own: that takes less time than waiting for another's.
void lmoe_decode_prepare_input(const lmoe_decoder *d, const stage *stage, worker *self) {
  const uint64_t number = number_of(d, stage);
  if (self->input_of == number) return;
  self->input_of = number;
  const lmoe_model *model = &d->model;
  switch (stage->group) {
    case GROUP_ATTENTION: normalise(d, self, &model->layers[stage->layer].input_norm); break;
    case GROUP_FEED_FORWARD: normalise(d, self, &model->layers[stage->layer].post_norm); break;
    case GROUP_HEAD: normalise(d, self, &model->norm); break;
    case GROUP_DOWN: self->x = d->gated; break;
    case GROUP_OUTPUT: {
      size_t start;
      const size_t parts = lmoe_decode_parts(model, stage->layer, &start);
      self->x = parts > 1 ? self->normed : d->mixed;
      if (parts > 1) lmoe_decode_merge(d, parts, self->normed);
      break;
    }
  }
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(model, stage->group, stage->layer, linears);
  const linear_plan *plans = lmoe_decode_linear_plans(d, stage->group, stage->layer);
  for (size_t i = 0; i < count; i++) {
    if (!plans[i].needs_integers) continue;
    lmoe_integer_rows(self->x, 0, 1, linears[i]->weight.columns, self->integers);
    return;
  }
}

/// The place of an expert among those of a linear layer from `first` on; that of the next one where it is not
/// among them.
static size_t place_of(const lmoe_linear *linear, size_t first, size_t expert) {
  size_t end = linear->slot_count;
  // Most often the next one, where most have a say.
  if (first < end && linear->slots[first].expert >= expert) return first;
  while (first < end) {
    const size_t middle = first + (end - first) / 2;
    if (linear->slots[middle].expert < expert) first = middle + 1; else end = middle;
  }
  return first;
}

static void choose(worker *self, size_t linear, const lmoe_slot *slot) {
  self->choices[self->choice_count++] = (choice){linear, slot};
  run *last = self->run_count > 0 ? &self->runs[self->run_count - 1] : NULL;
  if (last && last->linear == linear && last->first + last->count == slot->first) {
    last->count += slot->count;
  } else {
    self->runs[self->run_count++] = (run){linear, slot->first, slot->count};
  }
}

/// Those experts of a linear layer that have a say. Of many a few may have; then most are not looked at.
static void choose_experts(worker *self, size_t number, const lmoe_linear *linear, size_t width) {
  const float *weights = self->weights[number];
  size_t place = 0;
  for (size_t expert = 0; expert < width && place < linear->slot_count; expert++) {
    if (weights[expert] == 0) continue;
    place = place_of(linear, place, expert);
    if (place < linear->slot_count && linear->slots[place].expert == expert)
      choose(self, number, &linear->slots[place++]);
  }
}

/// The weights of the experts, and those that have a say.
void lmoe_decode_prepare_weights(const lmoe_decoder *d, const stage *stage, worker *self) {
  const uint64_t number = number_of(d, stage);
  if (self->weights_of == number) return;
  self->weights_of = number;
  const lmoe_model *model = &d->model;
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(model, stage->group, stage->layer, linears);
  const int is_layer = stage->group != GROUP_HEAD && model->layers[stage->layer].experts_gate != NULL;
  self->choice_count = self->run_count = 0;
  for (size_t i = 0; i < count; i++) {
    const lmoe_gate *gate = lmoe_decode_gate(model, stage->group, stage->layer, i);
    float *own = self->own_weights + i * model->gate_width;
    if (gate) {
      if (lmoe_decode_is_large(gate)) {
        memcpy(self->scores, d->scores[i], gate->routed * sizeof(float));
      } else if (gate->rows.values) {
        multiply(d, self, &gate->rows, 0, gate->routed, self->scores, 0);
      }
      lmoe_gate_weigh(gate, self->x, linears[i]->weight.columns, self->scores, self->members, own);
    }
    self->weights[i] = gate            ? own
                       : !is_layer     ? model->weights
                       : stage->group == GROUP_ATTENTION ? self->own_weights
                                       : d->layer_weights;
    choose_experts(self, i, linears[i], model->gate_width);
  }
}

/// 1 / sqrt(mean(x^2) + epsilon) of the residual stream.
static float inverse_size(const lmoe_model *model) {
  int is_finite = 1;
  const double squares = lmoe_sum_squares(model->residual, model->hidden, LMOE_F32, &is_finite);
  return (float)(1 / sqrt(squares / (double)model->hidden + model->epsilon));
}

static int follows_norm(group_kind group) { return group != GROUP_DOWN && group != GROUP_OUTPUT; }

/// U, put together of the parts that the tasks of the stage before made. Their input was not yet divided by its size.
static void gather_u(const lmoe_decoder *d, const stage *stage, worker *self, size_t linears) {
  const size_t count = linears * d->ranks, stride = MOST_LINEARS * d->ranks;
  const float *parts = u_parts_of(d, stage->group);
  memcpy(self->u, parts, count * sizeof(float));
  for (size_t part = 1; part < parts_of_u(d, stage); part++) self->kernels->add(self->u, parts + part * stride, count);
  if (follows_norm(stage->group)) self->kernels->scale(self->u, inverse_size(&d->model), count, self->u);
}

/// U, times g s.
void lmoe_decode_prepare_u(const lmoe_decoder *d, const stage *stage, worker *self) {
  const uint64_t number = number_of(d, stage);
  if (self->u_of == number) return;
  self->u_of = number;
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(&d->model, stage->group, stage->layer, linears);
  const int is_gathered = parts_of_u(d, stage) > 0;
  const float *u = is_gathered ? self->u : d->u;
  if (is_gathered) gather_u(d, stage, self, count);
  for (size_t c = 0; c < self->choice_count; c++) {
    const choice *own = &self->choices[c];
    const size_t place = own->linear * d->ranks + own->slot->first;
    const float weight = self->weights[own->linear][own->slot->expert];
    self->kernels->scale(u + place, weight * own->slot->scaling, own->slot->count, self->u + place);
  }
}
