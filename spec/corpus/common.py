"""Cards and small banks that many cases share."""
from __future__ import annotations

import math

from coding import DTYPES, ROTATE_SPLIT, STRUCT_SPLIT, planes, raw, weights, zstd
from image import Image
from writer import Q4_0, Bank, Entry, document, tensor

CONFIG = b'{\n  "architectures": ["TinyForCausalLM"],\n  "model_type": "tiny",\n  "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1\n}\n'


def dtypes_of(entries: list[Entry]) -> dict:
    names, out = {code: name for name, (code, _) in DTYPES.items()} | {0x40: "BLOCK"}, {}
    for e in entries:
        if e.class_ == 0:
            out[names[e.dtype]] = out.get(names[e.dtype], 0) + math.prod(e.shape)
    return out


def base_card(entries: list[Entry] = (), **more) -> dict:
    counts = dtypes_of(list(entries))
    return {"card": 1, "kind": "base", "architecture": "TinyForCausalLM", "model_type": "tiny", "parameters": sum(counts.values()), "dtypes": counts,
            "source_id": "00112233445566778899aabbccddeeff", "files": [{"name": "model.safetensors", "tensors": sum(e.class_ == 0 for e in entries)}],
            "left_out": [], "provenance": {"imported_from": "tiny", "imported_ns": 1700000000000000000, "tool": "corpus"}, **more}


def expert_card(entries: list[Entry] = (), rank: int = 2, **more) -> dict:
    counts = dtypes_of(list(entries))
    return {"card": 1, "kind": "expert", "type": "lora", "prefix": "base_model.model.",
            "modules": [{"rank": rank, "alpha": 16, "scaling": 8.0, "targets": ["layers.0.q_proj"]}], "parameters": sum(counts.values()), "dtypes": counts,
            "base": {"name": "org/tiny", "source_id": None, "match": "asserted"}, "files": [], "left_out": [],
            "provenance": {"imported_from": "adapter", "imported_ns": 1700000000000000001, "tool": "corpus"}, **more}


def gate_card(**more) -> dict:
    return {"card": 1, "kind": "gate", "score": "constant", "input": "none", "scope": "global", "pooling": "token", "normaliser": "none", "k": None,
            "temperature": 1, "mask": "none", "weights": "uniform", "members": "all", **more}


def base(*entries: Entry, **more) -> Bank:
    card = more.pop("card", base_card(entries))
    return Bank("base", list(entries), card, **more)


def expert(name: str, *entries: Entry, **more) -> Bank:
    entries = entries or lora(name)
    card = more.pop("card", expert_card(entries))
    return Bank(f"expert/{name}", list(entries), card, **more)


def gate(name: str, *entries: Entry, **more) -> Bank:
    card = more.pop("card", gate_card())
    return Bank(f"gate/{name}", list(entries), card, **more)


def lora(seed: str, codec=raw) -> tuple:
    stem = "base_model.model.layers.0.q_proj"
    return (tensor(f"{stem}.lora_A.weight", "BF16", (2, 64), weights(seed + "A", "BF16", 128), codec=codec),
            tensor(f"{stem}.lora_B.weight", "BF16", (64, 2), weights(seed + "B", "BF16", 128), codec=codec))


def mixed_entries() -> list[Entry]:
    """Four tensors and two documents with a bit of everything: what the bad files alter.
    Order in the manifest: 0 blocks, 1 plain, 2 planes, 3 zstd, 4 files/README.md, 5 files/config.json."""
    return [
        tensor("blocks", Q4_0, (4, 32), bytes(range(18)) * 4, codec=planes(STRUCT_SPLIT, "auto")),
        tensor("planes", "BF16", (32, 32), codec=planes(ROTATE_SPLIT, ["raw", "zstd"]), chunk=1024),
        tensor("plain", "F32", (8, 16), chunk=192),
        tensor("zstd", "I32", (12, 16), codec=zstd(), chunk=512),
        document("files/README.md", b"# tiny\n\nA model for tests.\n"),
        document("files/config.json", CONFIG * 2, codec=zstd()),
    ]


BLOCKS, PLAIN, PLANED, ZSTDED, README, CONFIGURED = 0, 1, 2, 3, 4, 5      # in byte order of their names: blocks, plain, planes, zstd


def single(name: str, *banks: Bank, note: str | bytes = "create", **commit):
    """A file of one generation, accepted."""
    image = Image(name)
    image.commit([image.store(b) for b in banks], note, **commit)
    return name, image.data, image.expect()
