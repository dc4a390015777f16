// Times llama.cpp on a prompt and on single tokens, without adapters and with them, in turns in one process.
// bench/inference.py compiles and runs it: llama-bench, from which the set-up is, takes no adapters.
//
//     llama_peer MODEL THREADS f16|f32 FLASH PROMPT DEPTH TOKENS ROUNDS [ADAPTER SCALE]...
//     llama_peer quantize MODEL OUT q8_0|q4_0|q4_k|q6_k
//
// The second makes a model whose matrices are all of one type, the embedding too.
//
// Prints a line "prompt SECONDS tokens SECONDS" a round and side; sides are "base" and "adapters".
#include <ggml-cpu.h>
#include <llama.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64 };

static void quiet(enum ggml_log_level level, const char *text, void *data) {
  (void)data;
  if (level >= GGML_LOG_LEVEL_ERROR && level != GGML_LOG_LEVEL_CONT) fputs(text, stderr);
}

static void check(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "llama_peer: %s\n", what);
  exit(1);
}

/// Tokens from `position` on, in one batch; logits of the last.
static double run(struct llama_context *context, const llama_token *tokens, int count, int position) {
  struct llama_batch batch = llama_batch_init(count, 0, 1);
  batch.n_tokens = count;
  for (int i = 0; i < count; i++) {
    batch.token[i] = tokens[i];
    batch.pos[i] = position + i;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = i == count - 1;
  }
  int64_t start = ggml_time_us();
  check(llama_decode(context, batch) == 0, "llama_decode failed");
  llama_synchronize(context);
  double seconds = (double)(ggml_time_us() - start) * 1e-6;
  llama_batch_free(batch);
  return seconds;
}

static llama_token random_token(int vocabulary) { return rand() % vocabulary; }

static int quantize(char **arguments) {
  static const struct { const char *name; enum llama_ftype type; } types[] = {
    {"q8_0", LLAMA_FTYPE_MOSTLY_Q8_0}, {"q4_0", LLAMA_FTYPE_MOSTLY_Q4_0},
    {"q4_k", LLAMA_FTYPE_MOSTLY_Q4_K_S}, {"q6_k", LLAMA_FTYPE_MOSTLY_Q6_K}};
  struct llama_model_quantize_params parameters = llama_model_quantize_default_params();
  size_t i = 0;
  while (i < sizeof types / sizeof *types && strcmp(types[i].name, arguments[4]) != 0) i++;
  check(i < sizeof types / sizeof *types, "unknown type");
  parameters.ftype = types[i].type;
  parameters.pure = true;
  llama_log_set(quiet, NULL);
  llama_backend_init();
  check(llama_model_quantize(arguments[2], arguments[3], &parameters) == 0, "cannot quantize");
  return 0;
}

int main(int count, char **arguments) {
  if (count == 5 && strcmp(arguments[1], "quantize") == 0) return quantize(arguments);
  check(count >= 9 && count % 2 == 1, "wrong arguments");
  const int threads = atoi(arguments[2]), flash = atoi(arguments[4]), prompt = atoi(arguments[5]);
  const int depth = atoi(arguments[6]), tokens = atoi(arguments[7]), rounds = atoi(arguments[8]);
  const enum ggml_type cache = strcmp(arguments[3], "f32") == 0 ? GGML_TYPE_F32 : GGML_TYPE_F16;
  llama_log_set(quiet, NULL);
  llama_backend_init();
  struct llama_model_params model_parameters = llama_model_default_params();
  model_parameters.n_gpu_layers = 0;
  struct llama_model *model = llama_model_load_from_file(arguments[1], model_parameters);
  check(model != NULL, "cannot load the model");
  const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));

  struct llama_adapter_lora *adapters[MOST];
  float scales[MOST];
  size_t adapter_count = 0;
  for (int i = 9; i + 1 < count && adapter_count < MOST; i += 2) {
    adapters[adapter_count] = llama_adapter_lora_init(model, arguments[i]);
    check(adapters[adapter_count] != NULL, "cannot load an adapter");
    scales[adapter_count++] = (float)atof(arguments[i + 1]);
  }

  const int longest = prompt > depth + tokens ? prompt : depth + tokens;
  struct ggml_threadpool_params pool_parameters = ggml_threadpool_params_default(threads);
  struct ggml_threadpool *pool = ggml_threadpool_new(&pool_parameters);
  check(pool != NULL, "cannot make threads");
  const int sides = adapter_count > 0 ? 2 : 1;
  struct llama_context *contexts[2] = {0};
  for (int side = 0; side < sides; side++) {
    struct llama_context_params parameters = llama_context_default_params();
    parameters.n_ctx = (uint32_t)longest;
    parameters.n_batch = parameters.n_ubatch = (uint32_t)longest;
    parameters.n_threads = parameters.n_threads_batch = threads;
    parameters.flash_attn_type = flash ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    parameters.type_k = parameters.type_v = cache;
    contexts[side] = llama_init_from_model(model, parameters);
    check(contexts[side] != NULL, "cannot make a context");
    llama_attach_threadpool(contexts[side], pool, NULL);
    if (side == 1)
      check(llama_set_adapters_lora(contexts[1], adapters, adapter_count, scales) == 0, "cannot set the adapters");
  }

  llama_token *text = malloc((size_t)longest * sizeof *text);
  for (int i = 0; i < longest; i++) text[i] = random_token(vocabulary);
  if (rounds == 0) {  // One token after a short prompt, for the time of the whole process.
    run(contexts[sides - 1], text, depth, 0);
    return 0;
  }
  float *reference = malloc((size_t)vocabulary * sizeof *reference);
  double change = 0;
  for (int round = 0; round <= rounds; round++) {  // The first one warms up.
    for (int turn = 0; turn < sides; turn++) {
      const int side = sides == 2 ? (turn + round) % 2 : 0;
      struct llama_context *context = contexts[side];
      llama_memory_clear(llama_get_memory(context), false);
      double reading = run(context, text, prompt, 0);
      if (round == 0 && sides == 2) {  // Adapters must change something, or they are not measured.
        const float *logits = llama_get_logits_ith(context, -1);
        if (turn == 0) memcpy(reference, logits, (size_t)vocabulary * sizeof *reference);
        else
          for (int i = 0; i < vocabulary; i++) change = fmax(change, fabs(logits[i] - reference[i]));
      }
      llama_memory_clear(llama_get_memory(context), false);
      run(context, text, depth, 0);
      double writing = 0;
      for (int i = 0; i < tokens; i++) {
        llama_token token = random_token(vocabulary);
        writing += run(context, &token, 1, depth + i);
      }
      if (round > 0) printf("%s prompt %.9f tokens %.9f\n", side ? "adapters" : "base", reading, writing / tokens);
    }
  }
  check(sides == 1 || change > 1e-4, "the adapters change nothing");
  for (int side = 0; side < sides; side++) llama_free(contexts[side]);
  ggml_threadpool_free(pool);
  return 0;
}
