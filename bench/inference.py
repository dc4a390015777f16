#!/usr/bin/env python3
"""Prompts and tokens of a mixture beside llama.cpp with the same adapters, in one run.

    python bench/inference.py TOOL --llama-cpp DIR [--shapes s15m s110m smol135m] [--types f16 q8_0 q4_0] [--quick]
                              [--models DIR] [--json FILE]

Makes random Llama models in float16 with four rank-16 LoRA adapters on all linear layers, bundles of them with a
dense softmax gate for each layer, and GGUF files of them. Then the two programs take turns: each round is a process of
either, in which the bare base and the base with four adapters take turns again. llama.cpp applies its adapters with
the fixed weight 1/4; it has no gate.

With other types than f16 each program has the base as it quantizes it itself, all matrices alike, the embedding too; the
experts in the bundle are Q8_0 then, and so are llama.cpp's adapters, as its own conversion makes them: the factors A.
The factors B stay f16 there, for their rows of 16 are not whole blocks. `--adapters f16` keeps all of them f16.

DIR is llama.cpp's source with a build in DIR/build. What is timed there is bench/llama_peer.c, a small program over
its library (llama-bench takes no adapters), compiled here with cc; llama-bench runs too, to show that the small
program is not slower. Of llama.cpp the better setting of flash attention counts, found at the start.
Needs numpy, and for the conversion torch, transformers, gguf and sentencepiece.
"""
import argparse
import json
import os
import pathlib
import sys
import tempfile

from checkpoints import LARGER, SHAPES, make_adapter, make_base
from measuring import HERE, apart, checked, in_turns, keep, median, paired, run

EXPERTS, RANK = 4, 16
KEYS = [("base", "prompt"), ("base", "tokens"), ("adapters", "prompt"), ("adapters", "tokens")]
PEER, OURS, OURS_F32 = "llama.cpp, f16 cache", "lmoe-tool, f16 cache", "lmoe-tool, f32 cache"


# MARK: Models

def make_model(path, shape):
    if not (path / "base").exists():
        make_base(path / "base", shape)
    for index in range(EXPERTS):
        if not (path / f"adapter{index}").exists():
            make_adapter(path / f"adapter{index}", shape, RANK, index, base=shape)


def made_anew(path, source):
    """Whether a file is to be made: it is not there, or older than what it is made of."""
    return not path.exists() or path.stat().st_mtime < source.stat().st_mtime


def prepare_bundles(tool, path, shape, types):
    """The bundles, made where they are not there yet."""
    if not (path / "base" / "tokenizer.json").exists():  # of an earlier version of this script
        for old in [path / "base", *(path / f"adapter{index}" for index in range(EXPERTS))]:
            for file in old.glob("*"):
                file.unlink()
            if old.exists():
                old.rmdir()
    apart(make_model, path, shape)
    newest = path / f"adapter{EXPERTS - 1}" / "adapter_config.json"
    for codec in ("raw", "planes"):
        bundle = path / f"{codec}.lmoe"
        if made_anew(bundle, newest):
            experts = [part for i in range(EXPERTS) for part in ("--expert", f"e{i}={path / f'adapter{i}'}")]
            run(tool, "import", "--base", path / "base", *experts, "--codec", codec, "--force", "-o", bundle)
            run(tool, "gate", "init", bundle, "--kind", "random", "--scope", "layer", "--name", "dense")
    for kind in types:
        if made_anew(bundle_of(path, kind), path / "raw.lmoe"):
            bundle_of(path, kind).unlink(missing_ok=True)
            run(tool, "quantize", path / "raw.lmoe", "--base", kind, "--experts", "q8_0", "-o", bundle_of(path, kind))


def prepare(tool, llama, program, path, shape, types, adapters):
    """Everything that both sides read, made where it is not there yet."""
    prepare_bundles(tool, path, shape, types)
    newest = path / f"adapter{EXPERTS - 1}" / "adapter_config.json"
    if made_anew(path / "base.gguf", newest):
        run(sys.executable, llama / "convert_hf_to_gguf.py", path / "base", "--outtype", "f16",
            "--outfile", path / "base.gguf")
    for kind in types:
        for index, file in enumerate(adapter_files(path, kind, adapters)):
            if made_anew(file, newest):
                run(sys.executable, llama / "convert_lora_to_gguf.py", "--base", path / "base", "--outtype",
                    adapter_type(kind, adapters), "--outfile", file, path / f"adapter{index}")
        if made_anew(gguf(path, kind), path / "base.gguf"):
            run(program, "quantize", path / "base.gguf", gguf(path, kind), kind)


def adapter_type(kind, adapters):
    return "q8_0" if kind != "f16" and adapters == "alike" else "f16"


def adapter_files(path, kind, adapters):
    suffix = "" if adapter_type(kind, adapters) == "f16" else "-q8_0"
    return [path / f"adapter{index}{suffix}.gguf" for index in range(EXPERTS)]


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
        self.adapters = [part for file in adapter_files(path, kind, options.adapters) for part in (file, 1 / EXPERTS)]

    def round(self, cache, rounds):
        o = self.options
        output = run(*o.under.split(), self.program, self.model, o.threads, cache, self.flash, o.prompt, o.depth, o.tokens,
                     rounds, *self.adapters)
        found = {(side, what): [] for side in ("base", "adapters") for what in ("prompt", "tokens")}
        for line in output.splitlines():
            side, _, prompt, _, token = line.split()
            found[side, "prompt"].append(o.prompt / float(prompt))
            found[side, "tokens"].append(1 / float(token))
        return {key: median(values) for key, values in found.items()}

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


def compare(tool, llama, program, path, shape, kind, options):
    """The rates of all rounds, and what the tool says of its floors."""
    peer, ours = Peer(program, path, kind, options), Ours(tool, path, kind, options)
    inner = 1 if options.quick else 3
    peer.choose_flash(inner)
    sides = {PEER: (peer, "f16"), OURS: (ours, "f16"), OURS_F32: (ours, "f32")}
    rates = {name: {key: [] for key in KEYS} for name in sides}
    reports = {OURS: [], OURS_F32: []}
    for number in range(options.rounds):
        for name in in_turns(sides, number):
            program, cache = sides[name]
            for key, rate in program.round(cache, inner).items():
                rates[name][key].append(rate)
            if program is ours:
                reports[name].append(ours.report)
    return {"shape": shape, "type": kind, "prompt": options.prompt, "tokens": options.tokens, "depth": options.depth,
            "threads": options.threads, "rounds": options.rounds, "inner_rounds": inner, "under": options.under,
            "flash_attention": bool(peer.flash), "load": os.getloadavg()[0],
            "peer_adapters": adapter_type(kind, options.adapters),
            "peer_adapter_bytes": sum(f.stat().st_size for f in adapter_files(path, kind, options.adapters)),
            "tokens_s": {name: {" ".join(key): values for key, values in found.items()} for name, found in rates.items()},
            "weight_bytes": {side: reports[OURS][0][side]["weight_bytes"] for side in ("base", "mixture")},
            "costs": {name: {what: [report[f"{stage}_cost"] for report in found]
                             for what, stage in (("prompt", "prefill"), ("tokens", "decode"))}
                      for name, found in reports.items()},
            "floors": {name: [floors(report) for report in found] for name, found in reports.items()},
            "kernels": next((reports[OURS][0][key] for key in ("kernels", "kernel", "variant", "kernel_variant")
                             if key in reports[OURS][0]), None),
            "llama_bench": llama_bench(llama, path, kind, options, int(peer.flash))}


def floors(report):
    """The figures of a report that say what the machine can do, and which share of it was reached."""
    found = {key: value for key, value in report.items() if key.endswith(("_gb_s", "_gflop_s"))}
    for side in ("base", "mixture"):
        found |= {f"{side} {key}": value for key, value in report[side].items() if key.endswith("_share")}
    return found


def costs(figures, name):
    """For prompts and for tokens, how many times the bare base's time the mixture takes, round by round.

    The tool says it itself, for in it the two take turns more often than there are rounds."""
    if name in figures.get("costs", {}):
        return figures["costs"][name]
    rates = figures["tokens_s"][name]
    return {what: paired(rates[f"base {what}"], rates[f"adapters {what}"]) for what in ("prompt", "tokens")}


def bytes_ratio(figures):
    """Bytes of weights that a token of the mixture reads, over those of the bare base."""
    return figures["weight_bytes"]["mixture"] / figures["weight_bytes"]["base"]


def ratios(figures, name):
    """Ours over the peer's, round by round: rounds of both are neighbours in time."""
    rates = figures["tokens_s"]
    return {key: paired(rates[name][key], rates[PEER][key]) for key in rates[name]}


def show(figures):
    print(f"{figures['shape']}, {figures['type']}: prompt {figures['prompt']}, then {figures['tokens']} tokens after "
          f"{figures['depth']}; {figures['threads']} threads; llama.cpp with flash attention "
          f"{'on' if figures['flash_attention'] else 'off'}, its adapters {figures['peer_adapters']}; "
          f"load {figures['load']:.1f}" + (f"; both under {figures['under']}" if figures["under"] else ""))
    print(f"  {'tokens/s':24}{'base prompt':>13}{'base decode':>13}{'4 ad. prompt':>14}{'4 ad. decode':>14}")

    def line(name, cells):
        print(f"  {name:24}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, (13, 13, 14, 14))))
    for name, rates in figures["tokens_s"].items():
        line(name, [f"{median(values):.1f}" for values in rates.values()])
    for name in (OURS, OURS_F32):
        line("ratio, " + name.split(", ")[1], [f"{median(values):.2f}" for values in ratios(figures, name).values()])
    for name in figures["tokens_s"]:
        cost = costs(figures, name)
        print(f"  cost of four adapters, {name}: prompt × {median(cost['prompt']):.2f}, "
              f"tokens × {median(cost['tokens']):.2f}"
              + (f"; bytes read × {bytes_ratio(figures):.3f}, so × {median(cost['tokens']) / bytes_ratio(figures):.3f} "
                 "beyond them" if name != PEER else ""))
    for name in (OURS, OURS_F32):
        found = {key: median(report[key] for report in figures["floors"][name]) for key in figures["floors"][name][0]}
        print(f"  share of the floor, {name.split(', ')[1]}: " + ", ".join(
            f"{key.removesuffix('_share')} {100 * value:.0f} %" for key, value in found.items() if key.endswith("_share"))
            + " (" + ", ".join(f"{value:.0f} {key}" for key, value in found.items() if not key.endswith("_share")) + ")")
    if figures["llama_bench"]:
        print("  llama-bench, bare base: " + ", ".join(f"{k} {v:.1f}" for k, v in figures["llama_bench"].items()), flush=True)


def llama_bench(llama, path, kind, options, flash):
    """What llama-bench itself finds for the bare base, to compare with the small program's figures."""
    rows = json.loads(run(*options.under.split(), llama / "build" / "bin" / "llama-bench", "-m", gguf(path, kind), "-t",
                          options.threads, "-ngl", 0, "-fa", flash, "-p", options.prompt, "-n", options.tokens, "-d", 0,
                          "-r", 3, "-o", "json"))
    return {"prompt" if row["n_prompt"] else "tokens": row["avg_ts"] for row in rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("--llama-cpp", required=True, type=pathlib.Path)
    parser.add_argument("--shapes", nargs="+", choices=[*SHAPES, *LARGER], default=list(SHAPES))
    parser.add_argument("--types", nargs="+", choices=["f16", "q8_0", "q4_0", "q4_k", "q6_k"], default=["f16", "q8_0", "q4_0"])
    parser.add_argument("--adapters", choices=["alike", "f16"], default="alike",
                        help="of llama.cpp: in the type of our experts, or always f16")
    parser.add_argument("--models", type=pathlib.Path, help="keep the models here; a temporary directory if not given")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--under", default="", metavar="COMMAND",
                        help='run both programs under it, as "chrt -r 1" or "taskset -c 0,1"')
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures of all rounds there")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and tokens")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.tokens = min(options.rounds, 2), 32
    llama, found = options.llama_cpp.resolve(), []
    with tempfile.TemporaryDirectory() as scratch:
        root = options.models or pathlib.Path(scratch)
        program = peer_program(llama, pathlib.Path(scratch))
        for shape in options.shapes:
            prepare(options.tool, llama, program, root / shape, shape, options.types, options.adapters)
            for kind in options.types:
                found.append(compare(options.tool, llama, program, root / shape, shape, kind, options))
                show(found[-1])
                keep(found, options.json)


if __name__ == "__main__":
    checked(main)
