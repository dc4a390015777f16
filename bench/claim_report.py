"""The report of bench/claim.py: Markdown below the mark in claim.md, and all numbers as JSON beside it."""

import json
import statistics

# Quantiles of Student's t at 97.5 %, by degrees of freedom.
QUANTILE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
MARK = "<!-- results -->"
METHODS = ["base", "uniform", "merge, best scale", "constant", "constant with base", "best merge", "gate",
           "gate with base", "module", "both", "wide", "wide, all tokens", "oracle"]
CONTROL = ["uniform", "flawed, uniform", "merge, best scale", "flawed, best scale", "control, right",
           "control, flawed", "control with base, right", "control with base, flawed"]
PAIRS = [("gate", "best merge"), ("gate", "constant"), ("gate", "uniform"), ("gate with base", "best merge"),
         ("gate with base", "constant with base"), ("gate with base", "gate"), ("module", "gate"),
         ("both", "gate"), ("gate", "wide"), ("both", "wide"), ("gate", "wide, all tokens"),
         ("both", "wide, all tokens"), ("gate", "oracle"), ("both", "oracle")]
CONTROL_PAIRS = [("uniform", "flawed, uniform"), ("merge, best scale", "flawed, best scale"),
                 ("control, right", "control, flawed"), ("control with base, right", "control with base, flawed")]


def mean(values):
    return statistics.fmean(values)


def interval(values):
    """Half of the 95 % t interval of a mean; None where all values are the same."""
    if len(values) < 2 or max(values) == min(values):
        return None
    return QUANTILE[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5


def shown(values, sign=""):
    half = interval(values)
    return f"{mean(values):{sign}.3f}" + (f" ± {half:.3f}" if half is not None else "")


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def over_seeds(study, name, domain=None):
    """The numbers of a method, one a seed: of a domain, or the mean over domains."""
    losses = [seed["nats"][name] for seed in study["seeds"].values() if name in seed["nats"]]
    return [nats[domain] if domain else mean(nats.values()) for nats in losses]


def losses(study, names):
    rows = []
    for name in names:
        if over_seeds(study, name):
            runs = [seed["runs"][name] for seed in study["seeds"].values() if name in seed["runs"]]
            rows.append([name, shown(over_seeds(study, name)),
                         *(shown(over_seeds(study, name, domain)) for domain in study["domains"]),
                         f"{runs[0]['parameters']:,}" if runs and "parameters" in runs[0] else "",
                         f"{round(mean([run['tokens'] for run in runs])):,}" if runs else ""])
    return table(["nats/token", "mean", *study["domains"], "trained parameters", "tokens"], rows)


def verdict(gaps):
    half = interval(gaps)
    if half is None:
        return "one number"
    return "below" if mean(gaps) + half < 0 else "above" if mean(gaps) - half > 0 else "undecided"


def differences(study, pairs):
    rows = []
    for left, right in pairs:
        first, second = over_seeds(study, left), over_seeds(study, right)
        if first and second:
            gaps = [a - b for a, b in zip(first, second)]
            within = [[a - b for a, b in zip(over_seeds(study, left, domain), over_seeds(study, right, domain))]
                      for domain in study["domains"]]
            rows.append([f"{left} − {right}", shown(gaps, "+"), verdict(gaps), *(shown(gap, "+") for gap in within)])
    return table(["difference, paired", "of the means", "the first is", *study["domains"]], rows)


def summary(weights, columns):
    """Of the mean weights at each place: their mean, and at how many places the domain's own expert is ahead."""
    result = {}
    for domain, places in weights.items():
        result[domain] = {"mean": [round(mean(column), 4) for column in zip(*places)]}
        if domain in columns:
            own = columns.index(domain)
            result[domain]["places ahead"] = mean([place[own] == max(place) for place in places])
    return result


def routing(study):
    rows = []
    for method in ("gate", "gate with base", "module", "both"):
        for domain in study["domains"]:
            runs = [seed["runs"][method] for seed in study["seeds"].values()]
            columns = [column or "the base" for column in runs[0]["columns"]]
            told = [run["routing"][domain] for run in runs]
            average = [mean(column) for column in zip(*(one["mean"] for one in told))]
            row = [method, domain, ", ".join(f"{name} {weight:.2f}" for name, weight in zip(columns, average))]
            if domain in columns:
                own = columns.index(domain)
                ahead = sum(one["mean"][own] == max(one["mean"]) for one in told)
                row += [shown([one["mean"][own] for one in told]), f"{ahead} of {len(told)}",
                        f"{mean([one['places ahead'] for one in told]):.0%}"]
            rows.append(row + [""] * (6 - len(row)))
    return table(["gate", "domain", "mean weights", "its own expert", "largest, seeds", "largest, places"], rows)


def rates(study):
    rows = [[method, "; ".join(f"{rate}: {loss:.4f}" for rate, loss in losses.items()),
             study["rates"].get(method, study["rates"]["control"])] for method, losses in study["looked"].items()]
    return table(["what", "rate: nats on validation, seed 99", "taken"], rows)


def seeds(study):
    names = [name for name in dict.fromkeys([*METHODS, *CONTROL]) if over_seeds(study, name)]
    return table(["mean over domains", *(f"seed {seed}" for seed in study["seeds"])],
                 [[name, *(f"{loss:.4f}" for loss in over_seeds(study, name))] for name in names])


def section(study):
    taken = "; ".join(f"seed {seed}: {run['merge']['taken']}, scale {run['merge']['scale']}"
                      for seed, run in study["seeds"].items())
    agreed = study["agreement"]
    return f"""
### {study['name']}

{losses(study, METHODS)}
{differences(study, PAIRS)}
Best merge: {taken}.

The composition:

{losses(study, CONTROL)}
{differences(study, CONTROL_PAIRS)}
Largest difference to the tool's logits under one trained gate, as a share of the largest logit: right
{agreed['right']:.1e}, flawed {agreed['flawed']:.1e}.

Routing on the held-out part, mean weights:

{routing(study)}
Rates:

{rates(study)}
Each seed:

{seeds(study)}"""


def write(path, report):
    text = path.read_text(encoding="utf-8")
    plan = text.split(MARK)[0]
    words = [f"{plan}{MARK}\n\n## Results\n\nlmoe-tool {report['tool']}. "
             f"All numbers, of each seed and domain, are in `{path.stem}.json`.\n"]
    words += [section(study) for study in report["studies"]]
    path.write_text("".join(words).rstrip() + "\n", encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print("".join(words))
