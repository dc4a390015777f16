#!/usr/bin/env python3
"""Times merging of adapters: lmoe-tool beside PEFT, whole processes, one run.

    python bench/merging.py TOOL [--shape smol135m] [--adapters 4] [--rank 16] [--rounds 3] [--methods svd,linear,cat,ties]
    python bench/merging.py TOOL --into-base     # four adapters into a model of the 7 B shape, beside a copy of its files

Needs numpy, torch, transformers, peft and safetensors. The model and its adapters have random weights of the shape asked for;
PEFT loads the model and merges with add_weighted_adapter in a
process of its own. Every figure is the median of the rounds, the programs taking turns.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from checkpoints import SHAPES, make_adapter, make_base
from measuring import apart, checked, in_turns, keep, median, paired, process

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
    make_base(directory / "base", shape, "f32")
    for i in range(count):
        make_adapter(directory / f"adapter{i}", shape, rank, i, "f32")


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
        make_adapter(directory / f"adapter{i}", (d, f, layers, 32, 32, vocabulary, 4096, 10000.0), rank, i, "f32")


def into_base(options, directory):
    apart(make_large, directory, options.adapters, options.rank)
    adapters = [str(directory / f"adapter{i}") for i in range(options.adapters)]
    size = sum(f.stat().st_size for f in (directory / "base").iterdir())
    out = directory / "out"
    copy = [sys.executable, "-c", "import os, shutil, sys\nshutil.copytree(*sys.argv[1:])\nos.sync()",
            str(directory / "base"), str(out)]
    merge = [options.tool, "merge", *adapters, "--base", str(directory / "base"), "--into-base", "-o", str(out)]
    runs = {"copy": [], "merge": []}
    for _ in range(options.rounds):
        for who, command in (("copy", copy), ("merge", merge)):
            runs[who].append(process(*command)[:2])
            shutil.rmtree(out)
    return {"bytes": size, "rounds": options.rounds, "runs": runs}


def show_into_base(figures):
    for who, runs in figures["runs"].items():
        seconds, memory = (median(x) for x in zip(*runs))
        print(f"{who:6} {seconds:7.1f} s {figures['bytes'] / seconds / 1e9:6.2f} GB/s {memory / 1e6:6.0f} MB")


def compare(options, directory, method):
    """Seconds and peak bytes of both, round by round."""
    out, runs = directory / "out", {"ours": [], "peft": []}
    adapters = [directory / f"adapter{i}" for i in range(options.adapters)]
    rank = ["--rank", options.rank] if method in ("svd", "ties") else []
    commands = {"ours": [options.tool, "merge", *adapters, "--method", method, *rank, "-o", out],
                "peft": [sys.executable, "-c", PEER, directory / "base", out, method, options.rank, *adapters]}
    for number in range(options.rounds):
        for who in in_turns(commands, number):
            runs[who].append(process(*commands[who])[:2])
            shutil.rmtree(out)
    return {"shape": options.shape, "adapters": options.adapters, "rank": options.rank, "rounds": options.rounds,
            "method": method, "load": os.getloadavg()[0], "runs": runs}


def faster(figures):
    """How many times as long PEFT takes, round by round."""
    return paired(*([seconds for seconds, _ in figures["runs"][who]] for who in ("peft", "ours")))


def show(figures):
    medians = [[median(x) for x in zip(*runs)] for runs in figures["runs"].values()]
    cells = [f"{seconds:8.2f} s {memory / 1e6:5.0f} MB" for seconds, memory in medians]
    print(f"{figures['method']:8} {cells[0]:>18} {cells[1]:>18} {median(faster(figures)):7.1f}x", flush=True)


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
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of all rounds there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        directory, found = Path(scratch), []
        if options.into_base:
            found = into_base(options, directory)
            show_into_base(found)
            return keep(found, options.json)
        apart(make, directory, options.shape, options.adapters, options.rank)
        print(f"{options.adapters} adapters of rank {options.rank}, shape {options.shape}, "
              f"median of {options.rounds}; PEFT's linear and ties merge the factors apart, ours the deltas")
        print(f"{'method':8} {'ours':>18} {'PEFT':>18} {'faster':>8}")
        for method in options.methods.split(","):
            found.append(compare(options, directory, method))
            show(found[-1])
            keep(found, options.json)


if __name__ == "__main__":
    checked(main)
