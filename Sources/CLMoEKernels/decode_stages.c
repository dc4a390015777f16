// What the tasks of a stage do. Sums are those of the general path, in the same order; only attention over more than
// ATTENTION_PART positions is put together of parts.
#include "decode.h"
#include "integers.h"
#include "panels.h"

#include <math.h>
#include <string.h>

/// Counts groups over all tokens; none is 0.
static uint64_t number_of(const lmoe_decoder *d, const stage *stage) {
  return (d->token * (d->model.layer_count + 1) + stage->layer) * (GROUP_HEAD + 1) + (uint64_t)stage->group + 1;
}

// MARK: Products

static int takes_integers(const lmoe_model *model, const lmoe_matrix *matrix) {
  return model->uses_integers && matrix->kind >= 0 && lmoe_has_integers(matrix->kind, matrix->block);
}

/// Rows of a matrix from `row` on as the weight of a term.
static lmoe_term term_of(const lmoe_matrix *matrix, size_t row, const float *x, int is_transposed) {
  const size_t skipped = row * matrix->columns;
  size_t bytes = 0, first = matrix->first;
  if (matrix->kind == LMOE_NF4) {
    first += skipped;
  } else if (matrix->kind < 0) {
    bytes = skipped * (matrix->kind == LMOE_F32 ? 4 : 2);
  } else {
    bytes = skipped / matrix->block * lmoe_block_bytes(matrix->kind, matrix->block);
  }
  return (lmoe_term){.x = x,
                     .x_stride = 0,
                     .weight = (const char *)matrix->values + bytes,
                     .weight_stride = (ptrdiff_t)matrix->columns,
                     .kind = matrix->kind,
                     .is_transposed = is_transposed,
                     .depth = matrix->columns,
                     .block = matrix->block,
                     .weight_first = first};
}

/// Elements [first, end) of y (+)= the group's input times the rows of a matrix.
static void multiply(const lmoe_decoder *d, const worker *self, const lmoe_matrix *matrix, size_t first, size_t end,
                     float *y, int accumulates) {
  lmoe_term term = term_of(matrix, 0, self->x, 1);
  if (takes_integers(&d->model, matrix)) term.x_integers = self->integers;
  self->kernels->gemm(1, &term, 1, first, end, y, 0, accumulates, self->scratch);
}

/// Bytes of elements of a matrix that begin a row or a block, or of as many blocks as hold them.
static size_t bytes_of(const lmoe_matrix *matrix, size_t elements) {
  if (matrix->kind < 0) return elements * (matrix->kind == LMOE_F32 ? 4 : 2);
  return (elements + matrix->block - 1) / matrix->block * lmoe_block_bytes(matrix->kind, matrix->block);
}

/// Asks for columns [first, end) of rows of B, which lie far apart, before there is something else to do: as much as
/// leaves room in the nearest caches.
static void prefetch_up(const lmoe_matrix *up, const run *own, size_t first, size_t end) {
  enum { LINE = 64, ROOM = 48 << 10 };
  if (up->kind == LMOE_NF4) return;
  const size_t block = up->kind < 0 ? 1 : up->block, stride = bytes_of(up, up->columns);
  const size_t start = first / block * block, bytes = bytes_of(up, end - start);
  size_t rows = ROOM / (bytes + LINE);
  if (rows > own->count) rows = own->count;
  const char *at = (const char *)up->values + own->first * stride + bytes_of(up, start);
  for (size_t row = 0; row < rows; row++, at += stride)
    for (size_t offset = 0; offset <= bytes; offset += LINE) __builtin_prefetch(at + offset, 0, 2);
}

// MARK: Prefetching

enum { LINE = 64, CHUNK = 16, BEGINNING = 8 << 10 };

static void note_bytes(prefetch *list, const void *from, size_t bytes) {
  if (list->count == MOST_STRIPS) return;
  list->strips[list->count].at = from;
  list->strips[list->count++].end = (const char *)from + bytes;
}

/// Notes a part of some panels, of which each has `width` columns.
static void note(prefetch *list, const void *panels, size_t bytes, size_t width, size_t first, size_t end) {
  if (!panels || first >= end) return;
  note_bytes(list, (const char *)panels + first / width * bytes, ((end - 1) / width - first / width + 1) * bytes);
}

static void prefetch_some(prefetch *list) {
  for (size_t left = list->share; left > 0 && list->next < list->count; left--) {
    const char **at = &list->strips[list->next].at;
    __builtin_prefetch(*at, 0, 2);
    *at += LINE;
    if (*at >= list->strips[list->next].end) list->next++;
  }
}

/// Bytes of a panel of B, and of the columns of A that lie together, and how many columns those are.
static size_t up_bytes(const lmoe_matrix *up, size_t *width) {
  *width = up->kind < 0 ? PANEL : Q8_PANEL;
  return up->kind < 0 ? PANEL * up->rows * (up->kind == LMOE_F32 ? 4 : 2) : up_ranks(up->rows) * Q8_BYTES;
}
static size_t down_bytes(const lmoe_matrix *down, size_t *width) {
  *width = down->kind < 0 ? 1 : Q8_PANEL;
  return down->kind < 0 ? down->rows * (down->kind == LMOE_F32 ? 4 : 2) : down_ranks(down->rows) * Q8_BYTES;
}

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

// MARK: Preparation

/// The parts of positions that a layer looks at, and the first position.
static size_t parts_of(const lmoe_model *model, size_t layer, size_t *start) {
  const size_t window = model->layers[layer].window;
  *start = window > 0 && model->position + 1 > window ? model->position + 1 - window : 0;
  return model->position / ATTENTION_PART - *start / ATTENTION_PART + 1;
}

/// Attention's result of all heads, put together of those of the parts.
static void merge_parts(const lmoe_decoder *d, size_t parts, float *out) {
  const size_t heads = d->model.heads, width = d->model.head_width;
  for (size_t head = 0; head < heads; head++, out += width) {
    float largest = -INFINITY, total = 0;
    for (size_t part = 0; part < parts; part++) {
      const float log = d->partial_logs[part * heads + head];
      largest = log > largest ? log : largest;
    }
    for (size_t part = 0; part < parts; part++) total += expf(d->partial_logs[part * heads + head] - largest);
    memset(out, 0, width * sizeof *out);
    for (size_t part = 0; part < parts; part++) {
      const float share = expf(d->partial_logs[part * heads + head] - largest) / total;
      const float *values = d->partial + (part * heads + head) * width;
      for (size_t i = 0; i < width; i++) out[i] += share * values[i];
    }
  }
}

static void normalise(const lmoe_decoder *d, worker *self, const lmoe_norm *norm) {
  self->kernels->rms_norm(d->model.residual, 0, 1, d->model.hidden, norm->weight, norm->kind, d->model.epsilon,
                          self->normed, 0);
  self->x = self->normed;
}

/// The input of the group's linear layers. Every worker makes its own: that takes less time than waiting for another's.
static void prepare_input(const lmoe_decoder *d, const stage *stage, worker *self) {
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
      const size_t parts = parts_of(model, stage->layer, &start);
      self->x = parts > 1 ? self->normed : d->mixed;
      if (parts > 1) merge_parts(d, parts, self->normed);
      break;
    }
  }
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(model, stage->group, stage->layer, linears);
  for (size_t i = 0; i < count; i++) {
    if (!takes_integers(model, &linears[i]->weight) && !takes_integers(model, &linears[i]->down)) continue;
    lmoe_integer_rows(self->x, 0, 1, linears[i]->weight.columns, self->integers);
    return;
  }
}

/// The weights of the experts, and those that have a say.
static void prepare_weights(const lmoe_decoder *d, const stage *stage, worker *self) {
  const uint64_t number = number_of(d, stage);
  if (self->weights_of == number) return;
  self->weights_of = number;
  const lmoe_model *model = &d->model;
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(model, stage->group, stage->layer, linears);
  const int is_layer = stage->group != GROUP_HEAD && model->layers[stage->layer].experts_gate != NULL;
  self->run_count = 0;
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
    for (size_t s = 0; s < linears[i]->slot_count; s++) {
      const lmoe_slot *slot = &linears[i]->slots[s];
      if (self->weights[i][slot->expert] == 0) continue;
      run *last = self->run_count > 0 ? &self->runs[self->run_count - 1] : NULL;
      if (last && last->linear == i && last->first + last->count == slot->first) {
        last->count += slot->count;
      } else {
        self->runs[self->run_count++] = (run){i, slot->first, slot->count};
      }
    }
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
static void gather_u(const lmoe_decoder *d, const stage *stage, worker *self) {
  const size_t count = MOST_LINEARS * d->ranks;
  memcpy(self->u, d->u_parts, count * sizeof(float));
  for (size_t part = 1; part < stage->u_parts; part++) self->kernels->add(self->u, d->u_parts + part * count, count);
  if (follows_norm(stage->group)) self->kernels->scale(self->u, inverse_size(&d->model), count, self->u);
}

/// U, times g s.
static void prepare_u(const lmoe_decoder *d, const stage *stage, worker *self) {
  const uint64_t number = number_of(d, stage);
  if (self->u_of == number) return;
  self->u_of = number;
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(&d->model, stage->group, stage->layer, linears);
  const float *u = stage->u_parts > 0 ? self->u : d->u;
  if (stage->u_parts > 0) gather_u(d, stage, self);
  for (size_t i = 0; i < count; i++) {
    for (size_t s = 0; s < linears[i]->slot_count; s++) {
      const lmoe_slot *slot = &linears[i]->slots[s];
      const float weight = self->weights[i][slot->expert];
      const size_t place = i * d->ranks + slot->first;
      if (weight != 0) self->kernels->scale(u + place, weight * slot->scaling, slot->count, self->u + place);
    }
  }
}

// MARK: Linear layers

static size_t part(size_t task, size_t tasks, size_t units) { return task * units / tasks; }

static void gates_task(lmoe_decoder *d, const stage *stage, worker *self, size_t task) {
  for (size_t i = 0; i < MOST_LINEARS; i++) {
    const lmoe_gate *gate = lmoe_decode_gate(&d->model, stage->group, stage->layer, i);
    if (!lmoe_decode_is_large(gate)) continue;
    multiply(d, self, &gate->rows, part(task, stage->tasks, gate->routed), part(task + 1, stage->tasks, gate->routed),
             d->scores[i], 0);
  }
}

/// Some of the rows of A of the experts that have a say.
static void factors_task(lmoe_decoder *d, const stage *stage, worker *self, size_t task) {
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
      multiply(d, self, &linears[own->linear]->down, own->first + low, own->first + high, d->u + own->linear * d->ranks, 0);
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
    const size_t width = linear->bias_kind == LMOE_F32 ? 4 : 2;
    self->kernels->add_bias(sum + first, 0, 1, end - first, (const char *)linear->bias + first * width,
                            linear->bias_kind);
  }
  if (sum != y) self->kernels->add(y + first, sum + first, end - first);
}

static void write_head(const lmoe_model *model, const worker *self, void *cache, size_t head, const float *values) {
  const size_t place = (head * model->capacity + model->position) * model->head_width;
  if (model->cache_kind == LMOE_F32) {
    memcpy((float *)cache + place, values, model->head_width * sizeof *values);
  } else {
    self->kernels->to_f16(values, model->head_width, (uint16_t *)cache + place);
  }
}

/// Whole heads of queries, keys and values: turned, and put where attention looks for them.
static void finish_heads(const lmoe_decoder *d, const worker *self, size_t layer, size_t linear, size_t first,
                         size_t end) {
  const lmoe_model *model = &d->model;
  const lmoe_layer *own = &model->layers[layer];
  const size_t width = model->head_width, count = (end - first) / width;
  float *x = (linear == 0 ? d->q : linear == 1 ? d->k : d->v) + first;
  const lmoe_norm *norm = linear == 0 ? &own->query_norm : &own->key_norm;
  if (linear < 2) {
    if (norm->weight)
      self->kernels->rms_norm(x, (ptrdiff_t)width, count, width, norm->weight, norm->kind, model->epsilon, x,
                              (ptrdiff_t)width);
    self->kernels->rotate(x, count, width, model->cosines, model->sines);
  }
  if (linear == 0) {
    const float scale = 1 / sqrtf((float)width);
    for (size_t i = 0; i < end - first; i++) x[i] *= scale;
    return;
  }
  void *cache = (linear == 1 ? model->keys : model->values)[layer];
  for (size_t head = 0; head < count; head++) write_head(model, self, cache, first / width + head, x + head * width);
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
      finish_heads(d, self, stage->layer, i, low, high);
    }
    before += rows;
  }
}

/// The group whose U the tasks of a stage make.
static group_kind next_group(const lmoe_model *model, const stage *now, size_t *layer) {
  *layer = now->group == GROUP_DOWN ? now->layer + 1 : now->layer;
  switch (now->group) {
    case GROUP_OUTPUT: return GROUP_FEED_FORWARD;
    case GROUP_FEED_FORWARD: return GROUP_DOWN;
    default: return *layer == model->layer_count ? GROUP_HEAD : GROUP_ATTENTION;
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
    float *u = d->u_parts + (task * MOST_LINEARS + i) * d->ranks;
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

/// Notes what a task reads beside the weights of the base.
static void note_factors(const lmoe_decoder *d, const stage *stage, worker *self, size_t first, size_t end) {
  prefetch *list = &self->prefetch;
  list->count = list->next = 0;
  const lmoe_linear *linears[MOST_LINEARS];
  size_t count = lmoe_decode_linears(&d->model, stage->group, stage->layer, linears), chunks = 0, before = 0, width;
  const factor_panels *panels = lmoe_decode_panels(d, stage->group, stage->layer);
  for (size_t i = 0; i < count; i++) {
    const size_t rows = linears[i]->weight.rows;
    // Queries, keys and values lie one after the other, gates and what they let through side by side.
    const size_t offset = stage->group == GROUP_ATTENTION ? before : 0;
    const size_t low = first > offset ? first - offset : 0, high = end < offset + rows ? end - offset : rows;
    before += rows;
    if (end <= offset || low >= high) continue;
    chunks += (high - low + CHUNK - 1) / CHUNK;
    // A product asks for the rows to come by itself, but not for those of another matrix.
    if (i > 0) note_bytes(list, term_of(&linears[i]->weight, low, NULL, 1).weight, BEGINNING);
    note(list, panels[i].up, up_bytes(&linears[i]->up, &width), width, low, high);
  }
  if (stage->makes_u) {
    size_t layer;
    const group_kind group = next_group(&d->model, stage, &layer);
    count = lmoe_decode_linears(&d->model, group, layer, linears);
    panels = lmoe_decode_panels(d, group, layer);
    for (size_t i = 0; i < count; i++)
      note(list, panels[i].down, down_bytes(&linears[i]->down, &width), width, first, end);
  }
  size_t lines = 0;
  for (size_t i = 0; i < list->count; i++) lines += (size_t)(list->strips[i].end - list->strips[i].at) / LINE + 1;
  list->share = chunks > 0 ? lines / chunks + 1 : 0;
}

static void linears_task(lmoe_decoder *d, const stage *stage, worker *self, size_t task) {
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
static void publish(lmoe_decoder *d, const stage *stage, const worker *self) {
  const lmoe_model *model = &d->model;
  const size_t bytes = model->gate_width * sizeof(float);
  if (stage->group == GROUP_HEAD) {
    memcpy(model->normed, self->x, model->hidden * sizeof(float));
  } else if (stage->group == GROUP_ATTENTION && lmoe_decode_gate(model, GROUP_ATTENTION, stage->layer, 0)) {
    memcpy(d->layer_weights, self->own_weights, bytes);
    if (model->layer_weights)
      memcpy(model->layer_weights + stage->layer * model->gate_width, self->own_weights, bytes);
  }
}

// MARK: Attention

/// The query heads of one key head, or one of them, over a part of the positions.
static void attend(lmoe_decoder *d, worker *self, size_t layer, size_t head, size_t heads, size_t part, size_t parts,
                   size_t start) {
  const lmoe_model *model = &d->model;
  const size_t width = model->head_width, key_head = head * model->key_heads / model->heads;
  const size_t absolute = start / ATTENTION_PART + part;
  const size_t low = part == 0 ? start : absolute * ATTENTION_PART;
  const size_t high = part + 1 == parts ? model->position + 1 : (absolute + 1) * ATTENTION_PART;
  const size_t place = (key_head * model->capacity + low) * width * (model->cache_kind == LMOE_F32 ? 4 : 2);
  lmoe_term term = {.x = d->q + head * width,
                    .x_stride = (ptrdiff_t)width,
                    .weight = (const char *)model->keys[layer] + place,
                    .weight_stride = (ptrdiff_t)width,
                    .kind = model->cache_kind,
                    .is_transposed = 1,
                    .depth = width};
  const size_t count = high - low;
  float *scores = self->apart;
  self->kernels->gemm(heads, &term, 1, 0, count, scores, (ptrdiff_t)count, 0, self->scratch);
  for (size_t i = 0; i < heads; i++) {
    const float log = self->kernels->softmax(scores + i * count, count);
    if (parts > 1) d->partial_logs[part * model->heads + head + i] = log;
  }
  term.x = scores;
  term.x_stride = (ptrdiff_t)count;
  term.weight = (const char *)model->values[layer] + place;
  term.is_transposed = 0;
  term.depth = count;
  float *out = parts > 1 ? d->partial + (part * model->heads + head) * width : d->mixed + head * width;
  self->kernels->gemm(heads, &term, 1, 0, width, out, (ptrdiff_t)width, 0, self->scratch);
}

static void attention_task(lmoe_decoder *d, const stage *stage, worker *self, size_t task) {
  const lmoe_model *model = &d->model;
  size_t start;
  const size_t parts = parts_of(model, stage->layer, &start), group = model->heads / model->key_heads;
  // With few key heads and positions each query head is a unit, or some workers would have nothing to do.
  const size_t heads = parts == 1 && model->key_heads % d->worker_count != 0 ? 1 : group;
  const size_t units = model->heads / heads * parts;
  for (size_t unit = part(task, stage->tasks, units); unit < part(task + 1, stage->tasks, units); unit++)
    attend(d, self, stage->layer, unit / parts * heads, heads, unit % parts, parts, start);
}

void lmoe_decode_prefetch(const lmoe_decoder *d, const stage *next, size_t number) {
  enum { LINE = 64, AHEAD = 6 << 10 };
  const lmoe_model *model = &d->model;
  const lmoe_linear *linears[MOST_LINEARS];
  if (next->kind != STAGE_LINEARS && next->kind != STAGE_FACTORS) return;
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
    for (size_t offset = 0; offset < AHEAD; offset += LINE) __builtin_prefetch((const char *)term.weight + offset, 0, 2);
    return;
  }
}

void lmoe_decode_task(lmoe_decoder *decoder, const stage *stage, worker *self, size_t task) {
  if (stage->kind == STAGE_ATTENTION) {
    attention_task(decoder, stage, self, task);
    return;
  }
  prepare_input(decoder, stage, self);
  if (stage->kind == STAGE_GATES) {
    gates_task(decoder, stage, self, task);
    return;
  }
  prepare_weights(decoder, stage, self);
  if (stage->kind == STAGE_FACTORS) {
    factors_task(decoder, stage, self, task);
    return;
  }
  prepare_u(decoder, stage, self);
  linears_task(decoder, stage, self, task);
  if (task == 0) publish(decoder, stage, self);
}
