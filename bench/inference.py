#!/usr/bin/env python3
"""Prompts and tokens of a mixture beside llama.cpp with the same adapters, in one run.

    python bench/inference.py TOOL --llama-cpp DIR [--shapes s15m s110m smol135m] [--types f16 q8_0 q4_0] [--quick]
                              [--models DIR]

Makes random Llama models in float16 with four rank-16 LoRA adapters on all linear layers, bundles of them with a
dense softmax gate for each layer, and GGUF files of them (f16 model, f16 adapters). Then the two programs take turns:
each round is a process of either, in which the bare base and the base with four adapters take turns again. llama.cpp
applies its adapters with the fixed weight 1/4; it has no gate.

With other types than f16 each program has the base as it quantizes it itself, all matrices alike, the embedding too; the
experts in the bundle are Q8_0 then, and llama.cpp's adapters stay f16, for it knows no others.

DIR is llama.cpp's source with a build in DIR/build. What is timed there is bench/llama_peer.c, a small program over
its library (llama-bench takes no adapters), compiled here with cc; llama-bench runs too, to show that the small
program is not slower. Of llama.cpp the better setting of flash attention counts, found at the start.
Needs numpy and safetensors, and for the conversion torch, transformers, gguf and sentencepiece.
"""
import argparse
import json
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).resolve().parent
EXPERTS, RANK, ALPHA = 4, 16, 32
# hidden, inner, layers, heads, key-value heads, vocabulary, positions, theta
SHAPES = {
    "s15m": (288, 768, 6, 6, 6, 32000, 2048, 10000.0),
    "s110m": (768, 2048, 12, 12, 12, 32000, 2048, 10000.0),
    "smol135m": (576, 1536, 30, 9, 3, 49152, 8192, 100000.0),
}


# MARK: Models

def linears(shape):
    hidden, inner, _, heads, kv_heads, *_ = SHAPES[shape]
    keys = hidden // heads * kv_heads
    return {"self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden), "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden), "mlp.down_proj": (hidden, inner)}


def sentencepiece(vocabulary):
    """A SentencePiece model of that many pieces, which the conversion asks for: protocol buffers by hand."""
    def field(number, content):  # of bytes, shorter than 128
        return bytes([number << 3 | 2, len(content)]) + content

    unknown, control, byte = 2, 3, 6
    pieces = [("<unk>", unknown), ("<s>", control), ("</s>", control)] + [(f"<0x{b:02X}>", byte) for b in range(256)]
    pieces += [(f"\u2581w{i}", 1) for i in range(vocabulary - len(pieces))]
    result = b"".join(field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", -i) + bytes([3 << 3, kind]))
                      for i, (text, kind) in enumerate(pieces))
    # The trainer's part: byte-pair encoding (field 3 is 2) with byte fallback (field 35 is true).
    return result + field(2, b"\x18\x02\x98\x02\x01")


def make_model(path, shape):
    """A checkpoint and adapters as Hugging Face and PEFT write them."""
    hidden, inner, layers, heads, kv_heads, vocabulary, positions, theta = SHAPES[shape]
    random = np.random.default_rng(0)

    def normal(*size, scale=0.02):
        return (random.standard_normal(size, dtype=np.float32) * scale).astype(np.float16)

    base = path / "base"
    base.mkdir(parents=True)
    tensors = {"model.embed_tokens.weight": normal(vocabulary, hidden),
               "model.norm.weight": np.ones(hidden, np.float16)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        for name, size in linears(shape).items():
            tensors[f"{prefix}{name}.weight"] = normal(*size)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}{name}.weight"] = np.ones(hidden, np.float16)
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
              "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
              "num_key_value_heads": kv_heads, "vocab_size": vocabulary, "max_position_embeddings": positions,
              "rms_norm_eps": 1e-5, "rope_theta": theta, "tie_word_embeddings": True, "hidden_act": "silu",
              "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float16"}
    (base / "config.json").write_text(json.dumps(config))
    (base / "tokenizer.model").write_bytes(sentencepiece(vocabulary))
    for index in range(EXPERTS):
        adapter = path / f"adapter{index}"
        adapter.mkdir()
        tensors = {}
        for layer in range(layers):
            for name, (outputs, inputs) in linears(shape).items():
                key = f"base_model.model.model.layers.{layer}.{name}"
                tensors[f"{key}.lora_A.weight"] = normal(RANK, inputs, scale=inputs ** -0.5)
                tensors[f"{key}.lora_B.weight"] = normal(outputs, RANK, scale=0.01)
        save_file(tensors, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
        (adapter / "adapter_config.json").write_text(json.dumps(
            {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA, "bias": "none",
             "base_model_name_or_path": shape, "target_modules": sorted(n.split(".")[1] for n in linears(shape))}))


def run(*command, **options):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if result.returncode != 0:
        sys.exit(f"{command}\n{result.stdout[-2000:]}{result.stderr[-4000:]}")
    return result.stdout


def prepare(tool, llama, program, path, shape, types):
    """Everything that both sides read, made where it is not there yet."""
    if not (path / "base").exists():
        make_model(path, shape)
    for codec in ("raw", "planes"):
        bundle = path / f"{codec}.lmoe"
        if not bundle.exists():
            experts = [part for i in range(EXPERTS) for part in ("--expert", f"e{i}={path / f'adapter{i}'}")]
            run(tool, "import", "--base", path / "base", *experts, "--codec", codec, "-o", bundle)
            run(tool, "gate", "init", bundle, "--kind", "random", "--scope", "layer", "--name", "dense")
    if not (path / "base.gguf").exists():
        run(sys.executable, llama / "convert_hf_to_gguf.py", path / "base", "--outtype", "f16",
            "--outfile", path / "base.gguf")
    for index in range(EXPERTS):
        if not (path / f"adapter{index}.gguf").exists():
            run(sys.executable, llama / "convert_lora_to_gguf.py", "--base", path / "base", "--outtype", "f16",
                "--outfile", path / f"adapter{index}.gguf", path / f"adapter{index}")
    for kind in types:
        if kind == "f16":
            continue
        if not gguf(path, kind).exists():
            run(program, "quantize", path / "base.gguf", gguf(path, kind), kind)
        if not bundle_of(path, kind).exists():
            run(tool, "quantize", path / "raw.lmoe", "--base", kind, "--experts", "q8_0", "-o", bundle_of(path, kind))


def gguf(path, kind):
    return path / ("base.gguf" if kind == "f16" else f"base-{kind}.gguf")


def bundle_of(path, kind):
    return path / ("raw.lmoe" if kind == "f16" else f"{kind}.lmoe")


# MARK: Rounds

def peer_program(llama, directory):
    """llama_peer.c over the library of this build."""
    out, libraries = directory / "llama_peer", llama / "build" / "bin"
    run("cc", "-O2", "-I", llama / "include", "-I", llama / "ggml" / "include", HERE / "llama_peer.c", "-o", out,
        "-L", libraries, f"-Wl,-rpath,{libraries}", "-lllama", "-lggml", "-lggml-base", "-lggml-cpu", "-lm")
    return out


class Peer:
    """llama.cpp: seconds by side, of prompts and of tokens."""

    def __init__(self, program, path, kind, options):
        self.program, self.path, self.options, self.flash = program, path, options, 1
        self.model = gguf(path, kind)

    def round(self, cache, rounds):
        o = self.options
        adapters = [part for i in range(EXPERTS) for part in (self.path / f"adapter{i}.gguf", 1 / EXPERTS)]
        output = run(*o.under.split(), self.program, self.model, o.threads, cache, self.flash, o.prompt, o.depth, o.tokens,
                     rounds, *adapters)
        found = {(side, what): [] for side in ("base", "adapters") for what in ("prompt", "tokens")}
        for line in output.splitlines():
            side, _, prompt, _, token = line.split()
            found[side, "prompt"].append(o.prompt / float(prompt))
            found[side, "tokens"].append(1 / float(token))
        return {key: statistics.median(values) for key, values in found.items()}

    def choose_flash(self, rounds):
        """The setting under which prompts and tokens together take less time."""
        seconds = {}
        for self.flash in (0, 1):
            rates = self.round("f16", rounds)
            seconds[self.flash] = sum(1 / rate * (self.options.prompt if what == "prompt" else self.options.tokens)
                                      for (_, what), rate in rates.items())
        self.flash = min(seconds, key=seconds.get)


class Ours:
    def __init__(self, tool, path, kind, options):
        self.tool, self.bundle, self.options = tool, bundle_of(path, kind), options

    def round(self, cache, rounds):
        o = self.options
        report = json.loads(run(
            *o.under.split(), self.tool, "bench", "run", self.bundle, "--gate", "dense", "--prompt", o.prompt, "--depth",
            o.depth, "--tokens", o.tokens, "--repeat", rounds, "--threads", o.threads, "--cache", cache, "--json"))
        self.report = report
        return {(side, what): report[ours][f"{stage}_tokens_s"] for side, ours in (("base", "base"), ("adapters", "mixture"))
                for what, stage in (("prompt", "prefill"), ("tokens", "decode"))}


def first_token(command):
    start = time.perf_counter()
    run(*command)
    return time.perf_counter() - start


def compare(tool, program, path, shape, kind, options):
    peer, ours = Peer(program, path, kind, options), Ours(tool, path, kind, options)
    inner = 1 if options.quick else 3
    peer.choose_flash(inner)
    sides = {"llama.cpp, f16 cache": (peer, "f16"), "lmoe-tool, f16 cache": (ours, "f16"),
             "lmoe-tool, f32 cache": (ours, "f32")}
    rates = {name: {} for name in sides}
    reports = []
    for number in range(options.rounds):
        names = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in names:
            program, cache = sides[name]
            for key, rate in program.round(cache, inner).items():
                rates[name].setdefault(key, []).append(rate)
            if program is ours:
                reports.append(ours.report)
    print(f"{shape}, {kind}: prompt {options.prompt}, then {options.tokens} tokens after {options.depth}; {options.threads} threads; "
          f"llama.cpp with flash attention {'on' if peer.flash else 'off'}; load {os.getloadavg()[0]:.1f}"
          + (f"; both under {options.under}" if options.under else ""))
    keys = [("base", "prompt"), ("base", "tokens"), ("adapters", "prompt"), ("adapters", "tokens")]
    print(f"  {'tokens/s':24}{'base prompt':>13}{'base decode':>13}{'4 ad. prompt':>14}{'4 ad. decode':>14}")
    median = {name: {key: statistics.median(values[key]) for key in keys} for name, values in rates.items()}
    for name, values in median.items():
        print(f"  {name:24}{values[keys[0]]:13.1f}{values[keys[1]]:13.1f}{values[keys[2]]:14.1f}{values[keys[3]]:14.1f}")
    for name in list(sides)[1:]:
        # Rounds of both are pairs: neighbours in time.
        ratios = [statistics.median(a / b for a, b in zip(rates[name][key], rates["llama.cpp, f16 cache"][key])) for key in keys]
        print(f"  {'ratio, ' + name.split(', ')[1]:24}{ratios[0]:13.2f}{ratios[1]:13.2f}{ratios[2]:14.2f}{ratios[3]:14.2f}")
    for name, values in median.items():
        print(f"  cost of four adapters, {name}: prompt × {values[keys[0]] / values[keys[2]]:.2f}, "
              f"tokens × {values[keys[1]] / values[keys[3]]:.2f}")
    shares = {(side, stage): statistics.median(r[side][f"{stage}_share"] for r in reports)
              for side in ("base", "mixture") for stage in ("prefill", "decode")}
    print("  share of the floor: " + ", ".join(f"{side} {stage} {100 * share:.0f} %" for (side, stage), share in shares.items())
          + f" ({statistics.median(r['memory_gb_s'] for r in reports):.0f} GB/s, "
            f"{statistics.median(r['matrix_gflop_s'] for r in reports):.0f} GFLOP/s)")

    ids = ",".join(str(3 + i) for i in range(options.depth))
    adapters = [part for i in range(EXPERTS) for part in (path / f"adapter{i}.gguf", 1 / EXPERTS)]
    with tempfile.TemporaryDirectory() as scratch:
        bundles = {codec: path / f"{codec}.lmoe" for codec in ("raw", "planes")} if kind == "f16" else {kind: ours.bundle}
        commands = {f"lmoe-tool, {name}": (tool, "logits", bundle, "--gate", "dense", "--ids", ids,
                                           "-o", f"{scratch}/{name}.safetensors", "--threads", options.threads)
                    for name, bundle in bundles.items()}
        commands["llama.cpp"] = (peer.program, peer.model, options.threads, "f16", peer.flash, options.depth,
                                 options.depth, 0, 0, *adapters)
        times = {name: [] for name in commands}
        for number in range(4 if options.quick else 10):
            for name, command in commands.items():
                seconds = first_token((*options.under.split(), *command))
                if number > 0:
                    times[name].append(seconds)
    print(f"  whole process to the logits of {options.depth} tokens, four adapters, warm: "
          + ", ".join(f"{name} {1000 * statistics.median(values):.0f} ms" for name, values in times.items()))


def llama_bench(llama, path, kind, options, flash=1):
    """What llama-bench itself finds for the bare base, to compare with the small program's figures."""
    rows = json.loads(run(*options.under.split(), llama / "build" / "bin" / "llama-bench", "-m", gguf(path, kind), "-t", options.threads, "-ngl", 0,
                          "-fa", flash, "-p", options.prompt, "-n", options.tokens, "-d", 0, "-r", 3, "-o", "json"))
    print("  llama-bench, bare base: " + ", ".join(
        f"{'prompt' if row['n_prompt'] else 'tokens'} {row['avg_ts']:.1f}" for row in rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("--llama-cpp", required=True, type=pathlib.Path)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--types", nargs="+", choices=["f16", "q8_0", "q4_0", "q4_k", "q6_k"], default=["f16", "q8_0", "q4_0"])
    parser.add_argument("--models", type=pathlib.Path, help="keep the models here; a temporary directory if not given")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--under", default="", metavar="COMMAND",
                        help='run both programs under it, as "chrt -r 1" or "taskset -c 0,1"')
    parser.add_argument("--quick", action="store_true", help="fewer rounds and tokens")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.tokens = 2, 32
    llama = options.llama_cpp.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        root = options.models or pathlib.Path(scratch)
        program = peer_program(llama, pathlib.Path(scratch))
        for shape in options.shapes:
            prepare(options.tool, llama, program, root / shape, shape, options.types)
            for kind in options.types:
                compare(options.tool, program, root / shape, shape, kind, options)
                llama_bench(llama, root / shape, kind, options)


if __name__ == "__main__":
    main()
