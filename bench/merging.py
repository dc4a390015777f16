"""Times merging of adapters: lmoe-tool beside PEFT, whole processes, one run.

    python bench/merging.py TOOL [--shape smol135m] [--adapters 4] [--rank 16] [--rounds 3] [--methods svd,linear,cat,ties]
    python bench/merging.py TOOL --into-base     # four adapters into a model of the 7 B shape, beside a copy of its files

Needs torch, transformers, peft and safetensors. The model and its adapters have random weights of the shape asked for;
PEFT loads the model, merges with add_weighted_adapter in a process of
its own. Every figure is the median of the rounds, the programs taking turns.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHAPES = {
    "s15m": dict(hidden_size=288, num_hidden_layers=6, num_attention_heads=6, num_key_value_heads=6,
                 intermediate_size=768, vocab_size=32000),
    "s110m": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, num_key_value_heads=12,
                  intermediate_size=2048, vocab_size=32000),
    "smol135m": dict(hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
                     intermediate_size=1536, vocab_size=49152),
}

PEER = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
torch.set_num_threads(2)
base, out, method, rank, *adapters = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
model = PeftModel.from_pretrained(model, adapters[0], adapter_name="a0")
for i, path in enumerate(adapters[1:], 1):
    model.load_adapter(path, adapter_name=f"a{i}")
names = [f"a{i}" for i in range(len(adapters))]
options = {"svd": {"svd_rank": int(rank)}, "ties": {"density": 0.5}}.get(method, {})
model.add_weighted_adapter(names, [0.25] * len(names), "merged", combination_type=method, **options)
model.save_pretrained(out, selected_adapters=["merged"])
"""


def make(directory, shape, count, rank):
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(tie_word_embeddings=True, max_position_embeddings=2048, **SHAPES[shape])
    LlamaForCausalLM(config).save_pretrained(directory / "base")
    d, f = config.hidden_size, config.intermediate_size
    kv = d // config.num_attention_heads * config.num_key_value_heads
    linears = {"self_attn.q_proj": (d, d), "self_attn.k_proj": (kv, d), "self_attn.v_proj": (kv, d),
               "self_attn.o_proj": (d, d), "mlp.gate_proj": (f, d), "mlp.up_proj": (f, d), "mlp.down_proj": (d, f)}
    for i in range(count):
        tensors = {}
        for layer in range(config.num_hidden_layers):
            for name, (out, inner) in linears.items():
                key = f"base_model.model.model.layers.{layer}.{name}"
                tensors[f"{key}.lora_A.weight"] = torch.randn(rank, inner) * inner**-0.5
                tensors[f"{key}.lora_B.weight"] = torch.randn(out, rank) * 0.02
        path = directory / f"adapter{i}"
        path.mkdir()
        save_file(tensors, path / "adapter_model.safetensors", metadata={"format": "pt"})
        (path / "adapter_config.json").write_text(json.dumps({
            "peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "task_type": "CAUSAL_LM", "bias": "none",
            "target_modules": [n.split(".")[1] for n in linears], "base_model_name_or_path": "base"}))


def make_large(directory, count, rank):
    """A checkpoint of Llama 2 7B's shape in bf16, in shards, its values one block of random ones over and over."""
    import numpy
    from safetensors.numpy import save_file

    d, f, layers, vocabulary = 4096, 11008, 32, 32000
    random = numpy.random.default_rng(0)
    block = (random.standard_normal(1 << 20).astype(numpy.float32) * 0.02).view(numpy.uint32) >> 16
    block = block.astype(numpy.uint16)
    linears = {"self_attn.q_proj": (d, d), "self_attn.k_proj": (d, d), "self_attn.v_proj": (d, d),
               "self_attn.o_proj": (d, d), "mlp.gate_proj": (f, d), "mlp.up_proj": (f, d), "mlp.down_proj": (d, f)}
    tensors = {"model.embed_tokens.weight": (vocabulary, d), "model.norm.weight": (d,), "lm_head.weight": (vocabulary, d)}
    for layer in range(layers):
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{layer}.{name}.weight"] = (d,)
        for name, shape in linears.items():
            tensors[f"model.layers.{layer}.{name}.weight"] = shape
    base = directory / "base"
    base.mkdir()
    shards, size = [[]], 0
    for name, shape in tensors.items():
        count_of = int(numpy.prod(shape)) * 2
        if size + count_of > 5 << 30:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += count_of
    index = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        head, offset = {"__metadata__": {"format": "pt"}}, 0
        for name in names:
            length = int(numpy.prod(tensors[name])) * 2
            head[name] = {"dtype": "BF16", "shape": list(tensors[name]), "data_offsets": [offset, offset + length]}
            offset += length
            index[name] = file
        text = json.dumps(head).encode()
        text += b" " * (-len(text) % 8)
        with open(base / file, "wb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            for name in names:
                left = int(numpy.prod(tensors[name]))
                while left:
                    out.write(block[: min(left, len(block))].tobytes())
                    left -= min(left, len(block))
    (base / "model.safetensors.index.json").write_text(json.dumps(
        {"metadata": {"total_size": sum(int(numpy.prod(s)) * 2 for s in tensors.values())}, "weight_map": index}))
    (base / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": d, "intermediate_size": f,
        "num_hidden_layers": layers, "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": vocabulary,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
        "hidden_act": "silu", "torch_dtype": "bfloat16"}))
    for i in range(count):
        factors = {}
        for layer in range(layers):
            for name, (out, inner) in linears.items():
                key = f"base_model.model.model.layers.{layer}.{name}"
                factors[f"{key}.lora_A.weight"] = random.standard_normal((rank, inner), numpy.float32) * inner**-0.5
                factors[f"{key}.lora_B.weight"] = random.standard_normal((out, rank), numpy.float32) * 0.02
        path = directory / f"adapter{i}"
        path.mkdir()
        save_file(factors, path / "adapter_model.safetensors", metadata={"format": "pt"})
        (path / "adapter_config.json").write_text(json.dumps({
            "peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "task_type": "CAUSAL_LM", "bias": "none",
            "target_modules": [n.split(".")[1] for n in linears], "base_model_name_or_path": "base"}))


def into_base(options, directory):
    apart(make_large, directory, options.adapters, options.rank)
    adapters = [str(directory / f"adapter{i}") for i in range(options.adapters)]
    size = sum(f.stat().st_size for f in (directory / "base").iterdir())
    out = directory / "out"
    copy = [sys.executable, "-c", "import os, shutil, sys\nshutil.copytree(*sys.argv[1:])\nos.sync()",
            str(directory / "base"), str(out)]
    merge = [options.tool, "merge", *adapters, "--base", str(directory / "base"), "--into-base", "-o", str(out)]
    figures = {"copy": [], "merge": []}
    for _ in range(options.rounds):
        for who, command in (("copy", copy), ("merge", merge)):
            figures[who].append(run(command))
            shutil.rmtree(out)
    for who, runs in figures.items():
        seconds, memory = (statistics.median(x) for x in zip(*runs))
        print(f"{who:6} {seconds:7.1f} s {size / seconds / 1e9:6.2f} GB/s {memory:6.0f} MB")


def apart(make, *arguments):
    """Calls `make` in a process of its own: what it takes would count as the peak of every process after it."""
    child = os.fork()
    if child == 0:
        try:
            make(*arguments)
            os._exit(0)
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        sys.exit("the models could not be made")


def run(command):
    """Seconds and peak megabytes of a process."""
    before = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - before
    if status:
        sys.exit(f"{command[:3]} failed: {error.decode()[-500:]}")
    return seconds, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tool")
    parser.add_argument("--shape", default="smol135m", choices=SHAPES)
    parser.add_argument("--adapters", type=int, default=4)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", default="svd,linear,cat,ties")
    parser.add_argument("--into-base", action="store_true")
    parser.add_argument("--scratch", help="where there is room")
    options = parser.parse_args()
    if options.into_base:
        with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
            return into_base(options, Path(scratch))
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        apart(make, directory, options.shape, options.adapters, options.rank)
        adapters = [str(directory / f"adapter{i}") for i in range(options.adapters)]
        print(f"{options.adapters} adapters of rank {options.rank}, shape {options.shape}, "
              f"median of {options.rounds}; PEFT's linear and ties merge the factors apart, ours the deltas")
        print(f"{'method':8} {'ours':>18} {'PEFT':>18} {'faster':>8}")
        for method in options.methods.split(","):
            figures = {"ours": [], "peft": []}
            for _ in range(options.rounds):
                out = directory / "out"
                rank = ["--rank", str(options.rank)] if method in ("svd", "ties") else []
                figures["ours"].append(run(
                    [options.tool, "merge", *adapters, "--method", method, *rank, "-o", str(out)]))
                shutil.rmtree(out)
                figures["peft"].append(run(
                    [sys.executable, "-c", PEER, str(directory / "base"), str(out), method, str(options.rank),
                     *adapters]))
                shutil.rmtree(out)
            medians = {who: tuple(statistics.median(x) for x in zip(*runs)) for who, runs in figures.items()}
            cells = [f"{seconds:8.2f} s {memory:5.0f} MB" for seconds, memory in medians.values()]
            print(f"{method:8} {cells[0]:>18} {cells[1]:>18} {medians['peft'][0] / medians['ours'][0]:7.1f}x")


if __name__ == "__main__":
    main()
