// What decoding is made of: stages that follow each other, of tasks that workers take.
#ifndef LMOE_DECODE_H
#define LMOE_DECODE_H
#include "kernel_variants.h"

#include <stdatomic.h>

/// Linear layers of one input, which are computed together.
typedef enum { GROUP_ATTENTION, GROUP_OUTPUT, GROUP_FEED_FORWARD, GROUP_DOWN, GROUP_HEAD } group_kind;
enum { MOST_LINEARS = 3 };

/// Scores of large gates; U = A x of the experts that have a say; attention; W x + B U.
typedef enum { STAGE_GATES, STAGE_FACTORS, STAGE_ATTENTION, STAGE_LINEARS } stage_kind;

typedef struct {
  stage_kind kind;
  group_kind group;
  size_t layer;
  size_t tasks;
  /// Tasks of all stages up to this one, itself included.
  uint64_t done;
} stage;

/// Something that several workers change, alone in its cache line.
typedef struct {
  _Alignas(64) _Atomic uint64_t value;
} counter;

/// Experts of a linear layer that have a say, next to each other.
typedef struct {
  size_t linear, first, count;
} run;

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
  /// Which group it has the input of, which one's weights of experts, and which one's U; counted over all tokens.
  uint64_t input_of, weights_of, u_of;
} worker;

struct lmoe_decoder {
  lmoe_model model;
  size_t worker_count, stage_count, most_tasks;
  stage *stages;
  worker *workers;
  /// The task of that number is taken in the stage of that serial number, counted over all tokens.
  counter *claims;
  counter done;
  /// Of the token that runs.
  uint64_t token, first_serial, done_before, done_after;
  /// Rows of U, at most.
  size_t ranks;
  /// Shared among workers.
  float *q, *k, *v, *mixed, *gated, *upward;
  float *layer_weights;
  float *scores[MOST_LINEARS];
  float *u[MOST_LINEARS];
  /// Of each head and each part of the positions: the sum of values, and the logarithm of the sum of exponentials.
  float *partial, *partial_logs;
  size_t partial_room;
  uint64_t *times;
  /// What all of it is in.
  void *memory;
};

/// Positions that attention takes together.
enum { ATTENTION_PART = 256 };

/// The linear layers of a group, their number.
size_t lmoe_decode_linears(const lmoe_model *model, group_kind group, size_t layer,
                           const lmoe_linear *linears[MOST_LINEARS]);
/// Gates of a group: the layer's, or each linear layer's own. Null where there is none.
const lmoe_gate *lmoe_decode_gate(const lmoe_model *model, group_kind group, size_t layer, size_t linear);
/// Whether a gate has so many rows that workers share them.
int lmoe_decode_is_large(const lmoe_gate *gate);

/// Prepares a worker for a stage, and does a task of it.
void lmoe_decode_task(lmoe_decoder *decoder, const stage *stage, worker *self, size_t task);
/// Asks for what worker `number` probably reads first in a stage.
void lmoe_decode_prefetch(const lmoe_decoder *decoder, const stage *next, size_t number);
/// Units of the output rows of a group that tasks consist of.
size_t lmoe_decode_unit(const lmoe_model *model, group_kind group);
#endif
