#!/usr/bin/env python3
"""RESULTS.md of what bench/compare has measured.

    python bench/compare_report.py bench/results.json bench/RESULTS.md
"""
import json
import pathlib
import sys

import checkpoints
import inference
import merging
import scaling
import training
from measuring import median

TYPES = {"f16": "F16", "q8_0": "Q8_0", "q4_0": "Q4_0", "q4_k": "Q4_K", "q6_k": "Q6_K"}
OURS, PEER = inference.OURS, inference.PEER


# MARK: Words

def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values, form=number):
    """The median, and between what the rounds were."""
    if len(values) < 2:
        return form(values[0])
    return f"{form(median(values))} ({form(min(values))}–{form(max(values))})"


def times(values, digits=2):
    return spread(values, lambda value: f"{value:.{digits}f}") + " ×"


def percent(values):
    return spread([100 * value for value in values], lambda value: f"{value:.0f}") + " %"


def milliseconds(values):
    return spread([1000 * value for value in values], lambda value: f"{value:.0f}") + " ms"


def megabytes(value):
    return f"{value / 1e6:,.0f} MB" if value < 1e9 else f"{value / 1e9:.2f} GB"


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
            *("| " + " | ".join(row) + " |" for row in rows), ""]


def figures_of(jobs, kind):
    """The figures of the jobs of a kind, by the rest of their names."""
    return {name.partition(" ")[2]: job["figures"] for name, job in jobs.items()
            if name.split()[0] == kind and "figures" in job}


def each(jobs, kind):
    """Figures of scripts that give a list of one: smaller models before larger ones, whenever they were measured."""
    shapes, types = [*checkpoints.SHAPES, *checkpoints.LARGER], list(TYPES)

    def place(item):
        return shapes.index(item[1]["shape"]), types.index(item[1].get("type", types[0]))
    return dict(sorted(((name, found[0]) for name, found in figures_of(jobs, kind).items()), key=place))


# MARK: What was to be reached

class Goals:
    """The lines of the table of goals; a value each for the shapes."""

    def __init__(self):
        self.rows = []

    def add(self, what, values, limit, at_most=False, told=lambda value: f"{value:.2f}"):
        """`values`: for each shape the figure that counts (None if there is none) and, if there is more to say, a text."""
        if not values:
            self.rows.append((what, "", "not measured"))
            return
        if any(value is None for value, _ in values.values()):
            self.rows.append((what, "; ".join(f"{shape} {text}" for shape, (_, text) in values.items()), "not measured"))
            return
        met = [(value <= limit if at_most else value >= limit) for value, _ in values.values()]
        said = "; ".join(f"{shape} {text or told(value)}" for shape, (value, text) in values.items())
        self.rows.append((what, said, "yes" if all(met) else "no" if not any(met) else
                          "no, but " + ", ".join(shape for shape, fine in zip(values, met) if fine)))


# Until the pace of multiply-adds in registers was measured, shares were of the pace of the tool's own large products.
BY_PRODUCTS = " of the pace of large products"


def floor_share(figures, side):
    """The share of the floor that a prompt reaches, and what to say of it."""
    reports = figures["floors"][OURS]
    if f"{side} prefill_floor_share" not in reports[0]:
        return None, percent([report[f"{side} prefill_float_share"] for report in reports]) + BY_PRODUCTS
    shares, own = ([report[f"{side} prefill_{name}_share"] for report in reports] for name in ("floor", "products"))
    return median(shares), f"{percent(shares)} ({percent(own)}{BY_PRODUCTS})"


def of_floors(f):
    """What decoding with experts takes more than reading does. Caches may hold the bytes of the base alone; and each side
    has the pace at which just as many bytes were read."""
    reports = f["floors"][OURS]
    if any(f"{side} decode_share" not in report for report in reports for side in ("base", "mixture")):
        return ""
    beyond = [report["base decode_share"] / report["mixture decode_share"] for report in reports]
    return f" ({median(beyond):.2f})"


def goals(jobs):
    told = Goals()
    running = each(jobs, "inference")

    def of_type(kind, shapes=inference.SHAPES):
        return {f["shape"]: f for f in running.values() if f["type"] == kind and f["shape"] in shapes}
    types = [kind for kind in TYPES if kind in ("f16", "q8_0", "q4_0") or of_type(kind)]
    for kind in types:
        values = {}
        for shape, f in of_type(kind).items():
            cost, read = median(inference.costs(f, OURS)["tokens"]), inference.bytes_ratio(f)
            values[shape] = (cost / read, f"{cost:.2f} × for {read:.3f} × the bytes: {cost / read:.2f}{of_floors(f)}")
        told.add(f"Mixture over bare base, decode, {TYPES[kind]}: ≤ 1.06 × the ratio of bytes read (in brackets: of the "
                 "times that reading them took)", values, 1.06, True)

    def beside(key, kind, shapes=inference.SHAPES):
        return {shape: (median(inference.ratios(f, OURS)[key]), times(inference.ratios(f, OURS)[key]))
                for shape, f in of_type(kind, shapes).items()}
    for kind in types:
        limit = 1.6 if kind == "f16" else 1.8
        told.add(f"Decode with four adapters, {TYPES[kind]}: ≥ {limit} × llama.cpp", beside("adapters tokens", kind), limit)
    for kind in types:
        limit = 1.08 if kind == "f16" else 1.15
        told.add(f"Decode of the bare base, {TYPES[kind]}: ≥ {limit} × llama.cpp",
                 beside("base tokens", kind, ["s110m", "smol135m"]), limit)
    for side, name in (("base", "bare"), ("mixture", "with experts")):
        for kind in types:
            values = {}
            for shape, f in of_type(kind).items():
                values[shape] = floor_share(f, side)
            told.add(f"Prefill {name}, {TYPES[kind]}: ≥ 82 % of the floor, all multiplications as FMAs in registers",
                     values, 0.82)
    for key, name, about in (("base prompt", "bare", 1.05), ("adapters prompt", "with experts", 1.4)):
        told.add(f"Prefill {name}, s110m, F16: about {about} × llama.cpp", beside(key, "f16", ["s110m"]), about)

    trained = {f["shape"]: f for f in each(jobs, "training").values() if f["shape"] in training.SHAPES}
    told.add("Training step: ≥ 83 % of the floor, all multiplications as FMAs in registers",
             {shape: (median(f["share"]), percent(f["share"])) if "floor_gflop_s" in f else
              (None, percent(f["share"]) + BY_PRODUCTS) for shape, f in trained.items()}, 0.83)
    for shape, limit in (("s15m", 1.3), ("s110m", 1.1), ("smol135m", 1.15)):
        values = {}
        if shape in trained:
            best = training.best_peer(trained[shape])
            ratios = training.ratios(trained[shape], best, "tokens_s")
            values[shape] = (median(ratios), f"{times(ratios)}, {best}")
        told.add(f"Training step, {shape}: about {limit} × the best PyTorch program", values, limit)
    values = {}
    for shape, f in trained.items():
        ratios = {name: training.ratios(f, name, "peak_memory_bytes") for name in f["sides"] if name != training.OURS}
        least = max(ratios, key=lambda name: median(ratios[name]))  # of memory, so the hardest to compare with
        values[shape] = (median(ratios[least]), f"{median(ratios[least]):.2f} × {least}")
    told.add("Training, peak memory: ≤ 0.5 × PyTorch's", values, 0.5, True)

    started = {f["shape"]: f for f in each(jobs, "loading").values() if f["shape"] == "smol135m"}
    for name, words, limit in (("lmoe-tool, f16", "uncompressed", 0.15), ("lmoe-tool, planes", "compressed", 0.25)):
        values = {shape: (median(f["warm"][name]), milliseconds(f["warm"][name]) +
                          (f" with memory at hand, {milliseconds(f['as found'][name])} as found" if "as found" in f else ""))
                  for shape, f in started.items() if name in f["warm"]}
        told.add(f"First token of the smol135m bundle, warm, {words}: ≤ {limit} s", values, limit, True)

    grown = figures_of(jobs, "scaling").get("experts")
    values = {}
    if grown and (ratio := scaling.growth(grown)):
        values = {grown["shape"]: (median(ratio["ratios"]), f"{times(ratio['ratios'], 3)}, {ratio['to']} experts over "
                                   f"{ratio['from']}")}
        if (ratio["from"], ratio["to"]) != (8, 256):
            values = {}
    told.add("Top-2 routing at layer scope: 256 experts decode within 1.08 × of 8", values, 1.08, True)
    return ["## To reach", "", *table(["what", "reached", "met"], told.rows)]


# MARK: Sections

def running(jobs):
    found = each(jobs, "inference")
    if not found:
        return []
    lines = ["## Running, beside llama.cpp", "",
             "Tokens a second, keys and values in f16 on both sides. Ratios and costs are medians of rounds that were "
             "neighbours in time; the bare base and the mixture take turns in one process, with tokens every 16, and their "
             "costs are those of neighbours there.", ""]
    for f in found.values():
        rates, ratios = f["tokens_s"], inference.ratios(f, OURS)
        lines += [f"### {f['shape']}, {TYPES[f['type']]}", "",
                  f"Prompt of {f['prompt']}, then {f['tokens']} tokens after {f['depth']}; {f['threads']} threads; "
                  f"{f['rounds']} rounds of {f['inner_rounds']}. llama.cpp: flash attention "
                  f"{'on' if f['flash_attention'] else 'off'}, adapters {adapters_of(f)}.", ""]
        rows = []
        for key, words in (("base prompt", "prompt, bare base"), ("base tokens", "decode, bare base"),
                           ("adapters prompt", "prompt, four experts"), ("adapters tokens", "decode, four experts")):
            rows.append((words, spread(rates[OURS][key]), spread(rates[PEER][key]), times(ratios[key]),
                         spread(rates[inference.OURS_F32][key])))
        lines += table(["", "lmoe-tool", "llama.cpp", "ratio", "lmoe-tool, f32 cache"], rows)
        mine, theirs = inference.costs(f, OURS), inference.costs(f, PEER)
        read = inference.bytes_ratio(f)
        lines += [f"Cost over the bare base: prompt {times(mine['prompt'])}, llama.cpp {times(theirs['prompt'])}; decode "
                  f"{times(mine['tokens'])}, llama.cpp {times(theirs['tokens'])}. Ratio of bytes read: {read:.3f} "
                  f"({megabytes(f['weight_bytes']['mixture'])} over {megabytes(f['weight_bytes']['base'])}), so decode "
                  f"costs {median(mine['tokens']) / read:.3f} × that.", "", floors_of(f), ""]
        if f["llama_bench"]:
            lines += ["llama-bench itself, bare base: " + ", ".join(
                f"{key} {number(value)}" for key, value in f["llama_bench"].items()) + ".", ""]
    return lines


def adapters_of(f):
    return ("f16" if f["peer_adapters"] == "f16" else
            "in Q8_0, the factors B in f16, for their rows of 16 are not whole blocks")


# What the tool calls the shares of a prompt's time, and the paces they are measured by.
SHARES = {"prefill_floor": "prefill", "decode": "decode", "prefill_products": "prefill, of large products",
          "prefill_float": "prefill, of large products of floats", "prefill": "prefill, of large products"}
PACES = {"memory_gb_s": "memory {} GB/s", "mixture_memory_gb_s": "with the mixture's bytes {}",
         "fma_gflop_s": "multiply-adds in registers {} GFLOP/s", "matrix_gflop_s": "large products {} GFLOP/s",
         "matrix_float_gflop_s": "of floats {}"}


def floors_of(f):
    reports = f["floors"][OURS]
    shares = [f"{side} {words} {percent([report[key] for report in reports])}" for side in ("base", "mixture")
              for name, words in SHARES.items() if (key := f"{side} {name}_share") in reports[0]]
    paces = [words.format(spread([report[key] for report in reports])) for key, words in PACES.items()
             if key in reports[0]]
    return ("Share of the floor, or where it says so of the pace of large products: "
            f"{'; '.join(shares)}. The machine's pace beside it: {', '.join(paces)}.")


def trained(jobs):
    found = each(jobs, "training")
    if not found:
        return []
    lines = ["## Training, beside PyTorch", "",
             "A step of four rank-16 experts and a dense gate for each layer, 4 × 256 tokens, float32. " +
             ("PyTorch runs with tcmalloc." if all(f["allocator"] for f in found.values()) else
              "tcmalloc was not there, without which PyTorch is slower."), ""]
    for f in found.values():
        rows = []
        for name, results in f["sides"].items():
            row = [name, spread(results["tokens_s"]), megabytes(median(results["peak_memory_bytes"]))]
            row += ["", ""] if name == training.OURS else [
                times(training.ratios(f, name, "tokens_s")), times(training.ratios(f, name, "peak_memory_bytes"))]
            rows.append(row)
        lines += [f"### {f['shape']}", "", f"{f['rounds']} rounds of {f['steps']} steps, {f['threads']} threads.", "",
                  *table(["", "tokens/s", "peak memory", "ours is", "of its memory"], rows),
                  f"Of {'the floor' if 'floor_gflop_s' in f else 'what its products would take alone'}, "
                  f"{number(median(f['floor_tokens_s']))} tokens/s"
                  + (f" at {spread(f['floor_gflop_s'])} GFLOP/s" if "floor_gflop_s" in f else "")
                  + f", {percent(f['share'])} are reached. Large products by themselves: "
                  + ", ".join(f"{name} {spread(results['matrix_gflop_s'])}" for name, results in f["sides"].items())
                  + " GFLOP/s.", ""]
    return lines


def started(jobs):
    found = each(jobs, "loading")
    if not found:
        return []
    lines = ["## From the start to the first token", "",
             "Whole processes with four adapters, prompt of 16 tokens. `generate` reads the tokenizer, too; llama.cpp is "
             "given tokens. Cold: the model's files are out of the page cache.", ""]
    if any("as found" in f for f in found.values()):
        lines[2] += (" Warm: they are there, and so is the memory that the program will take, which another process has "
                     "just freed; as found: without that, so that the host of a virtual machine gives some of it first.")
    for f in found.values():
        rows = []
        for name, warm in f["warm"].items():
            stayed = max(f["stayed"].get(name, [0]))
            cold = milliseconds(f["cold"][name]) if name in f["cold"] else ""
            found_so = [milliseconds(f["as found"][name])] if "as found" in f else []
            rows.append((name, megabytes(f["bytes"][name]), milliseconds(warm), *found_so,
                         cold + (f", but {100 * stayed:.0f} % stayed in the cache" if stayed > 0.01 else ""),
                         megabytes(median(f["peak"][name]))))
        titles = ["", "files", "warm", *(["as found"] if "as found" in f else []), "cold", "peak memory"]
        lines += [f"### {f['shape']}", "", *table(titles, rows)]
    return lines


def merged(jobs):
    found = each(jobs, "merging")
    if not found:
        return []
    first, rows = next(iter(found.values())), []
    for f in found.values():
        cells = [f"{spread([seconds for seconds, _ in f['runs'][who]])} s, "
                 f"{megabytes(median(peak for _, peak in f['runs'][who]))}" for who in ("ours", "peft")]
        rows.append((f["method"], *cells, times(merging.faster(f), 1)))
    return ["## Merging, beside PEFT", "",
            f"{first['adapters']} adapters of rank {first['rank']} of the {first['shape']} shape, whole processes. PEFT's "
            "`linear` and `ties` work on the factors apart, ours on the deltas.", "",
            *table(["", "lmoe-tool", "PEFT", "faster"], rows)]


def stored(jobs):
    lines, packed = [], figures_of(jobs, "codec").get("")
    if packed:
        rows = []
        for f in packed:
            encode, decode = max(f["encode_gb_s"]), max(f["decode_gb_s"])
            rows.append((f["type"], f"{100 * f['size']:.3f} %, {100 * f['zipnn_size']:.3f} %, {100 * f['bound']:.3f} %",
                         f"{encode:.2f}, {max(f['zipnn_encode_gb_s']):.2f}: {encode / max(f['zipnn_encode_gb_s']):.1f} ×",
                         f"{decode:.2f}, {max(f['zipnn_decode_gb_s']):.2f}: {decode / max(f['zipnn_decode_gb_s']):.1f} ×"))
        lines += ["## Packing, beside ZipNN", "", f"Random normal weights, {packed[0]['bytes'] / 1e6:.0f} MB in bfloat16, one "
                  "core each; the best of the rounds.", "",
                  *table(["", "size: ours, ZipNN, bound", "encode, GB/s", "decode, GB/s"], rows)]
    f = figures_of(jobs, "container").get("")
    if f:
        adds, made = f["add"]["runs"], f["import"]
        rows = [(f"import of {megabytes(f['bytes'])}", f"{f['bytes'] / made['seconds'] / 1e9:.2f} GB/s, "
                 f"{megabytes(made['peak'])} of memory", f"to {megabytes(made['bundle_bytes'])}"),
                ("add of a rank-16 expert: bytes", f"{adds[-1]['written'] - f['add']['stored']:,} beyond its tensors",
                 f"{megabytes(f['add']['stored'])} of tensors"),
                ("add: time", milliseconds([a["seconds"] for a in adds]),
                 f"{milliseconds([a['floor_seconds'] for a in adds])} to write and flush as much"),
                *((name, milliseconds(start["seconds"]), megabytes(start["bytes"]) if start["bytes"] else "")
                  for name, start in f["starts"].items()),
                ("verify, warm, raw", f"{f['verify']['verify_gb_s']:.1f} GB/s",
                 f"{100 * f['verify']['share_of_read']:.0f} % of read(2), {100 * f['verify']['share']:.0f} % of memory"),
                ("reading all tensors, decoded and checked", f"{f['load_all']['load_gb_s']:.2f} GB/s",
                 f"safetensors.safe_open, unchecked: {spread(f['safe_open_gb_s'])} GB/s")]
        lines += ["## A large bundle", "", f"Llama-3 8B's widths, {f['layers']} layers, {f['experts']} experts.", "",
                  *table(["", "measured", "beside it"], rows)]
    return lines


def grown(jobs):
    found = figures_of(jobs, "scaling")
    if not found:
        return []
    lines = ["## Scaling", ""]
    for name, f in found.items():
        lines += [f"### {scaling.TITLES[name]}", "", f"![{scaling.TITLES[name]}]({name}.svg)", "", scaling.conditions(f), ""]
        lines += [f"* {sentence}" for sentence in scaling.sentences(f)]
        head, rows = scaling.table(f)
        lines += ["", *table(head, rows)]
    return lines


# MARK: The page

def earlier(results):
    """Which kinds of jobs are of other commits."""
    kinds = {}
    for name, job in results["jobs"].items():
        if job.get("commit", results["commit"]) != results["commit"]:
            kinds.setdefault(job["commit"], {})[name.split()[0]] = None
    return "".join(f"; {', '.join(found)} at {commit}" for commit, found in kinds.items())


def circumstances(results):
    machine, peers = results["machine"], results["peers"]
    rows = [("commit", results["commit"] + earlier(results)), ("date", results["date"]), ("command", f"`{results['command']}`"),
            ("processor", f"{machine.get('processor', 'unknown')}, {machine['cores']} cores"
             + (", a virtual machine" if machine.get("virtual") else "")),
            ("its instructions", ", ".join(machine.get("instructions", []))),
            ("memory, L2, L3", ", ".join(str(part) for part in (megabytes(machine.get("memory_bytes", 0)),
                                                               machine.get("l2", "?"), machine.get("l3", "?")))),
            ("peers", ", ".join(f"{name} {version}" for name, version in peers.items()))]
    kernels = {f["kernels"] for f in each(results["jobs"], "inference").values() if f.get("kernels")}
    if kernels:
        rows.append(("kernels of lmoe-tool", ", ".join(sorted(map(str, kernels)))))
    jobs = results["jobs"].values()
    if jobs:
        others, stolen = ([job.get(key, 0) for job in jobs] for key in ("others", "stolen"))
        rows.append(("while it ran", f"other programs took {100 * median(others):.0f} % of the processors' time, at most "
                     f"{100 * max(others):.0f} % in a job; other machines {100 * median(stolen):.1f} %, at most "
                     f"{100 * max(stolen):.1f} %"))
    lines = table(["", ""], rows)
    noisy = [name for name, job in results["jobs"].items() if job.get("others", 0) + job.get("stolen", 0) > 0.1]
    if noisy:
        lines += [f"**The machine was not quiet**, and figures of all its cores suffer most: during {', '.join(noisy)} "
                  "others took more than a tenth of it.", ""]
    return lines


def text(results):
    jobs = results["jobs"]
    failed = {name: job["failed"] for name, job in jobs.items() if "failed" in job}
    lines = ["# Results", "",
             "What `bench/compare` measured, on models of random weights. Figures are medians of rounds, in brackets the "
             "least and the greatest. Raw figures: [results.json](results.json).", "", *circumstances(results)]
    if failed:
        lines += ["## What failed", "", *(f"* {name}: {why.rstrip('.')}." for name, why in failed.items()), ""]
    for section in (goals, running, trained, started, merged, stored, grown):
        try:
            lines += section(jobs)
        except (KeyError, ValueError, TypeError, ZeroDivisionError) as error:  # figures of another version
            lines += [f"The figures for \"{section.__name__}\" cannot be read: {type(error).__name__} {error}.", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    given = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    pathlib.Path(sys.argv[2]).write_text(text(given), encoding="utf-8")
