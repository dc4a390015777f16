#!/usr/bin/env python3
"""Size and speed of the plane codec beside ZipNN, in one run, one thread each.

    python bench/codec.py MODEL.safetensors [path/to/lmoe-tool] [--rounds 6] [--json FILE]
    python bench/codec.py --shape s110m path/to/lmoe-tool    # on a model of random weights

Float tensors of at least 64 KiB count. `bf16`, `f16` and `f32` versions of the model are made in a temporary
directory; rounds of the two programs take turns and the best of each counts. Needs torch, safetensors, zipnn.
"""
import argparse
import json
import os
import pathlib
import tempfile
import time

import safetensors.torch as st
import torch
from zipnn import ZipNN

import checkpoints
from measuring import checked, keep, run

MINIMUM = 65536


def zipnn_round(tensors, name):
    """One compress and one decompress of every tensor: bytes, seconds, seconds."""
    stored, encode, decode = 0, 0.0, 0.0
    for raw in tensors:
        coder = ZipNN(bytearray_dtype=name, input_format="byte", threads=1)
        source = bytearray(raw)  # it changes the caller's buffer
        start = time.perf_counter()
        packed = coder.compress(source)
        encode += time.perf_counter() - start
        start = time.perf_counter()
        back = coder.decompress(packed)
        decode += time.perf_counter() - start
        assert bytes(back) == raw
        stored += len(packed)
    return stored, encode, decode


def compare(tool, model, dtype, name, rounds):
    """What both take for the tensors in that type, round by round."""
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        cast = {k: v.to(dtype).contiguous() for k, v in model.items()}
        cast = {k: v for k, v in cast.items() if v.numel() * v.element_size() >= MINIMUM}
        st.save_file(cast, file.name)
        tensors = [v.view(torch.uint8).numpy().tobytes() for v in cast.values()]
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(json.loads(run(tool, "bench", "codec", file.name, "--rounds", "2", "--json")))
            theirs.append(zipnn_round(tensors, name))
    total, first = sum(map(len, tensors)), ours[0]
    assert first["raw_bytes"] == total
    return {"type": name, "bytes": total, "tensors": len(tensors), "rounds": rounds, "load": os.getloadavg()[0],
            "size": first["stored_bytes"] / total, "zipnn_size": theirs[0][0] / total, "bound": first["order0_bound"],
            **{key: [o[key] for o in ours] for key in ("encode_gb_s", "decode_gb_s", "pack_gb_s")},
            "zipnn_encode_gb_s": [total / t[1] / 1e9 for t in theirs],
            "zipnn_decode_gb_s": [total / t[2] / 1e9 for t in theirs]}


def show(f):
    encode, decode, pack = (max(f[key]) for key in ("encode_gb_s", "decode_gb_s", "pack_gb_s"))
    z_encode, z_decode = max(f["zipnn_encode_gb_s"]), max(f["zipnn_decode_gb_s"])
    print(f"{f['type']}: {f['bytes'] / 1e6:.1f} MB in {f['tensors']} tensors")
    print(f"  size    {100 * f['size']:.3f} %   ZipNN {100 * f['zipnn_size']:.3f} %   "
          f"order-0 bound {100 * f['bound']:.3f} % (+{100 * (f['size'] / f['bound'] - 1):.2f} %)")
    print(f"  encode  {encode:.2f} GB/s  ZipNN {z_encode:.2f}  ratio {encode / z_encode:.2f}")
    print(f"  decode  {decode:.2f} GB/s  ZipNN {z_decode:.2f}  ratio {decode / z_decode:.2f}")
    print(f"  pack    {pack:.2f} GB/s  (encode, hash, decode again, compare)  ratio to ZipNN's encode "
          f"{pack / z_encode:.2f}", flush=True)


def random_model(shape):
    with tempfile.TemporaryDirectory() as scratch:
        base = pathlib.Path(scratch) / "base"
        checkpoints.make_base(base, shape, "f32")
        return st.load_file(base / "model.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_and_tool", nargs="*", metavar="MODEL TOOL")
    parser.add_argument("--shape", choices=checkpoints.SHAPES, help="random weights instead of a model")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures of all rounds there")
    options = parser.parse_args()
    given, found = list(options.model_and_tool), []
    if not options.shape and not given:
        parser.error("give a model or --shape")
    model = random_model(options.shape) if options.shape else st.load_file(given.pop(0))
    tool = given[0] if given else ".build/release/lmoe-tool"
    model = {k: v for k, v in model.items() if v.is_floating_point()}
    for dtype, name in ((torch.bfloat16, "bfloat16"), (torch.float16, "float16"), (torch.float32, "float32")):
        found.append(compare(tool, model, dtype, name, options.rounds))
        show(found[-1])
        keep(found, options.json)


if __name__ == "__main__":
    checked(main)
