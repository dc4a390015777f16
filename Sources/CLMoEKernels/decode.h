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

/// Scores of large gates; U = A x of the experts that have a say; attention; W x + B U.
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

/// The factors of a linear layer as one token takes them: what a task needs of them lies together. Made where that is
/// worth the memory; null where not.
typedef struct {
  /// PANEL outputs of all ranks, then the next: panels of floats, PANEL to a rank, or of Q8_0 (panels.h).
  void *up;
  /// The same of inputs: all ranks of one, then of the next; or runs of Q8_0 (panels.h).
  void *down;
} factor_panels;

/// Outputs of a panel of floats.
enum { PANEL = 64 };
/// The linear layers of a layer.
enum { LINEARS = 7 };

/// Memory that is asked for little by little, while there is something else to do.
enum { MOST_STRIPS = 8 };
typedef struct {
  struct {
    const char *at, *end;
  } strips[MOST_STRIPS];
  size_t count, next;
  /// How many lines go with each chunk of other work.
  size_t share;
} prefetch;

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
  run *runs;
  size_t run_count;
  /// Sums that are changed before they are added to others.
  float *apart;
  prefetch prefetch;
  /// Columns of the next group's input, and the same as integers.
  float *slice;
  void *slice_integers;
  /// Which group it has the input of, which one's weights of experts, and which one's U; counted over all tokens.
  uint64_t input_of, weights_of, u_of;
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
  /// Of the token that runs.
  uint64_t token, first_serial, done_before, done_after;
  /// Rows of U, at most.
  size_t ranks;
  /// Shared among workers.
  float *q, *k, *v, *mixed, *gated, *upward;
  /// What the layer's gate made of the token.
  float *layer_weights;
  float *scores[MOST_LINEARS];
  /// U of each linear layer, one after the other, `ranks` floats each; in parts where the stage before made it. A stage
  /// may read the parts of one group while it makes those of the next: GROUP_DOWN has its own.
  float *u, *u_parts[2];
  /// Of each head and each part of the positions: the sum of values, and the logarithm of the sum of exponentials.
  float *partial, *partial_logs;
  size_t partial_room;
  /// Of each layer's linear layers in the order of the groups, then of the head; null where there are none.
  factor_panels *panels;
  void *panel_memory;
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
/// Their panels.
factor_panels *lmoe_decode_panels(const lmoe_decoder *decoder, group_kind group, size_t layer);
/// Gives all panels their room, unless they would take much more memory than the model has without them.
void lmoe_decode_reserve_panels(lmoe_decoder *decoder);
/// Makes the list of stages. Which there are depends on which panels have room.
void lmoe_decode_add_stages(lmoe_decoder *decoder);
/// Takes room from `*memory`, or with null there only counts it.
void *lmoe_decode_take(char **memory, size_t *total, size_t bytes);
/// Gates of a group: the layer's, or each linear layer's own. Null where there is none.
const lmoe_gate *lmoe_decode_gate(const lmoe_model *model, group_kind group, size_t layer, size_t linear);
/// Whether a gate has so many rows that workers share them.
int lmoe_decode_is_large(const lmoe_gate *gate);

/// Prepares a worker for a stage, and does a task of it.
void lmoe_decode_task(lmoe_decoder *decoder, const stage *stage, worker *self, size_t task);
/// The steps of it: the input of the group's linear layers, what the experts weigh there, U; then one of the tasks.
void lmoe_decode_prepare_input(const lmoe_decoder *decoder, const stage *stage, worker *self);
void lmoe_decode_prepare_weights(const lmoe_decoder *decoder, const stage *stage, worker *self);
void lmoe_decode_prepare_u(const lmoe_decoder *decoder, const stage *stage, worker *self);
void lmoe_decode_gates_task(lmoe_decoder *decoder, const stage *stage, worker *self, size_t task);
void lmoe_decode_factors_task(lmoe_decoder *decoder, const stage *stage, worker *self, size_t task);
void lmoe_decode_linears_task(lmoe_decoder *decoder, const stage *stage, worker *self, size_t task);
void lmoe_decode_attention_task(lmoe_decoder *decoder, const stage *stage, worker *self, size_t task);
/// Notes what others look at later: the layer's weights of the experts, the last norm's output.
void lmoe_decode_publish(lmoe_decoder *decoder, const stage *stage, const worker *self);
/// The parts of positions that a layer looks at, and the first position.
size_t lmoe_decode_parts(const lmoe_model *model, size_t layer, size_t *start);
/// Attention's result of all heads, put together of those of the parts.
void lmoe_decode_merge(const lmoe_decoder *decoder, size_t parts, float *out);
/// Turns whole heads of queries, keys or values, and puts them where attention looks for them.
void lmoe_decode_finish_heads(const lmoe_decoder *decoder, const worker *self, size_t layer, size_t linear,
                              size_t first, size_t end);
/// Asks for what worker `number` probably reads first in a stage.
void lmoe_decode_prefetch(const lmoe_decoder *decoder, const stage *next, size_t number);
/// Units of the output rows of a group that tasks consist of.
size_t lmoe_decode_unit(const lmoe_model *model, group_kind group);
#endif
