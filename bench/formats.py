#!/usr/bin/env python3
"""What each format of weights costs in perplexity, and how long it takes to make.

    python bench/formats.py TOOL fixtures/embedded [--stories DIR] [--speed DIR] [--out bench/formats.md]

The base of fixtures/embedded is measured on its held-out prose, its four experts (all with equal weights) on the
held-out texts of all kinds, stories260K on stories that it tells itself: 64 of them at temperature 1, seeds fixed.
--speed names a checkpoint with large matrices; it is quantized to a new bundle on one thread and on all, from raw
tensors that are in the page cache. What the report says above its mark is kept.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

TYPES = ["q8_0", "i8", "q6_k", "q4_k", "q4_0", "nf4", "i4-32", "i4-64", "i4-128"]
MARK = "<!-- results -->"
DOMAINS = ["general", "arithmetic", "json", "sql", "verse"]


def call(tool, *arguments, allowed=(0,)):
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode not in allowed:
        sys.exit(f"lmoe-tool {' '.join(map(str, arguments))}: {done.stderr}")
    return done


def quantize(tool, work, bundle, texts, options):
    """A row of a table; None where nothing can be quantized so."""
    output = work / "quantized.lmoe"
    output.unlink(missing_ok=True)
    done = call(tool, "quantize", bundle, *options, "-o", output, "--json",
                *[part for text in texts for part in ("--eval", text)], allowed=(0, 3))
    if done.returncode:
        return None
    report = json.loads(done.stdout)
    rows = [row for row in report["classes"] if row["converted"]]
    elements = sum(row["elements"] for row in rows)
    text = report["texts"][-1]
    return {
        "bits": sum(row["bits"] * row["elements"] for row in rows) / elements,
        "error": (sum(row["rms_error"] ** 2 * row["elements"] for row in rows) / elements) ** 0.5,
        "before": text["perplexity_before"], "after": text["perplexity"],
        "kept": [note for note in report["notes"] if "stay as they are" in note],
    }


def table(title, tool, work, bundle, texts, cases):
    lines = [f"### {title}", "", "| format | bits/weight | RMS error | perplexity | change |", "|---|---|---|---|---|"]
    first = None
    for name, options in cases:
        row = quantize(tool, work, bundle, texts, options)
        if row is None:
            lines.append(f"| {name} | – | – | – | rows are not whole blocks |")
            continue
        if first is None:
            first = row["before"]
            lines.append(f"| as it was | 16 | | {first:.4f} | |")
        star = " (in part)" if row["kept"] else ""
        lines.append(f"| {name}{star} | {row['bits']:.2f} | {100 * row['error']:.2f} % | {row['after']:.4f} | "
                     f"{100 * (row['after'] / row['before'] - 1):+.3f} % |")
    return lines + [""]


def stories(tool, bundle, path):
    """Stories that the model tells, a line of JSON each."""
    with open(path, "w") as out:
        for seed in range(64):
            text = call(tool, "generate", bundle, "--bos", "-p", "Once upon a time", "--echo", "-n", 200, "--temperature", 1,
                        "--seed", seed, "--top-p", 1).stdout
            out.write(json.dumps({"text": text.strip()}) + "\n")


def speed(tool, work, directory):
    bundle = work / "speed.lmoe"
    call(tool, "import", "--base", directory, "-o", bundle, "--codec", "raw")
    lines = ["### Making them", "", "Millions of weights a second, the whole command with reading, writing and errors.", "",
             "| format | 1 thread | all threads |", "|---|---|---|"]
    for kind in TYPES:
        cells = []
        for threads in (["--threads", 1], []):
            best = 0
            for _ in range(3):
                output = work / "quantized.lmoe"
                output.unlink(missing_ok=True)
                start = time.monotonic()
                report = json.loads(call(tool, "quantize", bundle, "--base", kind, "-o", output, "--json", *threads).stdout)
                seconds = time.monotonic() - start
                elements = sum(row["elements"] for row in report["classes"] if row["converted"])
                best = max(best, elements / seconds / 1e6)
            cells.append(f"{best:.0f}")
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return lines + [""]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tool")
    parser.add_argument("embedded", type=pathlib.Path)
    parser.add_argument("--stories", type=pathlib.Path)
    parser.add_argument("--speed", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        tool, embedded = options.tool, options.embedded
        test = {domain: f"{domain}={embedded}/text/{domain}.test.jsonl" for domain in DOMAINS}
        base, mixture = work / "base.lmoe", work / "mixture.lmoe"
        call(tool, "import", "--base", embedded / "base", "-o", base)
        call(tool, "import", "--base", embedded / "base", "-o", mixture,
             *[part for domain in DOMAINS[1:] for part in ("--expert", f"{domain}={embedded}/{domain}")])
        calibration = ["--calibrate", f"{embedded}/text/general.train.jsonl"]
        weighed = [(f"{kind}, calibrated", ["--base", kind, *calibration]) for kind in TYPES if kind.startswith("i4")]
        lines += table("embedded: the base", tool, work, base, [test["general"]],
                       [(kind, ["--base", kind]) for kind in TYPES] + weighed)
        lines += table("embedded: four experts with equal weights", tool, work, mixture, test.values(),
                       [(kind, ["--experts", kind]) for kind in ("q8_0", "i8", "q4_0", "nf4", "i4-32")])
        if options.stories:
            bundle, texts = work / "stories.lmoe", work / "stories.jsonl"
            call(tool, "import", "--base", options.stories, "-o", bundle)
            stories(tool, bundle, texts)
            lines += table("stories260K", tool, work, bundle, [f"stories={texts}"],
                           [(kind, ["--base", kind]) for kind in TYPES])
        if options.speed:
            lines += speed(tool, work, options.speed)
    text = "\n".join(lines).rstrip() + "\n"
    if options.out:
        kept = options.out.read_text().split(MARK)[0] if options.out.exists() else "# Formats of weights\n\n"
        options.out.write_text(kept + MARK + "\n\n" + text)
    else:
        print(text)


if __name__ == "__main__":
    main()
