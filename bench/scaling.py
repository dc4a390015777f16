#!/usr/bin/env python3
"""What lmoe-tool costs as things grow: experts, rank, length, threads, size of the bundle.

    python bench/scaling.py TOOL [--only experts rank length threads size] [--shape s110m] [--type f16] [--quick]
                            [--out DIR] [--work DIR] [--rounds N] [--json FILE]

Draws DIR/experts.svg and so on, and keeps the raw figures in DIR/scaling.json, beside those of earlier runs of other
parts; DIR is bench/ if not given. Models are of random weights, made in a temporary directory (with 256 experts of the
s110m shape about 4 GB, removed afterwards) or, with --work, in that.

The bare base and the mixture take turns in each process of `lmoe-tool bench run`; the points of a curve take turns
too, the order turning round by round, so that what changes on the machine does so for all of them. Dense: a softmax
gate for each layer over all experts. Top 2: the same, but only the two highest scores count. Needs numpy.
"""
import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile

import checkpoints
import plots
from measuring import HERE, Failure, apart, checked, in_turns, keep, median, process, run

TITLES = {"experts": "Number of experts", "rank": "Rank", "length": "Length", "threads": "Threads",
          "size": "Size of the bundle"}
GATES = {"dense": "dense", "top2": "top 2"}
PROMPT = " ab cd ef gh ij kl mn op"


# MARK: Making

class Maker:
    """Bundles of random weights, which the tool makes of checkpoints."""

    def __init__(self, tool, work, kind):
        self.tool, self.work, self.kind = tool, work, kind

    def base(self, shape, positions=None):
        path = self.work / f"base-{shape}"
        apart(checkpoints.make_base, path, shape, "f16", positions)
        return path

    def adapters(self, shape, rank, numbers):
        """Each has other values: a bundle keeps equal tensors once."""
        made = {}
        for number in numbers:
            made[f"e{number}"] = self.work / f"adapter-{rank}-{number}"
            apart(checkpoints.make_adapter, made[f"e{number}"], shape, rank, number)
        return made

    def bundle(self, name, base, adapters, codec="raw"):
        path = self.work / f"{name}.lmoe"
        experts = [part for expert, where in adapters.items() for part in ("--expert", f"{expert}={where}")]
        run(self.tool, "import", "--base", base, *experts, "--codec", codec, "--gate", "none", "-o", path)
        for where in adapters.values():
            shutil.rmtree(where)
        return path

    def add(self, bundle, adapters):
        run(self.tool, "add", bundle, *(f"{expert}={where}" for expert, where in adapters.items()), "--codec", "raw")
        for where in adapters.values():
            shutil.rmtree(where)

    def finish(self, bundle, count):
        """The gates and, if another than f16 is asked for, the type of the weights."""
        if self.kind != "f16":
            other = bundle.with_suffix(".quantized")
            run(self.tool, "quantize", bundle, "--base", self.kind, "--experts", "q8_0", "-o", other)
            other.replace(bundle)
        for gate in GATES:
            top = ["--top-k", 2] if gate == "top2" and count > 2 else []
            run(self.tool, "gate", "init", bundle, "--kind", "random", "--scope", "layer", "--name", gate, *top)
        return bundle


def running(options, bundle, gate, prompt, depth, tokens, repeat, threads=None, cache="f16"):
    """Seconds of bare base and mixture: for a token, and for a token of a prompt."""
    report = json.loads(run(options.tool, "bench", "run", bundle, "--gate", gate, "--prompt", prompt, "--depth", depth,
                            "--tokens", tokens, "--repeat", repeat, "--threads", threads or options.threads,
                            "--cache", cache, "--json"))
    return {**{f"{side} {what}": 1 / report[side][f"{stage}_tokens_s"] for side in ("base", "mixture")
               for what, stage in (("token", "decode"), ("prompt", "prefill"))},
            "bytes": report["mixture"]["weight_bytes"] / report["base"]["weight_bytes"]}


def starting(options, bundle, gate):
    """Seconds and peak bytes of a whole process to its first token."""
    seconds, peak, _ = process(options.tool, "generate", bundle, "-p", PROMPT, "-n", 1, "--gate", gate, "--temperature", 0,
                               "--threads", options.threads)
    return {"first token": seconds, "peak": peak}


def taken(found, point, figures, prefix=""):
    """Puts figures of a round to those of the rounds before."""
    for key, value in figures.items():
        found.setdefault(str(point), {}).setdefault(prefix + key, []).append(value)


# MARK: The parts

def experts(options, maker):
    counts = options.experts or ([1, 2, 4, 8, 16, 32] if options.quick else [1, 2, 4, 8, 16, 32, 64, 128, 256])
    base = maker.base(options.shape)
    growing, there, bundles, found = maker.bundle("growing", base, {}), 0, {}, {}
    for count in counts:
        for start in range(there, count, 16):  # not more of them on disk at once
            maker.add(growing, maker.adapters(options.shape, options.rank, range(start, min(start + 16, count))))
        there = count
        bundles[count] = maker.work / f"experts-{count}.lmoe"
        shutil.copyfile(growing, bundles[count])
        maker.finish(bundles[count], count)
    # Those that are compared most are neighbours.
    order = [count for count in counts if count not in (8, counts[-1])] + [8, counts[-1]]
    for count in order:
        starting(options, bundles[count], "top2")  # reads the file for the first time
    for number in range(options.rounds):
        for count in in_turns(order, number):
            for gate in in_turns(GATES, number):
                taken(found, count, running(options, bundles[count], gate, 128, 16, options.tokens, options.repeat), f"{gate} ")
            taken(found, count, starting(options, bundles[count], "top2"))
    sizes = {str(count): bundles[count].stat().st_size for count in counts}
    return {"rank": options.rank, "points": {str(count): found[str(count)] for count in counts}, "bundle_bytes": sizes}


def rank(options, maker):
    ranks = [4, 16, 64] if options.quick else [4, 8, 16, 32, 64, 128]
    base, bundles, found = maker.base(options.shape), {}, {}
    for r in ranks:
        bundles[r] = maker.finish(maker.bundle(f"rank-{r}", base, maker.adapters(options.shape, r, range(4))), 4)
    for number in range(options.rounds):
        for r in in_turns(ranks, number):
            for gate in in_turns(GATES, number):
                taken(found, r, running(options, bundles[r], gate, 256, 16, options.tokens, options.repeat), f"{gate} ")
    return {"experts": 4, "points": {str(r): found[str(r)] for r in ranks}}


def length(options, maker):
    lengths = [16, 128, 1024] if options.quick else [16, 64, 128, 256, 512, 1024, 2048, 4096]
    # A prompt of thousands takes seconds, so that one round in a process is enough.
    bundle = maker.bundle("length", maker.base(options.shape, 8192), maker.adapters(options.shape, 16, range(4)))
    maker.finish(bundle, 4)
    found = {}
    for number in range(options.rounds):
        for n in in_turns(lengths, number):
            decoded = running(options, bundle, "dense", 1, n, options.tokens, 1)
            taken(found, n, {key: value for key, value in decoded.items() if "prompt" not in key})
            if n >= 128:
                read = running(options, bundle, "dense", n, 1, 2, 1)
                taken(found, n, {key: value for key, value in read.items() if "prompt" in key})
    return {"experts": 4, "rank": 16, "points": {str(n): found[str(n)] for n in lengths}}


def threads(options, maker):
    counts = sorted({1, *(2 ** i for i in range(12) if 2 ** i < options.threads), options.threads})
    bundle = maker.bundle("threads", maker.base(options.shape), maker.adapters(options.shape, 16, range(4)))
    maker.finish(bundle, 4)
    trained = options.shape if options.shape in checkpoints.SHAPES else "s110m"
    found = {}
    for number in range(options.rounds):
        for count in in_turns(counts, number):
            taken(found, count, running(options, bundle, "dense", 256, 16, options.tokens, options.repeat, count))
            told = json.loads(run(options.tool, "bench", "train", "--shape", trained, "--threads", count, "--steps",
                                  2 if options.quick else 3, "--json"))
            taken(found, count, {"training": 1 / told["tokens_s"]})
    return {"experts": 4, "rank": 16, "points": {str(count): found[str(count)] for count in counts}}


def size(options, maker):
    shapes = ["s15m", "smol135m"] if options.quick else ["s15m", "s110m", "smol135m", "smol360m", "tiny1b"]
    bundles, found = {}, {}
    for shape in shapes:
        base = maker.base(shape)
        for codec in ("raw", "planes"):
            path = maker.bundle(f"{shape}-{codec}", base, maker.adapters(shape, 16, range(4)), codec)
            bundles[shape, codec] = maker.finish(path, 4) if codec == "raw" else gated(maker, path)
            starting(options, path, "dense")
        maker.adapters(shape, 16, [4])
        (maker.work / "adapter-16-4").rename(maker.work / f"added-{shape}")
        shutil.rmtree(base)
    for number in range(options.rounds):
        for shape in in_turns(shapes, number):
            raw, added = bundles[shape, "raw"], maker.work / f"added-{shape}"
            for codec in ("raw", "planes"):
                taken(found, shape, starting(options, bundles[shape, codec], "dense"), f"{codec} ")
            taken(found, shape, {"inspect": process(options.tool, "inspect", raw, "--json")[0],
                                 "add": process(options.tool, "add", raw, f"more{number}={added}", "--codec", "raw")[0]})
            run(options.tool, "remove", raw, f"more{number}")
            taken(found, shape, running(options, raw, "dense", 64, 16, min(options.tokens, 32), 1))
    sizes = {shape: {codec: bundles[shape, codec].stat().st_size for codec in ("raw", "planes")} for shape in shapes}
    return {"experts": 4, "rank": 16, "points": {shape: found[shape] for shape in shapes}, "bundle_bytes": sizes,
            "adapter_bytes": {shape: (maker.work / f"added-{shape}" / "adapter_model.safetensors").stat().st_size
                              for shape in shapes}}


def gated(maker, bundle):
    """The compressed bundle keeps the type that it has."""
    for gate in GATES:
        run(maker.tool, "gate", "init", bundle, "--kind", "random", "--scope", "layer", "--name", gate)
    return bundle


PARTS = {"experts": experts, "rank": rank, "length": length, "threads": threads, "size": size}


# MARK: What the figures say

def cost(point, gate="", what="token"):
    """How many times the bare base's time the mixture takes, round by round."""
    prefix = f"{gate} " if gate else ""
    return [a / b for a, b in zip(point[f"{prefix}mixture {what}"], point[f"{prefix}base {what}"])]


def growth(figures, gate="top2"):
    """What the most experts cost over eight, round by round; each against the bare base in the same process."""
    counts = [int(count) for count in figures["points"]]
    if 8 not in counts or counts[-1] <= 8:
        return None
    few, many = figures["points"]["8"], figures["points"][str(counts[-1])]
    return {"from": 8, "to": counts[-1], "ratios": [a / b for a, b in zip(cost(many, gate), cost(few, gate))]}


def steepest(figures, value):
    """The two neighbouring points between which a value grows most, and by what."""
    names = list(figures["points"])
    steps = [(value(figures["points"][b]) / value(figures["points"][a]), a, b) for a, b in zip(names, names[1:])]
    return max(steps) if steps else (1.0, names[0], names[0])


def conditions(f):
    parts = [f"{f['shape']}, {f['type']}" if f["part"] != "size" else f"{f['type']}"]
    parts += [f"{f['experts']} experts"] if "experts" in f else []
    parts += [f"rank {f['rank']}"] if "rank" in f else []
    parts += [f"{f['threads']} threads"] if f["part"] != "threads" else []
    return ", ".join(parts) + f"; medians of {f['rounds']} rounds, load {f['load']:.1f}; commit {f['commit']}."


def sentences(f):
    points, part = f["points"], f["part"]
    names = list(points)
    first, last = points[names[0]], points[names[-1]]

    def ratio(values, others):
        return median(a / b for a, b in zip(values, others))
    said = []
    if part == "experts":
        for gate, words in (("top2", "top-2 routing at layer scope"), ("dense", "a dense gate")):
            grown = growth(f, gate)
            if grown:
                said.append(f"With {words}, {grown['to']} experts decode within {median(grown['ratios']):.3f} × of "
                            f"{grown['from']} ({min(grown['ratios']):.3f}–{max(grown['ratios']):.3f}); over the bare base "
                            f"they cost {median(cost(last, gate)):.2f} ×.")
        step, a, b = steepest(f, lambda point: median(cost(point, "top2")))
        said.append(f"With top-2 routing the largest step from one point to the next is × {step:.2f}, from {a} to {b} experts.")
        said.append(f"From {names[0]} to {names[-1]} experts the first token goes from {1000 * median(first['first token']):.0f} "
                    f"to {1000 * median(last['first token']):.0f} ms, peak memory from {median(first['peak']) / 1e6:.0f} to "
                    f"{median(last['peak']) / 1e6:.0f} MB, the bundle from {f['bundle_bytes'][names[0]] / 1e6:.0f} to "
                    f"{f['bundle_bytes'][names[-1]] / 1e6:.0f} MB.")
    elif part == "rank":
        for gate, words in GATES.items():
            said.append(f"Gate {words}: from rank {names[0]} to {names[-1]} a token goes from {median(cost(first, gate)):.2f} × to "
                        f"{median(cost(last, gate)):.2f} × the bare base's time, a prompt from "
                        f"{median(cost(first, gate, 'prompt')):.2f} × to {median(cost(last, gate, 'prompt')):.2f} ×; the bytes "
                        f"read from {median(first[f'{gate} bytes']):.3f} × to {median(last[f'{gate} bytes']):.3f} ×.")
        step, a, b = steepest(f, lambda point: median(cost(point, "dense")))
        said.append(f"Dense, the largest step is × {step:.2f}, from rank {a} to {b}.")
    elif part == "length":
        for side, words in (("base", "bare base"), ("mixture", "mixture")):
            told = ratio(last[f"{side} token"], first[f"{side} token"])
            said.append(f"After {names[-1]} tokens a token of the {words} takes {told:.2f} × the time of one after {names[0]}.")
            long = [n for n in names if f"{side} prompt" in points[n]]
            if len(long) > 1:
                told = ratio(points[long[-1]][f"{side} prompt"], points[long[0]][f"{side} prompt"])
                said.append(f"A token of a prompt of {long[-1]} takes {told:.2f} × the time of one of a prompt of {long[0]}, "
                            f"{words}.")
    elif part == "threads":
        for key, words in (("base token", "decode, bare base"), ("mixture token", "decode, mixture"),
                           ("base prompt", "prompt, bare base"), ("mixture prompt", "prompt, mixture"), ("training", "training")):
            if len(names) > 1:
                said.append(f"{words}: {names[-1]} threads are {ratio(first[key], last[key]):.2f} × as fast as {names[0]}.")
    else:
        grown = f["bundle_bytes"][names[-1]]["raw"] / f["bundle_bytes"][names[0]]["raw"]
        said.append(f"A bundle {grown:.0f} × as large: inspect takes {ratio(last['inspect'], first['inspect']):.2f} × the time, the "
                    f"first token {ratio(last['raw first token'], first['raw first token']):.1f} × from the map and "
                    f"{ratio(last['planes first token'], first['planes first token']):.1f} × from the compressed bundle, a token "
                    f"{ratio(last['mixture token'], first['mixture token']):.1f} ×.")
    return said


def table(f):
    """What the chart shows, in figures: head and rows."""
    def milliseconds(values):
        value = 1000 * median(values)
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

    def times(values):
        return f"{median(values):.2f} ×"
    rows, part = [], f["part"]
    for name, point in f["points"].items():
        if part in ("experts", "rank"):
            row = [name] + [cell for gate in GATES for cell in (
                f"{milliseconds(point[f'{gate} mixture token'])} ms, {times(cost(point, gate))}", times(cost(point, gate, "prompt")))]
            row += [f"{milliseconds(point['first token'])} ms", f"{median(point['peak']) / 1e6:.0f} MB"] if part == "experts" else []
        elif part == "length":
            row = [name, milliseconds(point["base token"]), milliseconds(point["mixture token"])]
            row += [f"{1 / median(point[f'{side} prompt']):,.0f}" if f"{side} prompt" in point else "" for side in ("base", "mixture")]
        elif part == "threads":
            row = [name] + [f"{1 / median(point[key]):,.1f}" for key in
                            ("base token", "mixture token", "base prompt", "mixture prompt", "training")]
        else:
            sizes = f["bundle_bytes"][name]
            row = [name, f"{sizes['raw'] / 1e6:,.0f} MB, {sizes['planes'] / 1e6:,.0f} MB"]
            row += [milliseconds(point[key]) + " ms" for key in
                    ("inspect", "add", "raw first token", "planes first token", "base token", "mixture token")]
            row += [f"{median(point['raw peak']) / 1e6:,.0f} MB, {median(point['planes peak']) / 1e6:,.0f} MB"]
        rows.append(row)
    gates = [cell for words in GATES.values() for cell in (f"{words}: a token", f"{words}: prompt")]
    return {"experts": ["experts", *gates, "first token", "peak memory"], "rank": ["rank", *gates],
            "length": ["tokens", "ms a token after them, bare", "mixture", "tokens/s of a prompt of them, bare", "mixture"],
            "threads": ["threads", "decode, tokens/s, bare", "mixture", "prompt, bare", "mixture", "training"],
            "size": ["shape", "raw, planes", "inspect", "add an expert", "first token, raw", "planes", "a token, bare",
                     "mixture", "peak memory, raw, planes"]}[part], rows


# MARK: Charts

def curve(f, value, scale=1.0, at=float):
    """Points of a curve: the median of the rounds, and between what they were."""
    points = []
    for name, point in f["points"].items():
        values = value(point)
        if values:
            points.append((at(name), *(scale * v for v in (median(values), min(values), max(values)))))
    return points


def draw(f, path):
    part, points = f["part"], f["points"]
    xs = None if part == "size" else [int(name) for name in points]
    if part in ("experts", "rank"):
        def panel(what, title):
            return {"title": title, "x": "experts" if part == "experts" else "rank", "y": "× the bare base's time", "log_x": True,
                    "ticks": xs, "log_y": part == "experts", "series": [
                        *((words, curve(f, lambda p, g=gate: cost(p, g, what))) for gate, words in GATES.items()),
                        *((f"bytes, {words}", curve(f, lambda p, g=gate: p[f"{g} bytes"]))
                          for gate, words in GATES.items() if what == "token")]}
        panels = [panel("token", "Decode"), panel("prompt", "Prompt")]
        if part == "experts":
            panels.append({"title": "To the first token, top 2", "x": "experts", "y": "ms", "log_x": True, "ticks": xs, "log_y": True,
                           "series": [("whole process", curve(f, lambda p: p["first token"], 1000))]})
            panels.append({"title": "Memory", "x": "experts", "y": "MB", "log_x": True, "ticks": xs, "log_y": True, "series": [
                ("peak, process", curve(f, lambda p: p["peak"], 1e-6)),
                ("bundle", [(int(n), *3 * (size / 1e6,)) for n, size in f["bundle_bytes"].items()])]})
        title = (f"Cost of {'the number of experts' if part == 'experts' else 'rank'}: {f['shape']}, {f['type']}, "
                 + (f"rank {f['rank']}" if part == "experts" else "four experts"))
    elif part == "length":
        sides = (("bare base", "base"), ("four experts", "mixture"))
        long = [int(n) for n, point in points.items() if "base prompt" in point]
        panels = [{"title": "Decode", "x": "tokens before", "y": "ms a token", "log_x": True, "zero": True, "ticks": xs[::2],
                   "series": [(words, curve(f, lambda p, s=side: p[f"{s} token"], 1000)) for words, side in sides]},
                  {"title": "Prompt", "x": "tokens of the prompt", "y": "ms a token", "log_x": True, "zero": True, "ticks": long,
                   "series": [(words, curve(f, lambda p, s=side: p.get(f"{s} prompt"), 1000)) for words, side in sides]}]
        title = f"Cost of length: {f['shape']}, {f['type']}, rank 16, f16 cache"
    elif part == "threads":
        def speed(key):
            return curve(f, lambda p: [1 / v for v in p[key]])
        panels = [{"title": title, "x": "threads", "y": "tokens/s", "ticks": xs, "zero": True, "series": series}
                  for title, series in (
                      ("Decode", [("bare base", speed("base token")), ("four experts", speed("mixture token"))]),
                      ("Prompt", [("bare base", speed("base prompt")), ("four experts", speed("mixture prompt"))]),
                      ("Training", [("four experts", speed("training"))]))]
        title = f"Speed with threads: {f['shape']}, {f['type']}, rank 16"
    else:
        def at(name):
            return f["bundle_bytes"][name]["raw"] / 1e6
        panels = [{"title": "Whole processes, warm", "x": "MB, uncompressed", "y": "ms", "log_x": True, "log_y": True, "series": [
                      (words, curve(f, lambda p, k=key: p[k], 1000, at)) for words, key in
                      (("first token, raw", "raw first token"), ("first, compressed", "planes first token"),
                       ("add an expert", "add"), ("inspect", "inspect"))]},
                  {"title": "Peak memory to the first token", "x": "MB, uncompressed", "y": "MB", "log_x": True, "log_y": True, "series": [
                      (words, curve(f, lambda p, k=key: p[k], 1e-6, at)) for words, key in
                      (("raw, with its map", "raw peak"), ("compressed", "planes peak"))]},
                  {"title": "Decode", "x": "MB, uncompressed", "y": "ms a token", "log_x": True, "log_y": True, "series": [
                      (words, curve(f, lambda p, k=key: p[k], 1000, at)) for words, key in
                      (("bare base", "base token"), ("four experts", "mixture token"))]}]
        title = f"Cost of size: {f['type']}, four experts of rank 16"
    plots.write(path, title, panels)


def show(f):
    print(f"{TITLES[f['part']]}: {conditions(f)}")
    for sentence in sentences(f):
        print(f"  {sentence}")
    head, rows = table(f)
    for row in [head, *rows]:
        print("  " + " | ".join(row), flush=True)


def commit():
    try:
        return run("git", "-C", HERE, "describe", "--always", "--tags").strip()
    except Failure:
        return "unknown"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--shape", choices=checkpoints.SHAPES, help="s110m, or with --quick s15m")
    parser.add_argument("--type", choices=["f16", "q8_0", "q4_0"], default="f16", help="of the base; experts are Q8_0 if it is not f16")
    parser.add_argument("--experts", nargs="+", type=int, metavar="N", help="numbers of experts, growing: 1 2 4 … 256")
    parser.add_argument("--rank", type=int, default=8, help="of the experts whose number grows")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, help="5, or with --quick 2")
    parser.add_argument("--repeat", type=int, help="rounds in a process: 3, or with --quick 1")
    parser.add_argument("--tokens", type=int, help="64, or with --quick 32")
    parser.add_argument("--out", type=pathlib.Path, default=HERE, metavar="DIR", help="where charts and scaling.json go")
    parser.add_argument("--work", type=pathlib.Path, metavar="DIR", help="where the models are made, and removed")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures of the last part there, too")
    parser.add_argument("--quick", action="store_true", help="fewer points and rounds, and the smallest shape")
    options = parser.parse_args()
    for name, usual, quick in (("shape", "s110m", "s15m"), ("rounds", 5, 2), ("repeat", 3, 1), ("tokens", 64, 32)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else usual)
    kept, failed = options.out / "scaling.json", []
    every = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    options.out.mkdir(parents=True, exist_ok=True)
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    for part in options.only:
        with tempfile.TemporaryDirectory(dir=options.work) as scratch:
            try:
                figures = PARTS[part](options, Maker(options.tool, pathlib.Path(scratch), options.type))
            except (Failure, OSError, ValueError, KeyError) as failure:
                failed.append(f"{part}: {failure}")
                continue
        found = {"part": part, "shape": options.shape, "type": options.type, "threads": options.threads,
                 "rounds": options.rounds, "repeat": options.repeat, "load": os.getloadavg()[0], "commit": commit(), **figures}
        show(found)
        draw(found, options.out / f"{part}.svg")
        every[part] = found
        keep({name: every[name] for name in PARTS if name in every}, kept)
        keep(found, options.json)
    if failed:
        sys.exit(f"Error: {'; '.join(failed)}")


if __name__ == "__main__":
    checked(main)
