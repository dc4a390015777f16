// The order of stages, and how workers share a token: whoever is free takes tasks, and nobody goes on before all tasks
// of a stage are done. A worker that comes late finds that others have done its part.
#include "decode.h"

#include <stdlib.h>
#include <time.h>
#if defined(__unix__) || defined(__APPLE__)
#include <sched.h>
#endif

int lmoe_decoder_begin(lmoe_decoder *decoder) {
  const lmoe_model *model = &decoder->model;
  // Room for every part of the positions.
  const size_t parts = model->position / ATTENTION_PART + 2;
  const size_t needed = parts * model->heads * (model->head_width + 1);
  if (needed > decoder->partial_room) {
    float *larger = realloc(decoder->partial, 2 * needed * sizeof(float));
    if (!larger) return 0;
    decoder->partial = larger;
    decoder->partial_room = 2 * needed;
  }
  decoder->partial_logs = decoder->partial + parts * model->heads * model->head_width;
  decoder->token++;
  decoder->first_serial += decoder->stage_count;
  decoder->is_short = model->position < ATTENTION_PART;
  decoder->done_before = decoder->done_after;
  decoder->done_after += decoder->stages[decoder->stage_count - 1].done;
  if (decoder->is_short) decoder->done_after -= decoder->spare_tasks;
  return 1;
}

uint64_t lmoe_decode_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int time_of(const stage *stage) {
  if (stage->kind == STAGE_FACTORS) return LMOE_TIME_DOWN;
  if (stage->kind == STAGE_ATTENTION) return LMOE_TIME_ATTENTION;
  switch (stage->group) {
    case GROUP_HEAD: return LMOE_TIME_HEAD;
    case GROUP_ATTENTION: case GROUP_OUTPUT: return LMOE_TIME_ATTENTION_WEIGHTS;
    default: return LMOE_TIME_FEED_FORWARD;
  }
}

enum { TAKEN_BITS = 16 };

/// Takes some tasks of those of the stage of that serial number that `owner` begins with, and says which, and how many:
/// 0 if all are taken.
static size_t claim(lmoe_decoder *decoder, const stage *stage, size_t owner, uint64_t serial, size_t *first) {
  const size_t workers = decoder->worker_count, begin = owner * stage->tasks / workers;
  const uint64_t count = (owner + 1) * stage->tasks / workers - begin;
  _Atomic uint64_t *claims = &decoder->claims[owner].value;
  uint64_t last = atomic_load_explicit(claims, memory_order_relaxed);
  for (;;) {
    // Somebody who comes late finds a later stage there.
    const uint64_t known = last >> TAKEN_BITS, taken = known == serial ? last & ((1 << TAKEN_BITS) - 1) : 0;
    if (known > serial || taken == count) return 0;
    // Many at first, for memory is read faster in long runs; few at the end, so that all workers end together.
    const uint64_t left = count - taken, own = left > 1 ? 3 * left / 4 : 1;
    const uint64_t next = serial << TAKEN_BITS | (taken + own);
    if (atomic_compare_exchange_weak_explicit(claims, &last, next, memory_order_relaxed, memory_order_relaxed)) {
      *first = begin + (is_backward(decoder, stage) ? count - taken - own : taken);
      return own;
    }
  }
}

static int is_left_out(const lmoe_decoder *decoder, const stage *stage) {
  return stage->is_spare && decoder->is_short;
}

static void wait_for(const lmoe_decoder *decoder, uint64_t done) {
  enum { PATIENCE = 4000 };
  for (int turns = 0; atomic_load_explicit(&decoder->done.value, memory_order_acquire) < done; turns++) {
    // A worker that lost its core needs this one.
    if (turns < PATIENCE) lmoe_pause(); else sched_yield();
  }
}

void lmoe_decoder_run(lmoe_decoder *decoder, size_t number, float *scratch) {
  worker *self = &decoder->workers[number];
  self->kernels = decoder->kernels;
  self->scratch = scratch;
  uint64_t *times = number == 0 ? decoder->times : NULL;
  uint64_t last = times ? lmoe_decode_now() : 0, left_out = 0;
  for (size_t index = 0; index < decoder->stage_count; index++) {
    const stage *stage = &decoder->stages[index];
    if (is_left_out(decoder, stage)) {
      left_out += stage->tasks;
      continue;
    }
    const uint64_t serial = decoder->first_serial + index + 1, done = decoder->done_before + stage->done - left_out;
    size_t all = 0, owner = number;
    // Each begins where it did in the last token, for that part of the weights may still be in its cache; and then
    // takes what others have left.
    for (size_t asked = 0; asked < decoder->worker_count; asked++) {
      for (size_t first, own; (own = claim(decoder, stage, owner, serial, &first)) > 0; all += own)
        lmoe_decode_tasks(decoder, stage, self, first, first + own);
      owner = owner + 1 < decoder->worker_count ? owner + 1 : 0;
    }
    if (all > 0) atomic_fetch_add_explicit(&decoder->done.value, all, memory_order_release);
    if (times) {
      const uint64_t end = lmoe_decode_now();
      times[time_of(stage)] += end - last - self->gates_time;
      times[LMOE_TIME_GATES] += self->gates_time;
      self->gates_time = 0;
      last = end;
    }
    const size_t next = index + 1 < decoder->stage_count && is_left_out(decoder, stage + 1) ? index + 2 : index + 1;
    if (next < decoder->stage_count) lmoe_decode_prefetch(decoder, &decoder->stages[next], self, number);
    wait_for(decoder, done);
    if (times) {
      const uint64_t end = lmoe_decode_now();
      times[LMOE_TIME_WAITING] += end - last;
      last = end;
    }
  }
}
