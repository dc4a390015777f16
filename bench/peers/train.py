#!/usr/bin/env python3
"""Times training steps in PyTorch and prints them as JSON.

    python bench/peers/train.py SHAPE METHOD [--experts 4 --rank 16 --documents 4 --length 256 --steps 5 --threads 2]
                                              [--onednn]

METHOD: mixture (written by hand, mixture.py), xlora (PEFT's X-LoRA with experts and gate trained), lora (PEFT, one
expert), full (all weights). A step is forward, backward and AdamW, on random tokens all of which are predicted;
gradients are not clipped. The first step warms up. Needs torch, transformers and, for PEFT's methods, peft.
"""
import argparse
import json
import os
import pathlib
import statistics
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("shape")
parser.add_argument("method", choices=["mixture", "xlora", "lora", "full"])
parser.add_argument("--experts", type=int, default=4)
parser.add_argument("--rank", type=int, default=16)
parser.add_argument("--documents", type=int, default=4)
parser.add_argument("--length", type=int, default=256)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--weights", choices=["f32", "bf16"], default="f32")
parser.add_argument("--onednn", action="store_true", help="linear layers by oneDNN (products.py)")
parser.add_argument("--adapters", type=pathlib.Path, help="keep X-LoRA's adapters here")
options = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before torch is there

import torch

import mixture
import models
import products

torch.set_num_threads(options.threads)


def lora(model):
    from peft import LoraConfig, get_peft_model
    return get_peft_model(model, LoraConfig(r=options.rank, lora_alpha=options.rank, target_modules=models.LINEARS,
                                            lora_dropout=0.0, bias="none", task_type="CAUSAL_LM"))


def xlora(model, directory):
    from peft import XLoraConfig, get_peft_model
    paths = {str(index): str(directory / f"{options.shape}-{options.rank}-{index}") for index in range(options.experts)}
    for path in paths.values():
        if not os.path.exists(path):
            lora(models.make(options.shape)).save_pretrained(path)
    model.config.use_cache = False
    return get_peft_model(model, XLoraConfig(
        task_type="CAUSAL_LM", hidden_size=model.config.hidden_size, xlora_depth=1, adapters=paths,
        use_trainable_adapters=True, softmax_temperature=1.0))


def make():
    model = models.make(options.shape, torch.bfloat16 if options.weights == "bf16" else torch.float32)
    if options.method == "mixture":
        return mixture.attach(model, options.experts, options.rank)
    if options.method == "lora":
        return lora(model)
    if options.method == "full":
        return model
    with tempfile.TemporaryDirectory() as scratch:
        return xlora(model, options.adapters or pathlib.Path(scratch))


def peak_memory():
    """Of this program alone, and not of the one that started it."""
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return None


def main():
    if options.onednn:
        products.use_onednn()
    model = make()
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0)
    vocabulary = models.SHAPES[options.shape][5]
    ids = torch.randint(0, vocabulary, (options.documents, options.length), generator=torch.Generator().manual_seed(1))
    seconds, losses = [], []
    for _ in range(options.steps + 1):
        start = time.perf_counter()
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
        losses.append(loss.item())
    tokens = options.documents * options.length
    print(json.dumps({
        "shape": options.shape, "method": options.method, "weights": options.weights, "threads": options.threads,
        "trained_parameters": sum(p.numel() for p in trained), "tokens_s": tokens / statistics.median(seconds[1:]),
        "best_tokens_s": tokens / min(seconds[1:]), "first_step_s": seconds[0], "losses": losses,
        "peak_memory_bytes": peak_memory(), "matrix_gflop_s": products.throughput() / 1e9}))


if __name__ == "__main__":
    main()
