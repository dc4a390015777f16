#!/usr/bin/env python3
"""Training steps of a mixture beside PyTorch, in one run.

    python bench/training.py TOOL [--shapes s15m s110m smol135m] [--quick] [--under COMMAND] [--adapters DIR]

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
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SHAPES = ["s15m", "s110m", "smol135m"]


def run(command, environment=None):
    """The JSON that a program prints last."""
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                            env={**os.environ, **(environment or {})})
    if result.returncode != 0:
        sys.exit(f"{command}\n{result.stdout[-2000:]}{result.stderr[-4000:]}")
    # The tool's report has many lines, a peer's one, after whatever its libraries had to say.
    text = result.stdout.strip()
    return json.loads(text if text.startswith("{") else text.splitlines()[-1])


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
    sides = {"lmoe-tool": lambda: ours(options.tool, shape, options, threads),
             "PyTorch, by hand": lambda: peer("mixture", shape, options, threads, adapters),
             "PyTorch, oneDNN": lambda: peer("mixture", shape, options, threads, adapters, "--onednn")}
    if not options.quick or shape == SHAPES[0]:
        sides["PEFT X-LoRA"] = lambda: peer("xlora", shape, options, threads, adapters)
    rounds = {name: [] for name in sides}
    for number in range(options.rounds):
        for name in list(sides) if number % 2 == 0 else reversed(sides):
            rounds[name].append(sides[name]())
    return report(shape, rounds, options)


def report(shape, rounds, options):
    def median(name, key):
        return statistics.median(result[key] for result in rounds[name])

    def ratio(name, key):  # rounds of both are pairs: neighbours in time
        return statistics.median(a[key] / b[key] for a, b in zip(rounds["lmoe-tool"], rounds[name]))

    first = rounds["lmoe-tool"][0]
    # No point in comparing who does different things.
    assert first["trained_parameters"] == rounds["PyTorch, by hand"][0]["trained_parameters"]
    print(f"{shape}: {first['experts']} experts of rank {first['rank']}, {first['documents']} texts of "
          f"{first['length']} tokens, float32, {options.threads} threads; medians of {options.rounds} rounds of "
          f"{options.steps} steps; load {os.getloadavg()[0]:.1f}"
          + (f"; all under {options.under}" if options.under else ""))
    print(f"  {'':18}{'tokens/s':>10}{'best':>10}{'peak MB':>10}{'GFLOP/s':>10}{'ours is':>12}{'memory':>10}")
    for name, results in rounds.items():
        cells = [median(name, "tokens_s"), max(r["best_tokens_s"] for r in results),
                 median(name, "peak_memory_bytes") / 1e6, median(name, "matrix_gflop_s")]
        line = f"  {name:18}" + "".join(f"{cell:10.0f}" for cell in cells)
        if name != "lmoe-tool":
            line += f"{'× ' + format(ratio(name, 'tokens_s'), '.2f'):>12}" \
                    f"{'× ' + format(ratio(name, 'peak_memory_bytes'), '.2f'):>10}"
        print(line)
    print(f"  floor of lmoe-tool's matrix products: {median('lmoe-tool', 'floor_tokens_s'):.0f} tokens/s, of which it "
          f"reaches {100 * median('lmoe-tool', 'share'):.0f} %; GFLOP/s: of large products alone", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=SHAPES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="in a round")
    parser.add_argument("--adapters", type=pathlib.Path,
                        help="keep X-LoRA's adapters here; a temporary directory if not given")
    parser.add_argument("--under", default="", metavar="COMMAND",
                        help='run all programs under it, as "chrt -r 1" or "taskset -c 0,1"')
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and X-LoRA for the smallest shape only")
    options = parser.parse_args()
    if options.quick:
        options.rounds = min(options.rounds, 3)
        options.steps = min(options.steps, 3)
    with tempfile.TemporaryDirectory() as scratch:
        for shape in options.shapes:
            compare(shape, options, options.adapters or pathlib.Path(scratch))


if __name__ == "__main__":
    main()
