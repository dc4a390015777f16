#!/usr/bin/env python3
"""From the start of a process to its first token, warm and cold, beside llama.cpp and PyTorch, in one run.

    python bench/loading.py TOOL [--llama-cpp DIR] [--shapes s15m s110m smol135m] [--types f16 q8_0 q4_0] [--quick]
                            [--models DIR] [--json FILE]

Whole processes, with four rank-16 adapters, on the models of bench/inference.py: `lmoe-tool generate -n 1` on a prompt
of 16 tokens, tokenizer and all, of bundles that run from the memory map ("f16", "q8_0", …) and of the compressed one
("planes"); llama.cpp by bench/llama_peer.c, which reads 16 tokens that it is given, and transformers with PEFT
(bench/peers/first_token.py), in float16. The programs take turns.

Warm: the files are in the page cache, and right before each start another process has touched and freed as much memory
as the program will take, so that the host of a virtual machine need not give it first. As found: without that. Cold:
the files of the model, not those of the program, are taken out of the page cache before each start (posix_fadvise); how
much of them stayed is said. Peak memory counts the pages of a map that were touched.
Needs numpy; for the peers, what they need.
"""
import argparse
import os
import pathlib
import sys
import tempfile

import inference
from inference import EXPERTS, LARGER, SHAPES
from measuring import HERE, checked, evict, files_of, have_memory, in_turns, keep, median, process

PROMPT = " ab cd ef gh ij kl mn op"
PROMPT_TOKENS = 16


def commands(tool, llama, program, path, options):
    """For each name the command, and the files it reads."""
    found = {}
    for kind in [*options.types, "planes"]:
        bundle = path / "planes.lmoe" if kind == "planes" else inference.bundle_of(path, kind)
        found[f"lmoe-tool, {kind}"] = ((tool, "generate", bundle, "-p", PROMPT, "-n", 1, "--gate", "dense", "--temperature",
                                        0, "--threads", options.threads), [bundle])
    for kind in options.types if llama else []:
        files = inference.adapter_files(path, kind, "alike")
        given = [part for file in files for part in (file, 1 / EXPERTS)]
        found[f"llama.cpp, {kind}"] = ((program, inference.gguf(path, kind), options.threads, "f16", 1, PROMPT_TOKENS,
                                        PROMPT_TOKENS, 0, 0, *given), [inference.gguf(path, kind), *files])
    if options.torch:
        adapters = [path / f"adapter{index}" for index in range(EXPERTS)]
        found["transformers, PEFT"] = ((sys.executable, HERE / "peers" / "first_token.py", path / "base", PROMPT_TOKENS,
                                        options.threads, *adapters), [path / "base", *adapters])
    return found


def compare(tool, llama, program, path, shape, options):
    figures = {"shape": shape, "threads": options.threads, "rounds": options.rounds, "load": os.getloadavg()[0],
               "bytes": {}, "warm": {}, "as found": {}, "cold": {}, "peak": {}, "stayed": {}}
    every = commands(tool, llama, program, path, options)
    for name, (command, files) in every.items():
        figures["bytes"][name] = sum(f.stat().st_size for given in files for f in files_of(given))
        figures["peak"][name] = [process(*command)[1]]  # warms up
    for number in range(options.rounds):
        for kind in ("as found", "warm"):
            for name in in_turns(every, number):
                command, files = every[name]
                if number < 3 or not name.startswith("transformers"):  # which takes seconds
                    if kind == "warm":
                        have_memory(figures["peak"][name][0] * 5 // 4)
                    seconds, peak, _ = process(*command)
                    figures[kind].setdefault(name, []).append(seconds)
                    figures["peak"][name].append(peak)
    for number in range(options.cold):
        for name in in_turns(every, number):
            command, files = every[name]
            figures["stayed"].setdefault(name, []).append(evict(*files))
            figures["cold"].setdefault(name, []).append(process(*command)[0])
    return figures


def show(figures):
    print(f"{figures['shape']}: to the first token, whole process, four adapters, {figures['threads']} threads; "
          f"load {figures['load']:.1f}")
    print(f"  {'':22}{'MB':>8}{'warm ms':>10}{'as found':>10}{'cold ms':>10}{'peak MB':>10}")
    for name, values in figures["warm"].items():
        cold, stayed = figures["cold"].get(name), figures["stayed"].get(name, [0])
        print(f"  {name:22}{figures['bytes'][name] / 1e6:8.0f}{1000 * median(values):10.0f}"
              + f"{1000 * median(figures['as found'][name]):10.0f}"
              + (f"{1000 * median(cold):10.0f}" if cold else f"{'':10}")
              + f"{median(figures['peak'][name]) / 1e6:10.0f}"
              + (f"   {100 * max(stayed):.0f} % stayed in the cache" if max(stayed) > 0.01 else ""), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("--llama-cpp", type=pathlib.Path, help="its source, with a build in DIR/build; without, no peer")
    parser.add_argument("--torch", action="store_true", help="transformers and PEFT too")
    parser.add_argument("--shapes", nargs="+", choices=[*SHAPES, *LARGER], default=list(SHAPES))
    parser.add_argument("--types", nargs="+", choices=["f16", "q8_0", "q4_0", "q4_k", "q6_k"], default=["f16", "q8_0", "q4_0"])
    parser.add_argument("--models", type=pathlib.Path, help="keep the models here; a temporary directory if not given")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--cold", type=int, default=5, help="rounds from a cold page cache")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures of all rounds there")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.cold = min(options.rounds, 4), min(options.cold, 2)
    llama, found = options.llama_cpp and options.llama_cpp.resolve(), []
    with tempfile.TemporaryDirectory() as scratch:
        root = options.models or pathlib.Path(scratch)
        program = inference.peer_program(llama, pathlib.Path(scratch)) if llama else None
        for shape in options.shapes:
            if llama:
                inference.prepare(options.tool, llama, program, root / shape, shape, options.types, "alike")
            else:
                inference.prepare_bundles(options.tool, root / shape, shape, options.types)
            found.append(compare(options.tool, llama, program, root / shape, shape, options))
            show(found[-1])
            keep(found, options.json)


if __name__ == "__main__":
    checked(main)
