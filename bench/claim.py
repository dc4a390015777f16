#!/usr/bin/env python3
"""Whether a trained gate over LoRA experts is worth it: held-out loss beside its alternatives, over seeds, in one run.

    python bench/claim.py TOOL fixtures/embedded [--stories DIR --texts DIR] [--work DIR] [--out bench/claim.md]

What is compared and how stands in bench/claim.md above its results; this script replaces what is below. The raw
numbers go to claim.json beside it. Runs that are already in the working directory are not run again. Needs torch,
transformers, tokenizers and safetensors for the control, in the Python that runs it.
"""
import argparse
import concurrent.futures
import functools
import json
import pathlib
import subprocess
import sys
import tempfile

import claim_report
import claim_texts

HERE = pathlib.Path(__file__).resolve().parent
SEEDS, LOOK = [0, 1, 2, 3, 4], 99
STEPS, CONTROL_STEPS, LOOK_STEPS, EXPERT_STEPS, BATCH = 200, 100, 100, 300, 1024
SCALES = [0.125, 0.25, 0.375, 0.5, 0.75, 1.0]
FLAWED_SCALES = [0.5, 1, 1.5, 2, 3, 4, 6]
RATES = {"gate": [0.003, 0.01, 0.03, 0.1], "module": [0.003, 0.01, 0.03, 0.1], "constant": [0.03, 0.1],
         "both": [0.0003, 0.001, 0.003], "wide": [0.001, 0.003, 0.01], "expert": [0.003, 0.01],
         "control": [0.003, 0.01, 0.03, 0.1]}


class Study:
    """A base, its domains and its experts, which are given or trained anew for each seed."""

    def __init__(self, options, name, base, domains, experts, between):
        self.tool, self.jobs, self.name, self.base = options.tool, options.jobs, name, base
        self.domains, self.between, self.given = domains, between, experts
        self.work = pathlib.Path(options.work) / name
        self.texts = self.work / "texts"
        self.texts.mkdir(parents=True, exist_ok=True)
        self.experts = sorted(domain for domain in domains if domain != "general")
        self.rates = {}

    # The tool

    def call(self, *arguments):
        done = subprocess.run([self.tool, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"lmoe-tool {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    @property
    def marks(self):
        return ["--between", self.between] if self.between else []

    def data(self, option, part, domains=None):
        return [word for domain in domains or self.domains
                for word in (option, f"{domain}={self.texts / f'{domain}.{part}.jsonl'}")]

    def once(self, key, make):
        """What `make` gives, from the working directory if it was made before."""
        path = self.work / f"{key}.json"
        if not path.exists():
            result = make()
            path.write_text(json.dumps(result), encoding="utf-8")
        return json.loads(path.read_text(encoding="utf-8"))

    def evaluate(self, key, bundle, part, *selection):
        def make():
            told = json.loads(self.call("eval", bundle, *self.data("--data", part), *self.marks, "--threads", 1,
                                        "--json", *selection))
            return {name: domain["nats_per_token"] for name, domain in told["results"][0]["domains"].items()}
        return self.once(f"{key}-{part}", make)

    def train(self, key, bundle, part, seed, steps, *arguments, domains=None):
        """Trains into a new bundle; its path, what it costs and how its gate weighs."""
        output = self.work / f"{key}.lmoe"
        metrics = pathlib.Path(f"{output}.metrics.jsonl")

        def make():
            for path in self.work.glob(f"{key}.lmoe*"):
                path.unlink()
            # A copy for each run: the state of a run is kept beside the bundle that it begins with.
            source = self.work / f"{key}.lmoe.source"
            source.write_bytes(pathlib.Path(bundle).read_bytes())
            weights = [word for domain in domains or self.domains
                       for word in ("--weight", f"{domain}={self.weights[domain]:.6g}")]
            # The file `--eval-data` is only looked at before the first step and after the last one.
            self.call("train", source, *self.data("--data", "train", domains), *weights,
                      *self.data("--eval-data", part), "--eval-every", 10 ** 9, "--eval-limit", 10 ** 6,
                      *(self.marks or ["--no-end"]), "--steps", steps, "--batch-tokens", BATCH, "--seed", seed,
                      "--threads", 1, *arguments, "-o", output)
            source.unlink()
            lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
            end = [line for line in lines if line["kind"] == "evaluation"][-1]
            run = [line for line in lines if line["kind"] == "run"][0]
            parameters = sum(expert["parameters"] for expert in run["experts"] if expert["isTrained"])
            if "--train" in arguments and arguments[arguments.index("--train") + 1] != "experts":
                parameters += run["gate"]["parameters"]
            return {"nats": {domain["domain"]: domain["nats"] for domain in end["domains"]},
                    "weights": {domain["domain"]: domain["weights"] for domain in end["domains"]},
                    "columns": run["columns"], "parameters": parameters,
                    "tokens": [line for line in lines if line["kind"] == "step"][-1]["tokens"]}
        return {**self.once(f"{key}-{part}", make), "bundle": str(output)}

    def side_by_side(self, *calls):
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            return [done.result() for done in [pool.submit(call) for call in calls]]

    # What there is before any seed

    def prepare(self):
        self.bare = self.work / "bare.lmoe"
        if not self.bare.exists():
            given = [word for name in self.experts if self.given for word in ("--expert", f"{name}={self.given / name}")]
            self.call("import", "--base", self.base, *given, "-o", self.bare)

        def sizes():
            told = json.loads(self.call("eval", self.bare, *self.data("--data", "train"), *self.marks, "--base",
                                        "--threads", 1, "--json"))
            counts = {name: domain["tokens"] for name, domain in told["results"][0]["domains"].items()}
            texts = {name: len(claim_texts.read(self.texts / f"{name}.train.jsonl")) for name in counts}
            return {name: [texts[name], counts[name]] for name in counts}
        self.sizes = self.once("sizes", sizes)
        # Documents of a domain come as often as makes its share of the tokens that of every other.
        self.weights = {name: texts / tokens for name, (texts, tokens) in self.sizes.items()}

    def bundle(self, seed, part):
        """The bundle with the experts of a seed."""
        if self.given:
            return self.bare
        output = self.work / f"experts-{seed}.lmoe"

        def one(name, rate, key):
            return self.train(key, self.bare, part, seed, EXPERT_STEPS, "--train", "experts", "--new-expert", name,
                              "--alone", "--rank", 8, "--rate", rate, domains=[name])
        if "expert" not in self.rates:
            grid = [functools.partial(one, name, rate, f"look-expert-{name}-{rate}")
                    for rate in RATES["expert"] for name in self.experts]
            losses = [run["nats"][name] for run, name in
                      zip(self.side_by_side(*grid), self.experts * len(RATES["expert"]))]
            count = len(self.experts)
            self.choose("expert", {rate: sum(losses[i * count:][:count])
                                   for i, rate in enumerate(RATES["expert"])})
        if not output.exists():
            made = self.side_by_side(*(functools.partial(one, name, self.rates["expert"], f"expert-{seed}-{name}")
                                       for name in self.experts))
            partial = output.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            partial.write_bytes(self.bare.read_bytes())
            for name, run in zip(self.experts, made):
                self.call("add", partial, f"{name}={run['bundle']}#{name}")
            partial.rename(output)
        return output

    def adapters(self, seed, bundle):
        """The experts as PEFT directories, and one more whose factors are the means of theirs."""
        import safetensors.torch
        where = self.work / f"adapters-{seed}"
        for name in self.experts:
            if not (where / name).exists():
                where.mkdir(exist_ok=True)
                self.call("export", bundle, "--to", "peft", "--rewrite", "--expert", name, "-o", where / name)
        flawed = where / "flawed"
        if not flawed.exists():
            parts = [safetensors.torch.load_file(where / name / "adapter_model.safetensors") for name in self.experts]
            mean = {key: (sum(part[key].float() for part in parts) / len(parts)).contiguous() for key in parts[0]}
            flawed.mkdir()
            safetensors.torch.save_file(mean, flawed / "adapter_model.safetensors", metadata={"format": "pt"})
            config = (where / self.experts[0] / "adapter_config.json").read_text(encoding="utf-8")
            (flawed / "adapter_config.json").write_text(config, encoding="utf-8")
        return [str(where / name) for name in self.experts], flawed

    # What is trained

    def options(self, method, rate):
        gate = ["--train", "gate", "--gate-rate", rate, "--new-gate"]
        return {"gate": [*gate, "linear", "--scope", "layer"],
                "gate with base": [*gate, "linear", "--scope", "layer", "--null"],
                "module": [*gate, "linear", "--scope", "module"],
                "constant": [*gate, "constant", "--scope", "global"],
                "constant with base": [*gate, "constant", "--scope", "global", "--null"],
                "both": ["--train", "both", "--new-gate", "linear", "--scope", "layer", "--rate", rate,
                         "--gate-rate", self.rates.get("gate")],
                "wide": ["--train", "experts", "--new-expert", "wide", "--alone", "--rank", 8 * len(self.experts),
                         "--rate", rate]}[method]

    def choose(self, method, losses):
        self.rates[method] = min(losses, key=losses.get)
        print(f"{self.name}: {method}: "
              + ", ".join(f"{rate} {loss:.4f}" for rate, loss in losses.items()), flush=True)
        self.looked = {**getattr(self, "looked", {}), method: losses}

    def look(self):
        """The rates, by what the validation part costs after a short run with a seed of its own."""
        bundle = self.bundle(LOOK, "validation")
        adapters, _ = self.adapters(LOOK, bundle)
        for stage in (["gate", "module", "constant", "wide"], ["both"]):
            grid = [(method, rate) for method in stage for rate in RATES[method]]
            runs = self.side_by_side(*(
                functools.partial(self.train, f"look-{method}-{rate}", bundle, "validation", LOOK, LOOK_STEPS,
                                  *self.options(method, rate)) for method, rate in grid))
            for method in stage:
                self.choose(method, {rate: claim_report.mean(run["nats"].values())
                                     for (name, rate), run in zip(grid, runs) if name == method})
        # The pair has one rate: that which suits the flawed composition best.
        runs = self.side_by_side(*(
            functools.partial(self.control, f"look-flawed-{rate}", adapters, "validation", LOOK, LOOK_STEPS, rate,
                              True) for rate in RATES["control"]))
        self.choose("control", {rate: claim_report.mean(run["nats"].values())
                                for rate, run in zip(RATES["control"], runs)})

    # The control

    def program(self, key, job):
        path = self.work / f"{key}.job"
        path.write_text(json.dumps(job), encoding="utf-8")
        done = subprocess.run([sys.executable, HERE / "claim_control.py", path], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)
        return json.loads(done.stdout)

    def control(self, key, adapters, part, seed, steps, rate, flawed, with_base=False):
        warmup = steps * 3 // 100
        job = {"do": "train", "base": str(self.base), "experts": adapters, "flawed": flawed,
               "with_base": with_base, "seed": seed, "rate": rate, "steps": steps, "warmup": warmup, "batch_tokens": BATCH, "domains": self.domains,
               "texts": str(self.texts), "weights": self.weights, "between": self.between, "context": 512, "part": part}
        return self.once(f"{key}-{part}", lambda: self.program(key, job))

    def agreement(self, adapters, bundle):
        """How far this program's two compositions are from the tool's logits, under one trained gate."""
        def make():
            text = claim_texts.read(self.texts / f"{self.experts[0]}.heldout.jsonl")[0]
            ids = [int(i) for i in self.call("tokenize", bundle, text, "--ids").replace(",", " ").split()][:64]
            logits = self.work / "agreement.safetensors"
            logits.unlink(missing_ok=True)
            self.call("logits", bundle, "--ids", ",".join(map(str, ids)), "--gate-weights", "--threads", 1, "-o", logits)
            return self.program("agreement", {"do": "compare", "base": str(self.base), "experts": adapters, "ids": ids,
                                              "logits": str(logits), "columns": list(range(len(self.experts)))})
        return self.once("agreement", make)

    # One seed

    def seed(self, seed):
        bundle = self.bundle(seed, "heldout")
        adapters, flawed = self.adapters(seed, bundle)
        fixed = {"base": ["--base"], "uniform": ["--uniform"], **{f"expert {n}": ["--expert", n] for n in self.experts}}
        tag = "given" if self.given else seed
        result = {"nats": {}, "runs": {}}
        for name, selection in fixed.items():
            result["nats"][name] = self.evaluate(f"{name.replace(' ', '-')}-{tag}", bundle, "heldout", *selection)

        def scaled(scale, part):
            return self.evaluate(f"scale-{scale}-{tag}", bundle, part, "--weights",
                                 ",".join(f"{name}={scale}" for name in self.experts))
        result["scales"] = {scale: claim_report.mean(scaled(scale, "validation").values()) for scale in SCALES}
        best = min(SCALES, key=result["scales"].get)
        result["nats"]["merge, best scale"] = scaled(best, "heldout")

        methods = {"gate": "gate", "gate with base": "gate", "module": "module", "constant": "constant",
                   "constant with base": "constant", "both": "both", "wide": "wide"}
        jobs = {name: functools.partial(self.train, f"{name.replace(' ', '-')}-{seed}", bundle, "heldout", seed,
                                        STEPS, *self.options(name, self.rates[rate]))
                for name, rate in methods.items()}
        if not self.given:
            jobs["wide, all tokens"] = functools.partial(
                self.train, f"long-{seed}", bundle, "heldout", seed, STEPS + len(self.experts) * EXPERT_STEPS,
                *self.options("wide", self.rates["wide"]))
        for with_base in (False, True):
            for flawed_too in (False, True):
                name = f"control{' with base' * with_base}, {'flawed' if flawed_too else 'right'}"
                key = f"control-{seed}-{flawed_too}{'-base' * with_base}"
                jobs[name] = functools.partial(self.control, key, adapters, "heldout", seed, CONTROL_STEPS,
                                               self.rates["control"], flawed_too, with_base)
        for name, run in zip(jobs, self.side_by_side(*jobs.values())):
            result["nats"][name] = run.pop("nats")
            result["runs"][name] = run
        constant = result["runs"]["constant"]["bundle"]
        judged = claim_report.mean(self.evaluate(f"constant-{seed}", constant, "validation", "--gate", "default").values())
        best_merge = "constant" if judged < result["scales"][best] else "merge, best scale"
        result["merge"] = {"scale": best, "taken": best_merge, "constant on validation": judged}
        result["nats"]["best merge"] = result["nats"][best_merge]
        outright = self.work / f"flawed-{tag}.lmoe"
        if not outright.exists():
            outright.write_bytes(bundle.read_bytes())
            self.call("add", outright, f"flawed={flawed}")
        result["nats"]["flawed, uniform"] = self.evaluate(f"flawed-{tag}", outright, "heldout", "--expert", "flawed")

        def flawed_scaled(scale, part):
            return self.evaluate(f"flawed-{scale}-{tag}", outright, part, "--weights", f"flawed={scale}")
        result["flawed scales"] = {scale: claim_report.mean(flawed_scaled(scale, "validation").values())
                                   for scale in FLAWED_SCALES}
        scale = min(FLAWED_SCALES, key=result["flawed scales"].get)
        result["nats"]["flawed, best scale"] = flawed_scaled(scale, "heldout")
        result["nats"]["oracle"] = {
            domain: min(result["nats"][name][domain] for name in fixed if name != "uniform")
            for domain in self.domains}
        if seed == SEEDS[0]:
            self.agreed = self.agreement(adapters, result["runs"]["gate"]["bundle"])
        for run in result["runs"].values():
            run.pop("bundle", None)
            if weights := run.pop("weights", None):
                run["routing"] = claim_report.summary(weights, run["columns"])
        print(f"{self.name}: seed {seed}: " + ", ".join(
            f"{name} {claim_report.mean(nats.values()):.4f}" for name, nats in result["nats"].items()), flush=True)
        return result

    def run(self, seeds):
        self.prepare()
        self.look()
        return {"name": self.name, "domains": self.domains, "experts": self.experts, "rates": self.rates,
                "looked": self.looked, "documents_and_tokens": self.sizes,
                "seeds": {seed: self.seed(seed) for seed in seeds}, "agreement": self.agreed}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("embedded", type=pathlib.Path)
    parser.add_argument("--stories", type=pathlib.Path, help="a checkpoint of stories260K")
    parser.add_argument("--texts", type=pathlib.Path, help="a directory with shakespeare, gsm8k, chess and sql")
    parser.add_argument("--work", help="where runs are kept; a temporary directory if not given")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "claim.md")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time, of one thread each")
    parser.add_argument("--only", choices=["embedded", "stories"])
    options = parser.parse_args()
    options.work = options.work or tempfile.mkdtemp()
    version = subprocess.run([options.tool, "--version"], capture_output=True, text=True).stdout.strip()
    report = {"tool": version, "steps": STEPS, "control_steps": CONTROL_STEPS, "expert_steps": EXPERT_STEPS,
              "look_steps": LOOK_STEPS, "batch_tokens": BATCH,
              "studies": []}
    if options.only != "stories":
        domains = ["general", "arithmetic", "sql", "json", "verse"]
        study = Study(options, "embedded", options.embedded / "base", domains, options.embedded, "<|endoftext|>")
        claim_texts.embedded(options.embedded, study.texts, domains)
        report["studies"].append(study.run(SEEDS))
        claim_report.write(options.out, report)
    if options.stories and options.texts and options.only != "embedded":
        study = Study(options, "stories260K", options.stories, ["shakespeare", "gsm8k", "chess", "sql"], None, None)
        claim_texts.stories(options.texts, study.texts)
        report["studies"].append(study.run(SEEDS))
    claim_report.write(options.out, report)


if __name__ == "__main__":
    main()
