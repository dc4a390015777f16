// Gates: what experts weigh for one token.
#include "CLMoEKernels.h"

#include <math.h>
#include <string.h>

/// Whether member `a` comes before `b`: by score, and of equal ones the first.
static int comes_before(const float *scores, size_t a, size_t b) {
  return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
}

/// Moves the last to come of `heap` [count] down from `place` to where it belongs.
static void sift(const float *scores, size_t *heap, size_t count, size_t place) {
  for (;;) {
    size_t child = 2 * place + 1;
    if (child >= count) return;
    if (child + 1 < count && comes_before(scores, heap[child], heap[child + 1])) child++;
    if (comes_before(scores, heap[child], heap[place])) return;
    const size_t other = heap[place];
    heap[place] = heap[child];
    heap[child] = other;
    place = child;
  }
}

/// The members with the `k` largest scores, the largest first. With k a small part of `count`, in little more time than
/// it takes to look at all of them.
static void largest(const float *scores, size_t count, size_t k, size_t *members) {
  // A heap of the best so far, the one that goes first on top.
  for (size_t i = 0; i < k; i++) members[i] = i;
  for (size_t i = k / 2; i-- > 0;) sift(scores, members, k, i);
  for (size_t i = k; i < count; i++) {
    if (!comes_before(scores, i, members[0])) continue;
    members[0] = i;
    sift(scores, members, k, 0);
  }
  for (size_t left = k; left > 1; left--) {
    const size_t last = members[0];
    members[0] = members[left - 1];
    members[left - 1] = last;
    sift(scores, members, left - 1, 0);
  }
}

static void top(const lmoe_gate *gate, float *scores, size_t *members, float *weights) {
  const size_t k = gate->chosen < gate->routed ? gate->chosen : gate->routed;
  if (k == 0) return;
  float *kept = scores + gate->routed;
  largest(scores, gate->routed, k, members);
  if (gate->normaliser == LMOE_WEIGHTS_TOP_RENORMALISED) {
    for (size_t i = 0; i < k; i++) kept[i] = scores[members[i]];
    lmoe_softmax(kept, k);
  } else {
    lmoe_softmax(scores, gate->routed);
    for (size_t i = 0; i < k; i++) kept[i] = scores[members[i]];
  }
  for (size_t i = 0; i < k; i++) weights[gate->columns[members[i]]] += kept[i];
}

void lmoe_gate_weigh(const lmoe_gate *gate, const float *input, size_t inputs, float *products, size_t *members,
                     float *weights) {
  memset(weights, 0, gate->width * sizeof *weights);
  for (size_t i = 0; i < gate->always_count; i++) weights[gate->always[i]] = 1;
  const size_t count = gate->routed;
  if (count == 0) return;
  float *scores = products;
  const float *terms = gate->terms;
  switch (gate->score) {
    case LMOE_SCORE_CONSTANT:
      for (size_t i = 0; i < count; i++) scores[i] = terms ? terms[i] : 0;
      break;
    case LMOE_SCORE_LINEAR:
      for (size_t i = 0; i < count && terms; i++) scores[i] += terms[i];
      break;
    case LMOE_SCORE_ABSOLUTE_DOT:
      for (size_t i = 0; i < count; i++) scores[i] = fabsf(scores[i]);
      break;
    case LMOE_SCORE_COSINE: {
      int is_finite = 1;
      const double length = sqrt(lmoe_sum_squares(input, inputs, LMOE_F32, &is_finite));
      const float inverse = length > 0 ? (float)(1 / length) : 0;
      for (size_t i = 0; i < count && terms; i++) scores[i] *= terms[i] * inverse;
      break;
    }
    default: break;
  }
  for (size_t i = 0; i < count; i++) scores[i] /= gate->temperature;
  switch (gate->normaliser) {
    case LMOE_WEIGHTS_TOP_RENORMALISED:
    case LMOE_WEIGHTS_TOP_RAW: top(gate, scores, members, weights); return;
    case LMOE_WEIGHTS_SOFTMAX: lmoe_softmax(scores, count); break;
    default: break;
  }
  for (size_t i = 0; i < count; i++) weights[gate->columns[i]] += scores[i];
}
