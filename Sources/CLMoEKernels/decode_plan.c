// What decoding a token consists of: the stages of a model, the memory they take, and the experts' factors laid out.
#define _GNU_SOURCE
#include "decode_products.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// MARK: The model

size_t lmoe_decode_linears(const lmoe_model *model, group_kind group, size_t layer,
                           const lmoe_linear *linears[MOST_LINEARS]) {
  const lmoe_layer *own = &model->layers[layer < model->layer_count ? layer : 0];
  switch (group) {
    case GROUP_ATTENTION:
      linears[0] = &own->query;
      linears[1] = &own->key;
      linears[2] = &own->value;
      return 3;
    case GROUP_FEED_FORWARD:
      linears[0] = &own->gate;
      linears[1] = &own->up;
      return 2;
    case GROUP_OUTPUT: linears[0] = &own->output; return 1;
    case GROUP_DOWN: linears[0] = &own->down; return 1;
    default: linears[0] = &model->head; return 1;
  }
}

/// Whether all experts of a linear layer have a say for every token, as far as can be known before.
static int is_dense(const lmoe_model *model, group_kind group, size_t layer, size_t linear) {
  const lmoe_linear *linears[MOST_LINEARS];
  lmoe_decode_linears(model, group, layer, linears);
  const lmoe_gate *gate = linears[linear]->gate;
  if (!gate && group != GROUP_HEAD) gate = model->layers[layer].experts_gate;
  return !gate || gate->normaliser == LMOE_WEIGHTS_PLAIN || gate->normaliser == LMOE_WEIGHTS_SOFTMAX;
}

static int has_experts(const lmoe_layer *layer) {
  return layer->query.slot_count || layer->key.slot_count || layer->value.slot_count || layer->output.slot_count ||
         layer->gate.slot_count || layer->up.slot_count || layer->down.slot_count;
}

const lmoe_gate *lmoe_decode_gate(const lmoe_model *model, group_kind group, size_t layer, size_t linear) {
  const lmoe_linear *linears[MOST_LINEARS];
  if (linear >= lmoe_decode_linears(model, group, layer, linears)) return NULL;
  if (linears[linear]->gate) return linears[linear]->slot_count ? linears[linear]->gate : NULL;
  // The layer's looks at the first norm's output, once.
  if (group != GROUP_ATTENTION || linear > 0) return NULL;
  return has_experts(&model->layers[layer]) ? model->layers[layer].experts_gate : NULL;
}

int lmoe_decode_is_large(const lmoe_gate *gate) {
  return gate && gate->rows.values && gate->rows.rows * gate->rows.columns > 16384;
}

size_t lmoe_decode_unit(const lmoe_model *model, group_kind group) {
  // Whole heads, for who has computed them turns them; whole blocks elsewhere.
  return group == GROUP_ATTENTION ? model->head_width : 32;
}

// MARK: Stages

/// Bytes of a matrix; none of one that is not there.
static size_t all_bytes(const lmoe_matrix *matrix) {
  return matrix->values ? bytes_of(matrix, matrix->rows * matrix->columns) : 0;
}

/// As many tasks as keep workers busy to the end, none so small that taking it costs much. Their number says in what
/// parts U is summed; it does not depend on how many workers there are, so that results do not.
static size_t tasks_for(size_t bytes, size_t units) {
  enum { TASK = 96 << 10 };
  size_t tasks = bytes / TASK / 2 * 2;
  if (tasks > MOST_TASKS) tasks = MOST_TASKS;
  if (tasks < 2) tasks = 2;
  if (tasks > units) tasks = units;
  return tasks > 0 ? tasks : 1;
}

static void add_stage(lmoe_decoder *decoder, stage_kind kind, group_kind group, size_t layer, size_t tasks) {
  stage *next = &decoder->stages[decoder->stage_count];
  const uint64_t before = decoder->stage_count > 0 ? next[-1].done : 0;
  *next = (stage){.kind = kind, .group = group, .layer = layer, .tasks = tasks, .done = before + tasks};
  decoder->stage_count++;
}

/// Whether U of a group can be made while its input comes about, column by column: if nobody has to know all of the
/// input before, as a gate that chooses has.
static int is_early(const lmoe_decoder *decoder, group_kind group, size_t layer) {
  const lmoe_model *model = &decoder->model;
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(model, group, layer, linears);
  // The stage before must be one of linear layers, whose tasks have whole blocks of columns.
  if (group == GROUP_OUTPUT || (group == GROUP_ATTENTION && layer == 0) || decoder->stage_count == 0) return 0;
  for (size_t i = 0; i < count; i++)
    if (linears[i]->slot_count > 0 && !lmoe_decode_panels(decoder, group, layer)[i].down) return 0;
  return 1;
}

static void add_group(lmoe_decoder *decoder, group_kind group, size_t layer) {
  const lmoe_model *model = &decoder->model;
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(model, group, layer, linears);
  size_t bytes = 0, outputs = 0, factors = 0, ranks = 0, gates = 0;
  for (size_t i = 0; i < count; i++) {
    const lmoe_gate *gate = lmoe_decode_gate(model, group, layer, i);
    if (lmoe_decode_is_large(gate)) gates += all_bytes(&gate->rows);
    bytes += all_bytes(&linears[i]->weight) + all_bytes(&linears[i]->up);
    outputs += linears[i]->weight.rows;
    factors += all_bytes(&linears[i]->down);
    ranks += linears[i]->down.rows;
  }
  if (group == GROUP_FEED_FORWARD) outputs /= 2;
  if (gates > 0) add_stage(decoder, STAGE_GATES, group, layer, tasks_for(gates, gates));
  size_t parts = 0;
  if (ranks > 0 && gates == 0 && is_early(decoder, group, layer)) {
    stage *before = &decoder->stages[decoder->stage_count - 1];
    before->makes_u = 1;
    parts = before->tasks;
  } else if (ranks > 0) {
    add_stage(decoder, STAGE_FACTORS, group, layer, tasks_for(factors, (ranks + 3) / 4));
  }
  const size_t unit = lmoe_decode_unit(model, group);
  add_stage(decoder, STAGE_LINEARS, group, layer, tasks_for(bytes, (outputs + unit - 1) / unit));
  decoder->stages[decoder->stage_count - 1].u_parts = parts;
}

static void add_stages(lmoe_decoder *decoder) {
  for (size_t layer = 0; layer < decoder->model.layer_count; layer++) {
    add_group(decoder, GROUP_ATTENTION, layer);
    add_stage(decoder, STAGE_ATTENTION, GROUP_ATTENTION, layer, ATTENTION_TASKS);
    add_group(decoder, GROUP_OUTPUT, layer);
    add_group(decoder, GROUP_FEED_FORWARD, layer);
    add_group(decoder, GROUP_DOWN, layer);
  }
  add_group(decoder, GROUP_HEAD, decoder->model.layer_count);
}

// MARK: Memory

/// Takes room from `*memory`, or with null there only counts it.
static void *take(char **memory, size_t *total, size_t bytes) {
  const size_t room = (bytes + LINE - 1) / LINE * LINE;
  char *own = *memory ? *memory + *total : NULL;
  *total += room;
  return own;
}

/// The largest of what is needed.
typedef struct {
  size_t inputs, outputs, ranks, slots, width;
} needs;

static void add_needs(needs *needs, const lmoe_model *model, group_kind group, size_t layer) {
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(model, group, layer, linears);
  size_t slots = 0;
  for (size_t i = 0; i < count; i++) {
    const lmoe_matrix *weight = &linears[i]->weight;
    if (weight->columns > needs->inputs) needs->inputs = weight->columns;
    if (group != GROUP_HEAD && weight->rows > needs->outputs) needs->outputs = weight->rows;
    if (linears[i]->down.rows > needs->ranks) needs->ranks = linears[i]->down.rows;
    slots += linears[i]->slot_count;
  }
  if (slots > needs->slots) needs->slots = slots;
}

static size_t lay_out(lmoe_decoder *d, char *memory, const needs *needs, size_t stages) {
  const lmoe_model *model = &d->model;
  size_t total = 0;
  char **at = &memory;
#define FLOATS(count) take(at, &total, (count) * sizeof(float))
  d->stages = take(at, &total, stages * sizeof *d->stages);
  d->workers = take(at, &total, d->worker_count * sizeof *d->workers);
  d->panels = take(at, &total, (LINEARS * model->layer_count + 1) * sizeof *d->panels);
  d->claims = take(at, &total, MOST_TASKS * sizeof *d->claims);
  d->q = FLOATS(model->heads * model->head_width);
  d->k = FLOATS(model->key_heads * model->head_width);
  d->v = FLOATS(model->key_heads * model->head_width);
  d->mixed = FLOATS(model->heads * model->head_width);
  d->gated = FLOATS(model->inner);
  d->upward = FLOATS(model->inner);
  d->layer_weights = FLOATS(model->gate_width);
  for (int i = 0; i < MOST_LINEARS; i++) d->scores[i] = FLOATS(needs->width);
  d->u = FLOATS(MOST_LINEARS * needs->ranks);
  for (int i = 0; i < 2; i++) d->u_parts[i] = FLOATS(MOST_TASKS * MOST_LINEARS * needs->ranks);
  for (size_t w = 0; w < d->worker_count; w++) {
    worker own = {0};
    own.normed = FLOATS(needs->inputs);
    own.integers = take(at, &total, lmoe_integer_row_bytes(needs->inputs));
    own.own_weights = FLOATS(MOST_LINEARS * model->gate_width);
    own.scores = FLOATS(2 * needs->width);
    own.members = take(at, &total, needs->width * sizeof *own.members);
    own.u = FLOATS(MOST_LINEARS * needs->ranks);
    own.runs = take(at, &total, (needs->slots + 1) * sizeof *own.runs);
    own.apart = FLOATS(needs->outputs > ATTENTION_PART * model->heads ? needs->outputs : ATTENTION_PART * model->heads);
    own.slice = FLOATS(needs->inputs);
    own.slice_integers = take(at, &total, lmoe_integer_row_bytes(needs->inputs));
    if (memory) d->workers[w] = own;
  }
#undef FLOATS
  return total;
}

// MARK: Panels

factor_panels *lmoe_decode_panels(const lmoe_decoder *decoder, group_kind group, size_t layer) {
  static const size_t places[] = {0, 3, 4, 6, 0};
  return &decoder->panels[LINEARS * layer + places[group]];
}

/// The group of a number that counts all groups.
static group_kind group_of(const lmoe_decoder *decoder, size_t number, size_t *layer) {
  *layer = number / GROUP_HEAD;
  return *layer == decoder->model.layer_count ? GROUP_HEAD : (group_kind)(number % GROUP_HEAD);
}

/// Gives all panels their room, unless they would take much more memory than the model has without them.
static void reserve_panels(lmoe_decoder *decoder) {
  // Parts of U of many ranks would take longer to add up than another stage does.
  enum { LITTLE = 64 << 20, MOST_EARLY_RANKS = 256, HUGE_PAGE = 2 << 20 };
  const lmoe_model *model = &decoder->model;
  const lmoe_linear *linears[MOST_LINEARS];
  for (char *memory = NULL;; memory = decoder->panel_memory) {
    size_t total = 0, base = 0;
    for (size_t number = 0; number <= GROUP_HEAD * model->layer_count; number++) {
      size_t layer;
      const group_kind group = group_of(decoder, number, &layer);
      const size_t count = lmoe_decode_linears(model, group, layer, linears);
      for (size_t i = 0; i < count; i++) {
        base += all_bytes(&linears[i]->weight);
        factor_panels *panels = lmoe_decode_panels(decoder, group, layer) + i;
        const size_t up = lmoe_decode_up_bytes(decoder, &linears[i]->up);
        const size_t down = lmoe_decode_down_bytes(decoder, &linears[i]->down);
        // Of experts that are chosen token by token, a rank at a time is read from where it is.
        if (!is_dense(model, group, layer, i)) continue;
        if (up > 0) panels->up = take(&memory, &total, up);
        if (down > 0 && linears[i]->down.rows <= MOST_EARLY_RANKS) panels->down = take(&memory, &total, down);
      }
    }
    if (memory || total == 0 || (total > LITTLE && total > base / 4)) return;
    decoder->panel_memory = aligned_alloc(HUGE_PAGE, (total + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    if (!decoder->panel_memory) return;
#if defined(MADV_HUGEPAGE)
    madvise(decoder->panel_memory, total, MADV_HUGEPAGE);
#endif
  }
}

size_t lmoe_decoder_packs(const lmoe_decoder *decoder) {
  return decoder->panel_memory ? GROUP_HEAD * decoder->model.layer_count + 1 : 0;
}

void lmoe_decoder_pack(lmoe_decoder *decoder, size_t number) {
  const lmoe_linear *linears[MOST_LINEARS];
  size_t layer;
  const group_kind group = group_of(decoder, number, &layer);
  const size_t count = lmoe_decode_linears(&decoder->model, group, layer, linears);
  for (size_t i = 0; i < count; i++) {
    const factor_panels *panels = lmoe_decode_panels(decoder, group, layer) + i;
    if (panels->up) lmoe_decode_pack_up(&linears[i]->up, panels->up);
    if (panels->down) lmoe_decode_pack_down(&linears[i]->down, panels->down);
  }
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
  if (model->head.slot_count > 0 && model->head.weight.rows > needs.outputs) needs.outputs = model->head.weight.rows;
  const size_t stages = 13 * model->layer_count + 3, bytes = lay_out(decoder, NULL, &needs, stages);
  decoder->memory = aligned_alloc(LINE, bytes);
  if (!decoder->memory) {
    free(decoder);
    return NULL;
  }
  memset(decoder->memory, 0, bytes);
  decoder->ranks = needs.ranks;
  lay_out(decoder, decoder->memory, &needs, stages);
  reserve_panels(decoder);
  add_stages(decoder);
  return decoder;
}

void lmoe_decoder_free(lmoe_decoder *decoder) {
  if (!decoder) return;
  free(decoder->partial);
  free(decoder->panel_memory);
  free(decoder->memory);
  free(decoder);
}

lmoe_model *lmoe_decoder_model(lmoe_decoder *decoder) { return &decoder->model; }

void lmoe_decoder_time(lmoe_decoder *decoder, uint64_t *times) { decoder->times = times; }
