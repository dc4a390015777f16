#!/usr/bin/env python3
"""A gate over imported experts, trained in PyTorch under the right composition or the flawed one.

    python bench/claim_control.py JOB.json

Right: y = W x + s * sum_i g_i B_i (A_i x). Flawed: y = W x + s * (sum_i g_i B_i)((sum_j g_j A_j) x). One linear
softmax gate for each layer, on the output of its input_layernorm, as `train --new-gate linear` makes it; nothing but
the composition differs. Used by bench/claim.py, which writes the job and reads what is printed. Needs torch,
transformers, tokenizers and safetensors.
"""
import json
import math
import pathlib
import random
import sys

import safetensors.torch
import tokenizers
import torch
import transformers

import claim_texts

LINEARS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
           "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")


class LayerGate(torch.nn.Module):
    """Weights of the experts for each token of a layer; what it decided last is kept for the layer's linears."""

    def __init__(self, experts, width, generator):
        super().__init__()
        # The deviation that the tool begins with: scores of about 0.1, almost a uniform gate.
        rows = torch.randn(experts, width, generator=generator) * 0.1 / math.sqrt(width)
        self.rows, self.bias = torch.nn.Parameter(rows), torch.nn.Parameter(torch.zeros(experts))
        self.given = None

    def hook(self, _module, _inputs, output):
        self.weights = self.given if self.given is not None else self.decide(output)

    def decide(self, x):
        return torch.softmax(x @ self.rows.T + self.bias, dim=-1)


class MixedLinear(torch.nn.Module):
    def __init__(self, base, factors, gate, flawed):
        super().__init__()
        self.base, self.gate, self.flawed, self.experts = base, [gate], flawed, len(factors)
        self.scaling = [scaling for _, _, scaling in factors]
        self.register_buffer("a", torch.cat([a for a, _, _ in factors]).float())
        self.register_buffer("b", torch.cat([b for _, b, _ in factors], dim=1).float())

    def forward(self, x):
        weights = self.gate[0].weights
        inner = (x @ self.a.T).unflatten(-1, (self.experts, -1))
        if self.flawed:
            inner = (weights.unsqueeze(-1) * inner).sum(-2, keepdim=True)
        scaled = weights * torch.tensor(self.scaling)
        return self.base(x) + (scaled.unsqueeze(-1) * inner).flatten(-2) @ self.b.T


def load_factors(directory):
    config = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
    tensors = safetensors.torch.load_file(directory / "adapter_model.safetensors")
    scaling = config["lora_alpha"] / config["r"]
    assert not config.get("use_rslora") and not config.get("use_dora")
    return lambda name: (tensors[f"base_model.model.{name}.lora_A.weight"],
                         tensors[f"base_model.model.{name}.lora_B.weight"], scaling)


def mixture(base, experts, seed, flawed, with_base=False):
    """The base with experts and fresh gates; with the bare base as a choice of theirs too, if asked for."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    factors = [load_factors(pathlib.Path(path)) for path in experts]
    gates = torch.nn.ModuleList()
    for index, layer in enumerate(model.model.layers):
        gate = LayerGate(len(experts) + with_base, model.config.hidden_size, generator)
        layer.input_layernorm.register_forward_hook(gate.hook)
        gates.append(gate)
        for linear in LINEARS:
            block, name = linear.split(".")
            parent = getattr(layer, block)
            parts = [find(f"model.layers.{index}.{linear}") for find in factors]
            if with_base:
                a, b, scaling = parts[0]
                parts.append((torch.zeros_like(a), torch.zeros_like(b), scaling))
            setattr(parent, name, MixedLinear(getattr(parent, name), parts, gate, flawed))
    return model, gates


def tokens_of(job, part):
    tokenizer = tokenizers.Tokenizer.from_file(str(pathlib.Path(job["base"]) / "tokenizer.json"))
    between = job["between"]
    result = {}
    for domain in job["domains"]:
        texts = claim_texts.read(pathlib.Path(job["texts"]) / f"{domain}.{part}.jsonl")
        if between is None:
            rows = [tokenizer.encode(text).ids for text in texts]
        else:
            mark = tokenizer.token_to_id(between)
            rows = [[mark, *tokenizer.encode(text, add_special_tokens=False).ids, mark] for text in texts]
        result[domain] = [row[:job["context"]] for row in rows]
    return result


def batches(rows, weights, tokens, seed):
    """Documents of all domains by weight, each domain shuffled anew in every epoch, as many as have so many tokens."""
    draws = {domain: random.Random(f"{seed}/{domain}") for domain in rows}
    queues, counts = {domain: [] for domain in rows}, {domain: 0 for domain in rows}
    current, size = [], 0
    while True:
        domain = min(rows, key=lambda name: (counts[name] + 0.5) / weights[name])
        counts[domain] += 1
        if not queues[domain]:
            queues[domain] = rows[domain][:]
            draws[domain].shuffle(queues[domain])
        row = queues[domain].pop()
        if current and size + len(row) > tokens:
            yield current
            current, size = [], 0
        current.append(row)
        size += len(row)


def cross_entropy(model, rows, reduction):
    width = max(map(len, rows))
    tokens = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    wanted = torch.tensor([row[1:] + [-100] * (width - len(row)) for row in rows])
    logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), wanted.flatten(), ignore_index=-100, reduction=reduction)


@torch.no_grad()
def evaluate(model, rows):
    result = {}
    for domain, documents in rows.items():
        documents = sorted(documents, key=len)
        total = sum(cross_entropy(model, documents[i:i + 8], "sum").item() for i in range(0, len(documents), 8))
        result[domain] = total / sum(len(row) - 1 for row in documents)
    return result


def train(job):
    model, gates = mixture(job["base"], job["experts"], job["seed"], job["flawed"], job.get("with_base", False))
    optimizer = torch.optim.AdamW(gates.parameters(), lr=job["rate"], betas=(0.9, 0.999), weight_decay=0.0)
    steps, warmup = job["steps"], job["warmup"]
    stream = batches(tokens_of(job, "train"), job["weights"], job["batch_tokens"], job["seed"])
    seen = 0
    for step in range(steps):
        x = (step - warmup) / max(1, steps - warmup)
        factor = (step + 1) / warmup if step < warmup else (1 + math.cos(math.pi * x)) / 2
        for group in optimizer.param_groups:
            group["lr"] = job["rate"] * factor
        rows = next(stream)
        seen += sum(map(len, rows))
        optimizer.zero_grad()
        # Rows of like length together, so that little is padding.
        rows.sort(key=len)
        targets = sum(len(row) - 1 for row in rows)
        for part in (rows[i * len(rows) // 3:(i + 1) * len(rows) // 3] for i in range(3)):
            if part:
                (cross_entropy(model, part, "sum") / targets).backward()
        torch.nn.utils.clip_grad_norm_(gates.parameters(), 1.0)
        optimizer.step()
    return {"nats": evaluate(model, tokens_of(job, job["part"])), "tokens": seen}


@torch.no_grad()
def compare(job):
    """The tool's logits, and this program's with the weights that the tool's gate gave, under either composition."""
    stored = safetensors.torch.load_file(job["logits"])
    result = {}
    for flawed in (False, True):
        model, gates = mixture(job["base"], job["experts"], 0, flawed)
        for index, gate in enumerate(gates):
            gate.given = stored[f"gate/model.layers.{index}"][:, job["columns"]].unsqueeze(0)
        logits = model(input_ids=torch.tensor([job["ids"]]), use_cache=False).logits[0]
        difference = (logits - stored["logits"]).abs().max() / stored["logits"].abs().max()
        result["flawed" if flawed else "right"] = difference.item()
    return result


if __name__ == "__main__":
    torch.set_num_threads(1)
    work = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(json.dumps(compare(work) if work["do"] == "compare" else train(work)))
