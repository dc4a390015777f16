// The memory that decoding takes: as much as the largest group of a model needs, in one piece.
#include "decode.h"
#include "panels.h"

#include <stdlib.h>
#include <string.h>

void *lmoe_decode_take(char **memory, size_t *total, size_t bytes) {
  const size_t room = (bytes + LINE - 1) / LINE * LINE;
  char *own = *memory ? *memory + *total : NULL;
  *total += room;
  return own;
}

/// The largest of what is needed; `width` is that of scores: the columns of the gates' weights, or the members of a
/// gate that weighs a column more than once.
typedef struct {
  size_t inputs, ranks, slots, width;
} needs;

static void add_needs(needs *needs, const lmoe_model *model, group_kind group, size_t layer) {
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(model, group, layer, linears);
  size_t slots = 0;
  for (size_t i = 0; i < count; i++) {
    const lmoe_matrix *weight = &linears[i]->weight;
    if (weight->columns > needs->inputs) needs->inputs = weight->columns;
    if (linears[i]->ranks > needs->ranks) needs->ranks = linears[i]->ranks;
    slots += linears[i]->slot_count;
    const lmoe_gate *gate = lmoe_decode_gate(model, group, layer, i);
    if (gate && gate->routed > needs->width) needs->width = gate->routed;
  }
  if (slots > needs->slots) needs->slots = slots;
}

static size_t lay_out(lmoe_decoder *d, char *memory, const needs *needs, size_t stages) {
  const lmoe_model *model = &d->model;
  size_t total = 0;
  char **at = &memory;
#define FLOATS(count) lmoe_decode_take(at, &total, (count) * sizeof(float))
  d->stages = lmoe_decode_take(at, &total, stages * sizeof *d->stages);
  d->workers = lmoe_decode_take(at, &total, d->worker_count * sizeof *d->workers);
  d->linears = lmoe_decode_take(at, &total, (LINEARS * model->layer_count + 1) * sizeof *d->linears);
  d->claims = lmoe_decode_take(at, &total, d->worker_count * sizeof *d->claims);
  d->q = FLOATS(model->heads * model->head_width);
  d->k = FLOATS(model->key_heads * model->head_width);
  d->v = FLOATS(model->key_heads * model->head_width);
  d->mixed = FLOATS(model->heads * model->head_width);
  d->gated = FLOATS(model->inner);
  d->upward = FLOATS(model->inner);
  d->apart = FLOATS(model->hidden);
  d->layer_weights = FLOATS(model->gate_width);
  for (int i = 0; i < MOST_LINEARS; i++) d->scores[i] = FLOATS(needs->width);
  d->u = FLOATS(MOST_LINEARS * needs->ranks);
  for (int i = 0; i < 2; i++) d->u_parts[i] = FLOATS(MOST_TASKS * MOST_LINEARS * needs->ranks);
  for (size_t w = 0; w < d->worker_count; w++) {
    worker own = {0};
    own.normed = FLOATS(needs->inputs);
    own.integers = lmoe_decode_take(at, &total, lmoe_integer_row_bytes(needs->inputs));
    own.own_weights = FLOATS(MOST_LINEARS * model->gate_width);
    own.scores = FLOATS(2 * needs->width);
    own.members = lmoe_decode_take(at, &total, needs->width * sizeof *own.members);
    own.u = FLOATS(MOST_LINEARS * needs->ranks);
    own.choices = lmoe_decode_take(at, &total, (needs->slots + 1) * sizeof *own.choices);
    own.runs = lmoe_decode_take(at, &total, (needs->slots + 1) * sizeof *own.runs);
    own.attention = FLOATS(ATTENTION_PART * model->heads);
    own.slice = FLOATS(needs->inputs + Q8_PANEL);
    own.slice_integers = lmoe_decode_take(at, &total, lmoe_integer_row_bytes(needs->inputs + Q8_PANEL));
    if (memory) d->workers[w] = own;
  }
#undef FLOATS
  return total;
}

lmoe_decoder *lmoe_decoder_create(const lmoe_model *model, size_t workers) {
  lmoe_decoder *decoder = aligned_alloc(_Alignof(lmoe_decoder), sizeof *decoder);
  if (!decoder) return NULL;
  memset(decoder, 0, sizeof *decoder);
  decoder->model = *model;
  decoder->worker_count = workers > 0 ? workers : 1;
  decoder->kernels = lmoe_kernels_now();
  needs needs = {.width = model->gate_width};
  for (size_t layer = 0; layer < model->layer_count; layer++)
    for (group_kind group = GROUP_ATTENTION; group <= GROUP_DOWN; group++) add_needs(&needs, model, group, layer);
  add_needs(&needs, model, GROUP_HEAD, model->layer_count);
  const size_t stages = 13 * model->layer_count + 3, bytes = lay_out(decoder, NULL, &needs, stages);
  decoder->memory = aligned_alloc(LINE, bytes);
  if (!decoder->memory) {
    free(decoder);
    return NULL;
  }
  memset(decoder->memory, 0, bytes);
  decoder->ranks = needs.ranks;
  lay_out(decoder, decoder->memory, &needs, stages);
  lmoe_decode_plan(decoder);
  return decoder;
}

void lmoe_decoder_free(lmoe_decoder *decoder) {
  if (!decoder) return;
  free(decoder->partial);
  free(decoder->strips);
  free(decoder->strip_memory);
  free(decoder->memory);
  free(decoder);
}

lmoe_model *lmoe_decoder_model(lmoe_decoder *decoder) { return &decoder->model; }

void lmoe_decoder_time(lmoe_decoder *decoder, uint64_t *times) { decoder->times = times; }
