"""Llama models of random weights, and LoRA adapters for them, as Hugging Face and PEFT write them.

Needs numpy. Normal weights have the exponents of trained ones, so that they compress alike.
"""
import json
import struct

import numpy as np

# hidden, inner, layers, heads, key-value heads, vocabulary, positions, theta
SHAPES = {
    "s15m": (288, 768, 6, 6, 6, 32000, 2048, 10000.0),  # stories15M
    "s110m": (768, 2048, 12, 12, 12, 32000, 2048, 10000.0),  # stories110M
    "smol135m": (576, 1536, 30, 9, 3, 49152, 8192, 100000.0),  # SmolLM2-135M
}
# For bundles of other sizes: SmolLM2-360M, TinyLlama 1.1B and Llama 3.2 3B.
LARGER = {
    "smol360m": (960, 2560, 32, 15, 5, 49152, 8192, 100000.0),
    "tiny1b": (2048, 5632, 22, 32, 4, 32000, 2048, 10000.0),
    "llama3b": (3072, 8192, 28, 24, 8, 128256, 8192, 500000.0),
}
NAMES = {"f32": "F32", "f16": "F16", "bf16": "BF16"}


def linears(shape):
    """Rows and columns of a layer's linear layers."""
    hidden, inner, _, heads, kv_heads, *_ = shape_of(shape)
    keys = hidden // heads * kv_heads
    return {"self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden), "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden), "mlp.down_proj": (hidden, inner)}


def shape_of(shape):
    return {**SHAPES, **LARGER}[shape] if isinstance(shape, str) else shape


class Normal:
    """Normal values of a deviation; made when they are written."""

    def __init__(self, *size, scale=0.02):
        self.size, self.scale = size, scale

    def bytes(self, random, dtype):
        values = random.standard_normal(self.size, dtype=np.float32)
        values *= np.float32(self.scale)
        return encoded(values, dtype)


class Ones:
    def __init__(self, *size):
        self.size = size

    def bytes(self, _, dtype):
        return encoded(np.ones(self.size, np.float32), dtype)


def encoded(values, dtype):
    if dtype == "bf16":  # cut off, not rounded
        return (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    return values.astype(np.float16 if dtype == "f16" else np.float32).tobytes()


def write(path, tensors, dtype, random):
    """A safetensors file, one tensor in memory at a time."""
    width, header, offset = (4 if dtype == "f32" else 2), {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in tensors.items():
        length = width * int(np.prod(tensor.size))
        header[name] = {"dtype": NAMES[dtype], "shape": list(tensor.size), "data_offsets": [offset, offset + length]}
        offset += length
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.bytes(random, dtype))


def make_base(path, shape, dtype="f16", positions=None):
    """A checkpoint with tied embeddings and with tokenizers of both kinds."""
    hidden, inner, layers, heads, kv_heads, vocabulary, longest, theta = shape_of(shape)
    path.mkdir(parents=True)
    tensors = {"model.embed_tokens.weight": Normal(vocabulary, hidden), "model.norm.weight": Ones(hidden)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        for name, size in linears(shape).items():
            tensors[f"{prefix}{name}.weight"] = Normal(*size)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}{name}.weight"] = Ones(hidden)
    write(path / "model.safetensors", tensors, dtype, np.random.default_rng(0))
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
              "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
              "num_key_value_heads": kv_heads, "vocab_size": vocabulary,
              "max_position_embeddings": positions or longest, "rms_norm_eps": 1e-5, "rope_theta": theta,
              "tie_word_embeddings": True, "hidden_act": "silu", "attention_bias": False, "mlp_bias": False,
              "bos_token_id": 1, "eos_token_id": 2,
              "torch_dtype": {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[dtype]}
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.model").write_bytes(sentencepiece(vocabulary))
    (path / "tokenizer.json").write_text(json.dumps(byte_pairs(vocabulary)))
    (path / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}))


def make_adapter(path, shape, rank, seed, dtype="f16", alpha=None, base="base"):
    """An adapter on all linear layers; another one for every seed."""
    path.mkdir(parents=True)
    tensors = {}
    for layer in range(shape_of(shape)[2]):
        for name, (outputs, inputs) in linears(shape).items():
            key = f"base_model.model.model.layers.{layer}.{name}"
            tensors[f"{key}.lora_A.weight"] = Normal(rank, inputs, scale=inputs ** -0.5)
            tensors[f"{key}.lora_B.weight"] = Normal(outputs, rank, scale=0.01)
    write(path / "adapter_model.safetensors", tensors, dtype, np.random.default_rng([1, seed]))
    (path / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": alpha or 2 * rank, "bias": "none",
         "base_model_name_or_path": base, "target_modules": sorted(n.split(".")[1] for n in linears(shape))}))


# MARK: Tokenizers

def sentencepiece(vocabulary):
    """A SentencePiece model of that many pieces, which llama.cpp's conversion asks for: protocol buffers by hand."""
    def field(number, content):  # of bytes, shorter than 128
        return bytes([number << 3 | 2, len(content)]) + content

    unknown, control, byte = 2, 3, 6
    pieces = [("<unk>", unknown), ("<s>", control), ("</s>", control)] + [(f"<0x{b:02X}>", byte) for b in range(256)]
    pieces += [(f"\u2581w{i}", 1) for i in range(vocabulary - len(pieces))]
    result = b"".join(field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", -i) + bytes([3 << 3, kind]))
                      for i, (text, kind) in enumerate(pieces))
    # The trainer's part: byte-pair encoding (field 3 is 2) with byte fallback (field 35 is true).
    return result + field(2, b"\x18\x02\x98\x02\x01")


def byte_pairs(vocabulary):
    """A byte-level tokenizer.json of that many tokens, with as many merges as real ones have."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(others)}
    tokens = ["<unk>", "<s>", "</s>"] + [letters[byte] for byte in range(256)]
    small = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    spaced, merges = ["\u0120" + a for a in small], [("\u0120", a) for a in small]
    pairs = [a + b for a in small for b in small]
    merges += [(a, b) for a in small for b in small]
    words = [(first, second) for first in spaced for second in pairs]
    longer = [(first, second) for first in pairs for second in pairs]
    merges = (merges + words + longer)[:vocabulary - len(tokens)]
    tokens += [a + b for a, b in merges]
    special = [{"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True} for i, token in enumerate(tokens[:3])]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
            "pre_tokenizer": level, "post_processor": None, "decoder": level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": {token: i for i, token in enumerate(tokens)},
                      "merges": [f"{a} {b}" for a, b in merges]}}
