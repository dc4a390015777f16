// What decoding a token consists of: the stages of a model, and their tasks.
#include "decode_products.h"

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

linear_plan *lmoe_decode_linear_plans(const lmoe_decoder *decoder, group_kind group, size_t layer) {
  static const size_t places[] = {0, 3, 4, 6, 0};
  return &decoder->linears[LINEARS * layer + places[group]];
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

group_kind lmoe_decode_next_group(const lmoe_model *model, const stage *now, size_t *layer) {
  *layer = now->group == GROUP_DOWN ? now->layer + 1 : now->layer;
  if (now->kind == STAGE_ATTENTION) return GROUP_OUTPUT;
  switch (now->group) {
    case GROUP_OUTPUT: return GROUP_FEED_FORWARD;
    case GROUP_FEED_FORWARD: return GROUP_DOWN;
    default: return *layer == model->layer_count ? GROUP_HEAD : GROUP_ATTENTION;
  }
}

// MARK: Tasks

void lmoe_decode_outputs(const lmoe_model *model, const stage *stage, size_t task, size_t *first, size_t *end) {
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(model, stage->group, stage->layer, linears);
  size_t rows = 0, unit = lmoe_decode_unit(model, stage->group);
  if (stage->kind == STAGE_ATTENTION) {
    rows = model->heads * model->head_width;
    unit = model->head_width;
  } else {
    for (size_t i = 0; i < count && (i == 0 || stage->group == GROUP_ATTENTION); i++) rows += linears[i]->weight.rows;
  }
  const size_t units = (rows + unit - 1) / unit;
  *first = part(task, stage->tasks, units) * unit;
  *end = part(task + 1, stage->tasks, units) * unit;
  if (*end > rows) *end = rows;
}

int lmoe_decode_own_outputs(const lmoe_model *model, const stage *stage, size_t linear, size_t first, size_t end,
                            size_t *low, size_t *high) {
  const lmoe_linear *linears[MOST_LINEARS];
  lmoe_decode_linears(model, stage->group, stage->layer, linears);
  size_t before = 0;
  if (stage->group == GROUP_ATTENTION)
    for (size_t i = 0; i < linear; i++) before += linears[i]->weight.rows;
  const size_t rows = linears[linear]->weight.rows;
  *low = first > before ? first - before : 0;
  *high = end < before ? 0 : end - before < rows ? end - before : rows;
  return *low < *high;
}

// MARK: Stages

/// As many tasks as keep workers busy to the end, none so small that taking it costs much. Their number says in what
/// parts U is summed; it does not depend on how many workers there are, so that results do not.
static size_t tasks_for(size_t bytes, size_t units) {
  enum { TASK = 96 << 10 };
  size_t tasks = bytes / TASK / 2 * 2;
  if (tasks > MOST_TASKS) tasks = MOST_TASKS;
  if (tasks < 2) tasks = 2;
  if (tasks > units) tasks = units;
  if (tasks == 0) return 1;
  // Rather a few less than tasks of unequal sizes.
  const size_t each = (units + tasks - 1) / tasks;
  return units % each == 0 && units / each % 2 == 0 ? units / each : tasks;
}

static void add_stage(lmoe_decoder *decoder, stage_kind kind, group_kind group, size_t layer, size_t tasks) {
  stage *next = &decoder->stages[decoder->stage_count];
  const uint64_t before = decoder->stage_count > 0 ? next[-1].done : 0;
  *next = (stage){.kind = kind, .group = group, .layer = layer, .tasks = tasks, .done = before + tasks};
  decoder->stage_count++;
}

/// Whether U of a group can be made while its input comes about, column by column: if nobody has to know all of the
/// input before, as a gate that chooses has. (That of o_proj can if attention looks at one part of positions.)
static int is_early(const lmoe_decoder *decoder, group_kind group, size_t layer) {
  const lmoe_model *model = &decoder->model;
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(model, group, layer, linears);
  if (group == GROUP_ATTENTION && layer == 0) return 0;
  for (size_t i = 0; i < count; i++)
    if (linears[i]->slot_count > 0 && !lmoe_decode_linear_plans(decoder, group, layer)[i].down) return 0;
  return 1;
}

static void look_at(const lmoe_model *model, const lmoe_linear *linear, linear_plan *plan) {
  plan->rescales = 0;
  plan->needs_integers = takes_integers(model, &linear->weight);
  for (size_t s = 0; s < linear->slot_count; s++) {
    plan->rescales |= linear->slots[s].rescaling != NULL;
    plan->needs_integers |= takes_integers(model, &linear->slots[s].down);
  }
}

static void add_group(lmoe_decoder *decoder, group_kind group, size_t layer) {
  const lmoe_model *model = &decoder->model;
  const lmoe_linear *linears[MOST_LINEARS];
  const size_t count = lmoe_decode_linears(model, group, layer, linears);
  linear_plan *plans = lmoe_decode_linear_plans(decoder, group, layer);
  size_t base = 0, ups = 0, outputs = 0, factors = 0, ranks = 0, gates = 0;
  for (size_t i = 0; i < count; i++) {
    look_at(model, linears[i], &plans[i]);
    const lmoe_gate *gate = lmoe_decode_gate(model, group, layer, i);
    if (lmoe_decode_is_large(gate)) gates += all_bytes(&gate->rows);
    base += all_bytes(&linears[i]->weight);
    for (size_t s = 0; s < linears[i]->slot_count; s++) {
      ups += all_bytes(&linears[i]->slots[s].up);
      factors += all_bytes(&linears[i]->slots[s].down);
    }
    outputs += linears[i]->weight.rows;
    ranks += linears[i]->ranks;
  }
  if (group == GROUP_FEED_FORWARD) outputs /= 2;
  const size_t unit = lmoe_decode_unit(model, group), units = (outputs + unit - 1) / unit;
  if (gates > 0) add_stage(decoder, STAGE_GATES, group, layer, tasks_for(gates + base, units));
  size_t parts = 0;
  const int is_made_before = ranks > 0 && gates == 0 && is_early(decoder, group, layer);
  if (is_made_before) {
    stage *before = &decoder->stages[decoder->stage_count - 1];
    before->makes_u = 1;
    parts = group == GROUP_OUTPUT && model->heads < before->tasks ? model->heads : before->tasks;
  }
  if (ranks > 0 && (!is_made_before || group == GROUP_OUTPUT)) {
    add_stage(decoder, STAGE_FACTORS, group, layer, tasks_for(factors, (ranks + 3) / 4));
    decoder->stages[decoder->stage_count - 1].is_spare = is_made_before;
    if (is_made_before) decoder->spare_tasks += decoder->stages[decoder->stage_count - 1].tasks;
  }
  add_stage(decoder, STAGE_LINEARS, group, layer, tasks_for(base + ups, units));
  decoder->stages[decoder->stage_count - 1].u_parts = parts;
  decoder->stages[decoder->stage_count - 1].is_base_early = gates > 0;
}

void lmoe_decode_add_stages(lmoe_decoder *decoder) {
  decoder->stage_count = decoder->spare_tasks = 0;
  for (size_t layer = 0; layer < decoder->model.layer_count; layer++) {
    add_group(decoder, GROUP_ATTENTION, layer);
    add_stage(decoder, STAGE_ATTENTION, GROUP_ATTENTION, layer, ATTENTION_TASKS);
    add_group(decoder, GROUP_OUTPUT, layer);
    add_group(decoder, GROUP_FEED_FORWARD, layer);
    add_group(decoder, GROUP_DOWN, layer);
  }
  add_group(decoder, GROUP_HEAD, decoder->model.layer_count);
}
