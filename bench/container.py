#!/usr/bin/env python3
"""What a bundle costs at size: import, inspect, add, verify, load, each beside its floor or its peer, in one run.

    python bench/container.py [--gigabytes 8] [--experts 64] [--tool .build/release/lmoe-tool] [--dir DIR]
                              [--json FILE]

Makes a synthetic Llama-shaped bf16 checkpoint (normal weights, whose exponents are those of trained ones) and
LoRA adapters of rank 16 on all linears in DIR (a temporary directory by default; it needs about 2.5 times the
size). Needs torch and safetensors.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from measuring import HERE, Failure, checked, files_of, keep, median, process

HIDDEN, INNER, KEYS, VOCABULARY, RANK = 4096, 14336, 1024, 128256, 16  # Llama-3 8B
LINEARS = {"self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (KEYS, HIDDEN),
           "self_attn.v_proj": (KEYS, HIDDEN), "self_attn.o_proj": (HIDDEN, HIDDEN),
           "mlp.gate_proj": (INNER, HIDDEN), "mlp.up_proj": (INNER, HIDDEN), "mlp.down_proj": (HIDDEN, INNER)}
CONFIG = {"peft_type": "LORA", "r": RANK, "lora_alpha": 32, "target_modules": sorted(name.split(".")[1] for name in LINEARS), "bias": "none"}


def weight(*shape):
    import torch
    return torch.empty(*shape, dtype=torch.float32).normal_(0, 0.02).to(torch.bfloat16)


def make_base(path, layers):
    import safetensors.torch as st
    path.mkdir()
    files, names = {}, {}
    count = (layers + 7) // 8
    for shard in range(count):
        tensors = {}
        if shard == 0:
            tensors["model.embed_tokens.weight"] = weight(VOCABULARY, HIDDEN)
            tensors["model.norm.weight"] = weight(HIDDEN)
        for layer in range(8 * shard, min(layers, 8 * shard + 8)):
            for name, shape in LINEARS.items():
                tensors[f"model.layers.{layer}.{name}.weight"] = weight(*shape)
            for name in ["input_layernorm", "post_attention_layernorm"]:
                tensors[f"model.layers.{layer}.{name}.weight"] = weight(HIDDEN)
        name = f"model-{shard + 1:05d}-of-{count:05d}.safetensors"
        st.save_file(tensors, path / name, metadata={"format": "pt"})
        names |= {key: name for key in tensors}
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    # Tied, unlike the real one: a gigabyte less for nothing that is measured here.
    (path / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN,
        "intermediate_size": INNER, "num_hidden_layers": layers, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": VOCABULARY, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
        "max_position_embeddings": 8192, "tie_word_embeddings": True}))


def make_adapter(path, layers, seed):
    import safetensors.torch as st
    import torch
    torch.manual_seed(seed)
    path.mkdir()
    tensors = {}
    for layer in range(layers):
        for name, (rows, columns) in LINEARS.items():
            prefix = f"base_model.model.model.layers.{layer}.{name}"
            tensors[prefix + ".lora_A.weight"] = weight(RANK, columns)
            tensors[prefix + ".lora_B.weight"] = weight(rows, RANK)
    st.save_file(tensors, path / "adapter_model.safetensors")
    (path / "adapter_config.json").write_text(json.dumps(CONFIG))


def safe_open(path):
    """GB/s of reading every tensor of a file with the reference reader, copied out of its map."""
    import safetensors
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        with safetensors.safe_open(path, "pt") as file:
            loaded = [file.get_tensor(name).clone() for name in file.keys()]
        rates.append(sum(t.numel() * t.element_size() for t in loaded) / (time.perf_counter() - start) / 1e9)
    print(json.dumps(rates))


def apart(function, *arguments):
    """Runs one of the functions above in a process of its own: a child's peak memory counts its parent's at the fork."""
    call = f"import sys, pathlib; sys.path.insert(0, {str(HERE)!r}); import container; container.{function}(*{arguments!r})"
    call = call.replace("PosixPath(", "pathlib.PosixPath(")
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure([function], done.stderr)
    return done.stdout


def write_and_flush(path, size):
    """Seconds to write `size` bytes to a new file and flush them: what an add cannot avoid."""
    data = os.urandom(1 << 20)
    start = time.perf_counter()
    with open(path, "wb", buffering=0) as file:
        for _ in range(size >> 20):
            file.write(data)
        file.write(data[:size & 0xFFFFF])
        os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    os.unlink(path)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=8)
    parser.add_argument("--experts", type=int, default=64)
    parser.add_argument("--tool", default=".build/release/lmoe-tool")
    parser.add_argument("--dir")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    tool = str(pathlib.Path(options.tool).resolve())
    root = pathlib.Path(tempfile.mkdtemp(dir=options.dir))
    try:
        figures = measure(root, tool, options)
        show(figures)
        keep(figures, options.json)
    finally:
        shutil.rmtree(root)


def measure(root, tool, options):
    layer_bytes = 2 * sum(rows * columns for rows, columns in LINEARS.values())
    layers = max(1, round(options.gigabytes * 1e9 / 0.662 / layer_bytes))
    bundle, small = root / "big.lmoe", root / "small.lmoe"
    apart("make_base", root / "base", layers)
    found = {"experts": options.experts, "layers": layers, "load": os.getloadavg()[0],
             "bytes": sum(f.stat().st_size for f in files_of(root / "base") if f.suffix == ".safetensors")}

    seconds, peak, _ = process(tool, "import", "--base", root / "base", "-o", bundle)
    found["import"] = {"seconds": seconds, "peak": peak, "bundle_bytes": os.path.getsize(bundle)}

    adds = []
    for index in range(options.experts):
        adapter = root / f"adapter{index}"
        apart("make_adapter", adapter, layers, index)
        before = os.path.getsize(bundle)
        seconds, peak, output = process(tool, "add", bundle, f"expert{index}={adapter}", "--json")
        written = json.loads(output)["written_bytes"]
        assert written == os.path.getsize(bundle) - before
        adds.append({"written": written, "seconds": seconds, "peak": peak,
                     "floor_seconds": write_and_flush(root / "floor", written)})
        shutil.rmtree(adapter)
    info = json.loads(process(tool, "inspect", bundle, "--json", "--tensors")[2])
    tensors = [t for t in info["tensors"] if t["bank"] == f"expert/expert{options.experts - 1}"]
    found["add"] = {"stored": sum(t["stored_bytes"] for t in tensors), "tensors": len(tensors), "runs": adds}

    apart("make_base", root / "small", 1)
    process(tool, "import", "--base", root / "small", "-o", small)
    found["starts"] = {}
    for name, path in (("inspect", bundle), ("inspect of a small bundle", small), ("--version", None)):
        command = (tool, "inspect", path, "--json") if path else (tool, "--version")
        found["starts"][name] = {"bytes": os.path.getsize(path) if path else 0,
                                 "seconds": [process(*command)[0] for _ in range(21)]}

    process(tool, "compact", bundle, "--codec", "raw")
    found["verify"] = json.loads(process(tool, "bench", "verify", bundle, "--rounds", "5", "--json")[2])
    found["safe_open_gb_s"] = json.loads(apart("safe_open", root / "small" / "model-00001-of-00001.safetensors"))
    found["load_all"] = json.loads(process(tool, "bench", "load", small, "--rounds", "5", "--json")[2])
    return found


def show(f):
    made, adds = f["import"], f["add"]["runs"]
    print(f"import   {f['bytes'] / 1e9:.2f} GB -> {made['bundle_bytes'] / 1e9:.2f} GB in {made['seconds']:.1f} s, "
          f"{f['bytes'] / made['seconds'] / 1e9:.2f} GB/s, peak {made['peak'] / 1e6:.0f} MB")
    written, stored, tensors = adds[-1]["written"], f["add"]["stored"], f["add"]["tensors"]
    print(f"add      wrote {written} bytes for {stored} stored ({tensors} tensors): "
          f"{written - stored} more, allowed {256 * tensors + 65536}")
    print(f"add      median {1000 * median(a['seconds'] for a in adds):.0f} ms, writing and flushing as much "
          f"{1000 * median(a['floor_seconds'] for a in adds):.0f} ms, beyond that "
          f"{1000 * median(a['seconds'] - a['floor_seconds'] for a in adds):.0f} ms; peak {adds[-1]['peak'] / 1e6:.0f} MB")
    for name, start in f["starts"].items():
        print(f"{name:8} {start['bytes'] / 1e9:.2f} GB: median {1000 * median(start['seconds']):.1f} ms whole process")
    verify, theirs, ours = f["verify"], max(f["safe_open_gb_s"]), f["load_all"]["load_gb_s"]
    print(f"verify   {verify['verify_gb_s']:.1f} GB/s, raw; memory reads {verify['memory_gb_s']:.1f} GB/s "
          f"({100 * verify['share']:.0f} %), read(2) alone {verify['read_gb_s']:.1f} GB/s "
          f"({100 * verify['share_of_read']:.0f} %)")
    print(f"load     {ours:.2f} GB/s decoded and checked; safetensors.safe_open {theirs:.2f} GB/s, "
          f"unchecked; ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    checked(main)
