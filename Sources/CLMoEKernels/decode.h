// What decoding is made of: stages that follow each other, of tasks that workers take.
#ifndef LMOE_DECODE_H
#define LMOE_DECODE_H
#include "kernel_variants.h"

#include <stdatomic.h>

/// Linear layers of one input, which are computed together.
typedef enum { GROUP_ATTENTION, GROUP_OUTPUT, GROUP_FEED_FORWARD, GROUP_DOWN, GROUP_HEAD } group_kind;
enum { MOST_LINEARS = 3 };
/// Tasks of a stage, at most, and of attention.
enum { MOST_TASKS = 64, ATTENTION_TASKS = 16 };

/// Scores of large gates, and W x, which does not need them; U = A x of the experts that have a say; attention;
/// W x + B U.
typedef enum { STAGE_GATES, STAGE_FACTORS, STAGE_ATTENTION, STAGE_LINEARS } stage_kind;

typedef struct {
  stage_kind kind;
  group_kind group;
  size_t layer;
  size_t tasks;
  /// Whether the tasks also compute their columns' part of U of the group that follows; and if this group's U came
  /// about so, of how many parts.
  int makes_u;
  size_t u_parts;
  /// Whether it is left out where attention's tasks have made U.
  int is_spare;
  /// Whether the stage of gates has made W x.
  int is_base_early;
  /// Where what each task takes of the factors that are laid out begins, and where the last one's ends. Null where
  /// nothing is laid out.
  const char **strips;
  /// Tasks of all stages up to this one, itself included.
  uint64_t done;
} stage;

/// Bytes of a cache line.
enum { LINE = 64 };

/// Something that several workers change, alone in its cache line.
typedef struct {
  _Alignas(LINE) _Atomic uint64_t value;
} counter;

/// Experts of a linear layer that have a say, next to each other.
typedef struct {
  size_t linear, first, count;
} run;

/// An expert of a linear layer that has a say.
typedef struct {
  size_t linear;
  const lmoe_slot *slot;
} choice;

/// What is known of a linear layer before any token.
typedef struct {
  /// Whether its factors are laid out for the tasks: B for those that compute its outputs, A for those that compute its
  /// input (decode_strips.h).
  int up, down;
  /// Whether magnitudes rescale outputs; whether the layer's input is needed as integers.
  int rescales, needs_integers;
} linear_plan;

/// The linear layers of a layer.
enum { LINEARS = 7 };

/// What one worker knows. It is made anew where it does not fit the stage at hand.
typedef struct {
  const lmoe_kernels *kernels;
  float *scratch;
  /// The group's input, and the same as integers.
  const float *x;
  float *normed;
  void *integers;
  /// The weights of the experts of each of the group's linear layers, and their memory.
  const float *weights[MOST_LINEARS];
  float *own_weights;
  float *scores;
  size_t *members;
  /// U, times g s.
  float *u;
  choice *choices;
  run *runs;
  size_t choice_count, run_count;
  /// Scores of attention.
  float *attention;
  /// What is left of the task's strip.
  const char *strip;
  /// Columns of the next group's input, and the same as integers.
  float *slice;
  void *slice_integers;
  /// Which group it has the input of, which one's weights of experts, and which one's U; counted over all tokens.
  uint64_t input_of, weights_of, u_of;
  /// Nanoseconds that the stage's scores took.
  uint64_t gates_time;
} worker;

struct lmoe_decoder {
  lmoe_model model;
  size_t worker_count, stage_count;
  stage *stages;
  worker *workers;
  /// For each worker the serial number of a stage, counted over all tokens, and how many of the tasks that the worker
  /// begins with are taken in it.
  counter *claims;
  counter done;
  /// Of the token that runs: whether attention looks at one part of positions only, so that its tasks also make U.
  int is_short;
  uint64_t token, first_serial, done_before, done_after;
  /// Tasks of the stages that are left out then.
  uint64_t spare_tasks;
  /// Rows of U, at most.
  size_t ranks;
  /// Shared among workers.
  float *q, *k, *v, *mixed, *gated, *upward;
  /// Sums that magnitudes rescale before they are added to the residual stream.
  float *apart;
  /// What the layer's gate made of the token.
  float *layer_weights;
  float *scores[MOST_LINEARS];
  /// U of each linear layer, one after the other, `ranks` floats each; in parts where the stage before made it. A stage
  /// may read the parts of one group while it makes those of the next, so groups take turns.
  float *u, *u_parts[2];
  /// Of each head and each part of the positions: the sum of values, and the logarithm of the sum of exponentials.
  float *partial, *partial_logs;
  size_t partial_room;
  /// Of each layer's linear layers in the order of the groups, then of the head.
  linear_plan *linears;
  const char **strips;
  void *strip_memory;
  const lmoe_kernels *kernels;
  uint64_t *times;
  /// What all of it is in.
  void *memory;
};

/// Whether a stage's tasks are taken from the last on. The head is read forwards and backwards in turns: a cache that
/// nearly holds the model has what was read last.
static inline int is_backward(const lmoe_decoder *decoder, const stage *stage) {
  return stage->group == GROUP_HEAD && decoder->token % 2 == 1;
}

/// Positions that attention takes together.
enum { ATTENTION_PART = 256 };

/// The linear layers of a group, their number.
size_t lmoe_decode_linears(const lmoe_model *model, group_kind group, size_t layer,
                           const lmoe_linear *linears[MOST_LINEARS]);
/// What is known of each of them.
linear_plan *lmoe_decode_linear_plans(const lmoe_decoder *decoder, group_kind group, size_t layer);
/// The group whose U the tasks of a stage make.
group_kind lmoe_decode_next_group(const lmoe_model *model, const stage *now, size_t *layer);
/// Outputs [*first, *end) that a task computes: of one linear layer after the other in GROUP_ATTENTION, of both in
/// GROUP_FEED_FORWARD; of whole heads in attention.
void lmoe_decode_outputs(const lmoe_model *model, const stage *stage, size_t task, size_t *first, size_t *end);
/// Those of them that are one linear layer's.
int lmoe_decode_own_outputs(const lmoe_model *model, const stage *stage, size_t linear, size_t first, size_t end,
                            size_t *low, size_t *high);
/// Makes the list of stages. Which there are depends on which factors are laid out.
void lmoe_decode_add_stages(lmoe_decoder *decoder);
/// The same, and finds room for what is laid out; without memory for it nothing is.
void lmoe_decode_plan(lmoe_decoder *decoder);
/// Takes room from `*memory`, or with null there only counts it.
void *lmoe_decode_take(char **memory, size_t *total, size_t bytes);
/// Gates of a group: the layer's, or each linear layer's own. Null where there is none.
const lmoe_gate *lmoe_decode_gate(const lmoe_model *model, group_kind group, size_t layer, size_t linear);
/// Whether a gate has so many rows that workers share them.
int lmoe_decode_is_large(const lmoe_gate *gate);

/// Prepares a worker for a stage, and does tasks [first, end) of it.
void lmoe_decode_tasks(lmoe_decoder *decoder, const stage *stage, worker *self, size_t first, size_t end);
/// The steps of it: the input of the group's linear layers, what the experts weigh there, U; then the tasks.
void lmoe_decode_prepare_input(const lmoe_decoder *decoder, const stage *stage, worker *self);
void lmoe_decode_prepare_weights(const lmoe_decoder *decoder, const stage *stage, worker *self);
void lmoe_decode_prepare_u(const lmoe_decoder *decoder, const stage *stage, worker *self);
void lmoe_decode_gates_tasks(lmoe_decoder *decoder, const stage *stage, worker *self, size_t first, size_t end);
void lmoe_decode_factors_task(lmoe_decoder *decoder, const stage *stage, worker *self, size_t task);
void lmoe_decode_linears_tasks(lmoe_decoder *decoder, const stage *stage, worker *self, size_t first, size_t end);
void lmoe_decode_attention_task(lmoe_decoder *decoder, const stage *stage, worker *self, size_t task);
/// Part `part` of U of the group that follows: columns [first, end) of its input, which a task has just computed, times
/// those columns of A.
void lmoe_decode_make_u(const lmoe_decoder *decoder, const stage *stage, worker *self, size_t part, size_t first,
                        size_t end);
/// Notes what others look at later: the layer's weights of the experts, the last norm's output.
void lmoe_decode_publish(lmoe_decoder *decoder, const stage *stage, const worker *self);
/// The parts of positions that a layer looks at, and the first position.
size_t lmoe_decode_parts(const lmoe_model *model, size_t layer, size_t *start);
/// Attention's result of all heads, put together of those of the parts.
void lmoe_decode_merge(const lmoe_decoder *decoder, size_t parts, float *out);
/// Turns whole heads of queries, keys or values, and puts them where attention looks for them.
void lmoe_decode_finish_heads(const lmoe_decoder *decoder, const worker *self, size_t layer, size_t linear,
                              size_t first, size_t end);
/// Asks for what worker `number`, `self`, probably reads first in a stage, now that nothing else is to be done.
void lmoe_decode_prefetch(const lmoe_decoder *decoder, const stage *next, worker *self, size_t number);
/// Nanoseconds of a clock.
uint64_t lmoe_decode_now(void);
/// Units of the output rows of a group that tasks consist of.
size_t lmoe_decode_unit(const lmoe_model *model, group_kind group);
#endif
