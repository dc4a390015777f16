#!/usr/bin/env python3
"""Training steps of a mixture beside PyTorch, in one run.

    python bench/training.py TOOL [--shapes s15m s110m smol135m] [--quick] [--under COMMAND] [--adapters DIR]
                             [--json FILE]

Four experts of rank 16 on all seven linear layers of random Llama models, a dense softmax gate for each layer, both
trained with AdamW; four texts of 256 random tokens a step. The programs take turns, each round a process of each, and
the order turns round by round:

    lmoe-tool   lmoe-tool bench train
    PyTorch     bench/peers/mixture.py, the mixture written by hand
    oneDNN      the same with linear layers by oneDNN (bench/peers/products.py), which is faster than what PyTorch
                takes where the processor is not Intel's
    X-LoRA      PEFT's, four adapters and the gate trained; slow, so --quick has it for the smallest shape only

lmoe-tool also computes the norm of all gradients in every step and clips by it; the others do not. Where tcmalloc is
installed, PyTorch runs with it. Needs torch, transformers and peft.
"""
import argparse
import ctypes.util
import os
import pathlib
import sys
import tempfile

import measuring
from measuring import HERE, checked, in_turns, keep, median, paired

SHAPES = ["s15m", "s110m", "smol135m"]
LARGER = ["smol360m", "tiny1b"]
OURS = "lmoe-tool"
KEYS = ["tokens_s", "best_tokens_s", "peak_memory_bytes", "matrix_gflop_s"]


def run(command, environment=None):
    return measuring.last_json(measuring.run(*command, environment=environment))


def allocator():
    """Preloads tcmalloc, if it is there."""
    name = ctypes.util.find_library("tcmalloc_minimal") or ctypes.util.find_library("tcmalloc")
    return {"LD_PRELOAD": name} if name else {}


def ours(tool, shape, options, threads):
    return run([*options.under.split(), tool, "bench", "train", "--shape", shape, "--threads", threads, "--steps",
                options.steps, "--json"])


def peer(method, shape, options, threads, adapters, *more):
    return run([*options.under.split(), sys.executable, HERE / "peers" / "train.py", shape, method, "--threads",
                threads, "--steps", options.steps, "--adapters", adapters, *more], allocator())


def compare(shape, options, adapters):
    threads = options.threads
    sides = {OURS: lambda: ours(options.tool, shape, options, threads),
             "PyTorch, by hand": lambda: peer("mixture", shape, options, threads, adapters),
             "PyTorch, oneDNN": lambda: peer("mixture", shape, options, threads, adapters, "--onednn")}
    if shape in SHAPES[:1 if options.quick else None]:
        sides["PEFT X-LoRA"] = lambda: peer("xlora", shape, options, threads, adapters)
    rounds = {name: [] for name in sides}
    for number in range(options.rounds):
        for name in in_turns(sides, number):
            rounds[name].append(sides[name]())
    first = rounds[OURS][0]
    # No point in comparing who does different things.
    assert first["trained_parameters"] == rounds["PyTorch, by hand"][0]["trained_parameters"]
    return {**{key: first[key] for key in ("shape", "experts", "rank", "documents", "length", "trained_parameters")},
            "threads": threads, "rounds": options.rounds, "steps": options.steps, "under": options.under,
            "load": os.getloadavg()[0], "allocator": allocator().get("LD_PRELOAD"),
            "sides": {name: {key: [result[key] for result in results] for key in KEYS} for name, results in rounds.items()},
            "floor_gflop_s": [result["fma_gflop_s"] for result in rounds[OURS]],
            "floor_tokens_s": [result["floor_tokens_s"] for result in rounds[OURS]],
            "share": [result["share"] for result in rounds[OURS]]}


def ratios(figures, name, key):
    """Ours over another's, round by round: rounds of both are neighbours in time."""
    return paired(figures["sides"][OURS][key], figures["sides"][name][key])


def best_peer(figures):
    """Who is fastest of the others."""
    others = [name for name in figures["sides"] if name != OURS]
    return max(others, key=lambda name: median(figures["sides"][name]["tokens_s"]))


def show(figures):
    print(f"{figures['shape']}: {figures['experts']} experts of rank {figures['rank']}, {figures['documents']} texts of "
          f"{figures['length']} tokens, float32, {figures['threads']} threads; medians of {figures['rounds']} rounds of "
          f"{figures['steps']} steps; load {figures['load']:.1f}"
          + (f"; all under {figures['under']}" if figures["under"] else ""))
    print(f"  {'':18}{'tokens/s':>10}{'best':>10}{'peak MB':>10}{'GFLOP/s':>10}{'ours is':>12}{'memory':>10}")
    for name, results in figures["sides"].items():
        cells = [median(results["tokens_s"]), max(results["best_tokens_s"]),
                 median(results["peak_memory_bytes"]) / 1e6, median(results["matrix_gflop_s"])]
        line = f"  {name:18}" + "".join(f"{cell:10.0f}" for cell in cells)
        if name != OURS:
            line += "".join(f"{'× ' + format(median(ratios(figures, name, key)), '.2f'):>{width}}"
                            for key, width in (("tokens_s", 12), ("peak_memory_bytes", 10)))
        print(line)
    print(f"  floor of lmoe-tool's multiplications: {median(figures['floor_tokens_s']):.0f} tokens/s at "
          f"{median(figures['floor_gflop_s']):.0f} GFLOP/s, of which it reaches {100 * median(figures['share']):.0f} %; "
          "GFLOP/s: of large products alone", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("--shapes", nargs="+", choices=[*SHAPES, *LARGER], default=SHAPES)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="in a round")
    parser.add_argument("--adapters", type=pathlib.Path,
                        help="keep X-LoRA's adapters here; a temporary directory if not given")
    parser.add_argument("--under", default="", metavar="COMMAND",
                        help='run all programs under it, as "chrt -r 1" or "taskset -c 0,1"')
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures of all rounds there")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and X-LoRA for the smallest shape only (never for the larger ones)")
    options = parser.parse_args()
    if options.quick:
        options.rounds = min(options.rounds, 3)
        options.steps = min(options.steps, 3)
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for shape in options.shapes:
            found.append(compare(shape, options, options.adapters or pathlib.Path(scratch)))
            show(found[-1])
            keep(found, options.json)


if __name__ == "__main__":
    checked(main)
