"""Random Llama models in the shapes that lmoe-tool's own measurements have."""
import torch
from transformers import LlamaConfig, LlamaForCausalLM

# hidden, inner, layers, heads, key-value heads, vocabulary, positions, theta
SHAPES = {
    "s15m": (288, 768, 6, 6, 6, 32000, 2048, 10000.0),  # stories15M
    "s110m": (768, 2048, 12, 12, 12, 32000, 2048, 10000.0),  # stories110M
    "smol135m": (576, 1536, 30, 9, 3, 49152, 8192, 100000.0),  # SmolLM2-135M
    "smol360m": (960, 2560, 32, 15, 5, 49152, 8192, 100000.0),  # SmolLM2-360M
    "tiny1b": (2048, 5632, 22, 32, 4, 32000, 2048, 10000.0),  # TinyLlama 1.1B
}
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make(shape, dtype=torch.float32):
    """A model with tied embeddings and the library's fast attention."""
    torch.manual_seed(0)
    hidden, inner, layers, heads, kv_heads, vocabulary, positions, theta = SHAPES[shape]
    config = LlamaConfig(
        hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv_heads, vocab_size=vocabulary, max_position_embeddings=positions, rms_norm_eps=1e-5,
        rope_theta=theta, tie_word_embeddings=True)
    config._attn_implementation = "sdpa"
    return LlamaForCausalLM(config).to(dtype)
