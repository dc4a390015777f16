#!/usr/bin/env python3
"""Size and speed of the plane codec beside ZipNN, in one run, one thread each.

    python bench/codec.py MODEL.safetensors [path/to/lmoe-tool]

Float tensors of at least 64 KiB count. `bf16`, `f16` and `f32` versions of the model are made in a temporary
directory; rounds of the two programs alternate and the best of each counts. Needs torch, safetensors,
zipnn==0.5.4 (pip install zipnn==0.5.4).
"""
import json
import subprocess
import sys
import tempfile
import time

import safetensors.torch as st
import torch
from zipnn import ZipNN

ROUNDS = 6
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


def main():
    tool = sys.argv[2] if len(sys.argv) > 2 else ".build/release/lmoe-tool"
    model = {k: v for k, v in st.load_file(sys.argv[1]).items() if v.is_floating_point()}
    for dtype, name in ((torch.bfloat16, "bfloat16"), (torch.float16, "float16"), (torch.float32, "float32")):
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
            cast = {k: v.to(dtype).contiguous() for k, v in model.items()}
            cast = {k: v for k, v in cast.items() if v.numel() * v.element_size() >= MINIMUM}
            st.save_file(cast, file.name)
            tensors = [v.view(torch.uint8).numpy().tobytes() for v in cast.values()]
            total = sum(map(len, tensors))
            ours, theirs = [], []
            for _ in range(ROUNDS):
                out = subprocess.run([tool, "bench", "codec", file.name, "--rounds", "2", "--json"],
                                     check=True, capture_output=True, text=True).stdout
                ours.append(json.loads(out))
                theirs.append(zipnn_round(tensors, name))
        size, bound = ours[0]["stored_bytes"], ours[0]["order0_bound"] * ours[0]["raw_bytes"]
        assert ours[0]["raw_bytes"] == total
        encode, decode, pack = (max(o[k] for o in ours) for k in ("encode_gb_s", "decode_gb_s", "pack_gb_s"))
        z_encode, z_decode = total / min(t[1] for t in theirs) / 1e9, total / min(t[2] for t in theirs) / 1e9
        print(f"{name}: {total / 1e6:.1f} MB in {len(tensors)} tensors")
        print(f"  size    {100 * size / total:.3f} %   ZipNN {100 * theirs[0][0] / total:.3f} %   "
              f"order-0 bound {100 * bound / total:.3f} % (+{100 * (size / bound - 1):.2f} %)")
        print(f"  encode  {encode:.2f} GB/s  ZipNN {z_encode:.2f}  ratio {encode / z_encode:.2f}")
        print(f"  decode  {decode:.2f} GB/s  ZipNN {z_decode:.2f}  ratio {decode / z_decode:.2f}")
        print(f"  pack    {pack:.2f} GB/s  (encode, hash, decode again, compare)  ratio to ZipNN's encode {pack / z_encode:.2f}")


if __name__ == "__main__":
    main()
