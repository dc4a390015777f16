// One token through all layers of a model: what a mixture takes, weights as they are stored, both cores reading all
// the time. Plain C over memory that somebody else keeps.
#ifndef CLMOE_DECODING_H
#define CLMOE_DECODING_H

#include <stddef.h>
#include <stdint.h>

// MARK: Gates (gates.c)

/// A matrix as a term of a product has it.
typedef struct {
  const void *values;
  /// LMOE_F32, LMOE_F16 or LMOE_BF16, or the scheme of blocks of `block` elements.
  int kind;
  size_t block;
  /// The element at `values` that it begins with, where blocks know no rows.
  size_t first;
  size_t rows, columns;
} lmoe_matrix;

/// How a score comes about from a row w of the gate and the input h: a number of its own, w h + b, w h, |w h|, or
/// w h / (|w| |h|).
enum { LMOE_SCORE_CONSTANT, LMOE_SCORE_LINEAR, LMOE_SCORE_DOT, LMOE_SCORE_ABSOLUTE_DOT, LMOE_SCORE_COSINE };
/// How scores become weights: as they are, by a softmax, by one of the `chosen` largest, or by one of all of which the
/// `chosen` largest are kept.
enum { LMOE_WEIGHTS_PLAIN, LMOE_WEIGHTS_SOFTMAX, LMOE_WEIGHTS_TOP_RENORMALISED, LMOE_WEIGHTS_TOP_RAW };

/// A gate at one place.
typedef struct {
  int score, normaliser;
  /// k, where only the k largest count.
  size_t chosen;
  float temperature;
  /// Members that are weighed, and the column of each; the order decides between equal scores.
  size_t routed;
  const size_t *columns;
  /// A number for each: the score itself, b, or 1 / |w|. Null where the score has none.
  const float *terms;
  /// routed x inputs; no values where scores are constant.
  lmoe_matrix rows;
  /// Columns that always have the weight 1.
  size_t always_count;
  const size_t *always;
  /// Columns: all experts, and the null expert where there is one.
  size_t width;
} lmoe_gate;

/// Turns the products of a gate's rows with an input of `inputs` floats into weights of all columns. The products
/// are the first of 2 * routed floats, all of which are lost; `members` has room for `routed` numbers.
void lmoe_gate_weigh(const lmoe_gate *gate, const float *input, size_t inputs, float *products, size_t *members,
                     float *weights);

// MARK: Decoding (decode*.c, panels.c)

/// An expert of a linear layer.
typedef struct {
  /// Its column among the gate's weights.
  size_t expert;
  /// Its ranks among those of all experts of the layer.
  size_t first, count;
  /// s, by which B A is multiplied.
  float scaling;
  /// c - 1 for each output, where magnitudes rescale them; else null.
  const float *rescaling;
  /// A: count x inputs.
  lmoe_matrix down;
  /// B: outputs x count, or, transposed, count x outputs.
  lmoe_matrix up;
  int up_is_transposed;
} lmoe_slot;

/// y = W x + b + sum of g s B (A x) over experts.
typedef struct {
  /// outputs x inputs; no values where the layer is not there.
  lmoe_matrix weight;
  const void *bias;
  int bias_kind;
  /// The experts, which follow each other by their columns, and their ranks together.
  const lmoe_slot *slots;
  size_t slot_count, ranks;
  /// What weighs the experts here, if not the layer's or the model's gate.
  const lmoe_gate *gate;
} lmoe_linear;

typedef struct {
  const void *weight;
  int kind;
} lmoe_norm;

/// One layer of a decoder.
typedef struct {
  lmoe_norm input_norm, post_norm;
  /// Of queries and keys, over the head; no weight where there is none.
  lmoe_norm query_norm, key_norm;
  lmoe_linear query, key, value, output, gate, up, down;
  /// What weighs the experts of the layer, if it has a gate.
  const lmoe_gate *experts_gate;
  /// How far a token looks back, itself included; 0 for all of it.
  size_t window;
} lmoe_layer;

/// A model, and the token that goes through it.
typedef struct {
  size_t hidden, heads, key_heads, head_width, inner, layer_count;
  double epsilon;
  const lmoe_layer *layers;
  lmoe_norm norm;
  lmoe_linear head;
  /// Columns of the gates' weights.
  size_t gate_width;
  /// Whether products with quantized weights are of integers.
  int uses_integers;

  // The token, set before each run.
  /// Its embedding [hidden]; changed.
  float *residual;
  /// The weights of the experts where one gate serves the whole model [gate_width].
  const float *weights;
  /// Of its position, head_width / 2 each.
  const float *cosines, *sines;
  size_t position;
  /// For each layer: keys and values [key_heads, capacity, head_width] in float32 or float16.
  void *const *keys;
  void *const *values;
  size_t capacity;
  int cache_kind;
  /// What comes out: the last norm's output [hidden], and the logits [vocabulary].
  float *normed, *logits;
} lmoe_model;

/// What runs tokens through a model with up to `workers` workers. It takes a copy of `model`, not of what that points
/// to. Null if there is no memory.
typedef struct lmoe_decoder lmoe_decoder;
lmoe_decoder *lmoe_decoder_create(const lmoe_model *model, size_t workers);
void lmoe_decoder_free(lmoe_decoder *decoder);
/// Lays the experts' factors out as a token takes them: so many parts, each once, in any order and by any thread, before
/// the first token.
size_t lmoe_decoder_packs(const lmoe_decoder *decoder);
void lmoe_decoder_pack(lmoe_decoder *decoder, size_t part);
/// The model, in which the token is set.
lmoe_model *lmoe_decoder_model(lmoe_decoder *decoder);
/// Begins a token: once, before any worker runs. 0 if there is no memory.
int lmoe_decoder_begin(lmoe_decoder *decoder);
/// A worker's part of the token. Any number of the workers may come, at any time, each once; what the others do not
/// do, one does alone. `scratch` is that of lmoe_gemm.
void lmoe_decoder_run(lmoe_decoder *decoder, size_t worker, float *scratch);

/// Where a token's time goes.
enum {
  LMOE_TIME_GATES, LMOE_TIME_DOWN, LMOE_TIME_ATTENTION_WEIGHTS, LMOE_TIME_ATTENTION, LMOE_TIME_FEED_FORWARD,
  LMOE_TIME_HEAD, LMOE_TIME_WAITING, LMOE_TIMES
};
/// From now on adds the nanoseconds that worker 0 spends to `times` [LMOE_TIMES], or with null no longer.
void lmoe_decoder_time(lmoe_decoder *decoder, uint64_t *times);

#endif
