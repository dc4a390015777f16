// Attention of one token: heads are turned and kept by whoever has computed them; positions are looked at in parts.
#include "decode_prefetch.h"

#include <math.h>
#include <string.h>

static void write_head(const lmoe_model *model, const worker *self, void *cache, size_t head, const float *values) {
  const size_t place = (head * model->capacity + model->position) * model->head_width;
  if (model->cache_kind == LMOE_F32) {
    memcpy((float *)cache + place, values, model->head_width * sizeof *values);
  } else {
    self->kernels->to_f16(values, model->head_width, (uint16_t *)cache + place);
  }
}

/// Whole heads of queries, keys and values: turned, and put where attention looks for them.
void lmoe_decode_finish_heads(const lmoe_decoder *d, const worker *self, size_t layer, size_t linear, size_t first,
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

/// The parts of positions that a layer looks at, and the first position.
size_t lmoe_decode_parts(const lmoe_model *model, size_t layer, size_t *start) {
  const size_t window = model->layers[layer].window;
  *start = window > 0 && model->position + 1 > window ? model->position + 1 - window : 0;
  return model->position / ATTENTION_PART - *start / ATTENTION_PART + 1;
}

/// Attention's result of all heads, put together of those of the parts.
void lmoe_decode_merge(const lmoe_decoder *d, size_t parts, float *out) {
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

/// The query heads of one key head, or one of them, over a part of the positions.
static void attend(lmoe_decoder *d, worker *self, size_t layer, size_t head, size_t heads, size_t part, size_t parts,
                   size_t start) {
  const lmoe_model *model = &d->model;
  const size_t width = model->head_width, key_head = head * model->key_heads / model->heads;
  const size_t absolute = start / ATTENTION_PART + part;
  const size_t low = part == 0 ? start : absolute * ATTENTION_PART;
  const size_t high = part + 1 == parts ? model->position + 1 : (absolute + 1) * ATTENTION_PART;
  const size_t place = (key_head * model->capacity + low) * width * float_bytes(model->cache_kind);
  lmoe_term term = {.x = d->q + head * width,
                    .x_stride = (ptrdiff_t)width,
                    .weight = (const char *)model->keys[layer] + place,
                    .weight_stride = (ptrdiff_t)width,
                    .kind = model->cache_kind,
                    .is_transposed = 1,
                    .depth = width};
  const size_t count = high - low;
  float *scores = self->attention;
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

/// Whole heads over all positions, and then their columns' part of U of what follows. Which heads does not depend on
/// how many workers there are.
static void attend_short(lmoe_decoder *d, const stage *stage, worker *self, size_t task) {
  const lmoe_model *model = &d->model;
  const size_t width = model->head_width, group = model->heads / model->key_heads;
  size_t start, first, end;
  const size_t parts = lmoe_decode_parts(model, stage->layer, &start);
  lmoe_decode_outputs(model, stage, task, &first, &end);
  if (first >= end) return;
  if (stage->makes_u) prefetch_strip(stage, self, task);
  for (size_t head = first / width; head < end / width;) {
    size_t next = (head / group + 1) * group;
    if (next > end / width) next = end / width;
    attend(d, self, stage->layer, head, next - head, 0, parts, start);
    head = next;
  }
  // With fewer heads than tasks some tasks have none: then parts are counted by heads.
  const size_t part = model->heads < stage->tasks ? first / width : task;
  if (stage->makes_u) lmoe_decode_make_u(d, stage, self, part, first, end);
}

void lmoe_decode_attention_task(lmoe_decoder *d, const stage *stage, worker *self, size_t task) {
  if (d->is_short) {
    attend_short(d, stage, self, task);
    return;
  }
  const lmoe_model *model = &d->model;
  size_t start;
  const size_t parts = lmoe_decode_parts(model, stage->layer, &start), group = model->heads / model->key_heads;
  // With few key heads and positions each query head is a unit, or some workers would have nothing to do.
  const size_t heads = parts == 1 && model->key_heads % d->worker_count != 0 ? 1 : group;
  const size_t units = model->heads / heads * parts;
  for (size_t unit = part(task, stage->tasks, units); unit < part(task + 1, stage->tasks, units); unit++)
    attend(d, self, stage->layer, unit / parts * heads, heads, unit % parts, parts, start);
}
