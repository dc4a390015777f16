"""A small writer of .lmoe files that knows what it means, and whose every structure can be altered before it is hashed.

`Image` holds a file that is being made. `Image.store(Bank)` appends a bank's chunks, manifest and card; `Image.commit([...])` appends a root
and publishes it. Hooks (`on_…`) alter a structure before its hash or checksum is taken, so that a file has exactly the defect that is wanted.
`Image.expect()` gives the expected JSON of corpus/README.md from what was meant, without reading anything back.
"""
from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import Callable

from coding import BLOCK, CODEC_NAMES, DTYPES, RAW, STRUCT_SPLIT, Piece, hash64, hash128, ident, noise, raw, weights

FIXED_AREA, SLOTS, PAGE = 65536, (0x4000, 0x8000), 4096
COPIES = {"header-a": 0, "header-b": 2048, "slot0-a": 0x4000, "slot0-b": 0x4800, "slot1-a": 0x8000, "slot1-b": 0x8800}
EXTERNAL, RAW_FLAG = 1, 2


def pad(n: int, to: int) -> int:
    return -(-n // to) * to


# ---------------------------------------------------------------- structures: field -> (offset, bytes, "u" integer or "b" bytes)

HEADER = {"magic": (0, 8, "b"), "major": (8, 2, "u"), "minor": (10, 2, "u"), "fixed_area": (12, 4, "u"), "file_uuid": (16, 16, "b"),
          "slot0": (32, 8, "u"), "slot1": (40, 8, "u"), "created_ns": (48, 8, "u"), "reserved": (56, 448, "b"), "checksum": (504, 8, "u")}
SUPERBLOCK = {"magic": (0, 8, "b"), "file_uuid": (8, 16, "b"), "generation": (24, 8, "u"), "compat": (32, 8, "u"), "ro_compat": (40, 8, "u"),
              "incompat": (48, 8, "u"), "committed_end": (56, 8, "u"), "root_offset": (64, 8, "u"), "root_length": (72, 8, "u"),
              "root_hash": (80, 16, "b"), "commit_ns": (96, 8, "u"), "live_bytes": (104, 8, "u"), "writer": (112, 64, "b"),
              "reserved": (176, 328, "b"), "checksum": (504, 8, "u")}
ROOT = {"magic": (0, 8, "b"), "file_uuid": (8, 16, "b"), "generation": (24, 8, "u"), "compat": (32, 8, "u"), "ro_compat": (40, 8, "u"),
        "incompat": (48, 8, "u"), "parent_offset": (56, 8, "u"), "parent_length": (64, 8, "u"), "parent_hash": (72, 16, "b"),
        "parent_generation": (88, 8, "u"), "commit_ns": (96, 8, "u"), "total_length": (104, 8, "u"), "bank_count": (112, 4, "u"),
        "string_bytes": (116, 4, "u"), "note_length": (120, 4, "u"), "reserved": (124, 4, "b")}
BANK = {"bank_id": (0, 16, "b"), "name_offset": (16, 4, "u"), "name_length": (20, 2, "u"), "flags": (22, 2, "u"),
        "manifest_offset": (24, 8, "u"), "manifest_length": (32, 8, "u"), "manifest_hash": (40, 16, "b"), "card_offset": (56, 8, "u"),
        "card_length": (64, 8, "u"), "card_hash": (72, 16, "b"), "content_id": (88, 16, "b"), "tensor_count": (104, 4, "u"),
        "document_count": (108, 4, "u"), "logical_bytes": (112, 8, "u"), "stored_bytes": (120, 8, "u")}
MANIFEST = {"magic": (0, 8, "b"), "total_length": (8, 8, "u"), "entry_count": (16, 4, "u"), "chunk_count": (20, 4, "u"), "dim_count": (24, 4, "u"),
            "geometry_count": (28, 4, "u"), "string_bytes": (32, 4, "u"), "reserved": (36, 28, "b")}
ENTRY = {"name_offset": (0, 4, "u"), "name_length": (4, 2, "u"), "class": (6, 1, "u"), "dtype": (7, 1, "u"), "rank": (8, 1, "u"),
         "geometry": (9, 1, "u"), "reserved1": (10, 2, "b"), "first_dim": (12, 4, "u"), "first_chunk": (16, 4, "u"), "chunk_count": (20, 4, "u"),
         "chunk_raw_bytes": (24, 4, "u"), "reserved2": (28, 4, "b"), "raw_bytes": (32, 8, "u"), "content_hash": (40, 16, "b"), "reserved3": (56, 8, "b")}
CHUNK = {"offset": (0, 8, "u"), "stored_length": (8, 4, "u"), "raw_length": (12, 4, "u"), "stored_hash": (16, 8, "u"), "codec": (24, 1, "u"),
         "filter": (25, 1, "u"), "planes": (26, 1, "u"), "reserved": (27, 5, "b")}
GEOMETRY = {"scheme": (0, 4, "u"), "block_elements": (4, 4, "u"), "block_bytes": (8, 4, "u"), "layout": (12, 1, "u"), "field_count": (13, 1, "u"),
            "reserved1": (14, 2, "b"), "widths": (16, 16, "b"), "reserved2": (32, 8, "b")}


class View:
    """Named fields over a part of a bytearray."""

    def __init__(self, data: bytearray, base: int, layout: dict):
        self.data, self.base, self.layout = data, base, layout

    def __getitem__(self, name: str):
        offset, size, kind = self.layout[name]
        part = bytes(self.data[self.base + offset:self.base + offset + size])
        return int.from_bytes(part, "little") if kind == "u" else part

    def __setitem__(self, name: str, value):
        offset, size, kind = self.layout[name]
        part = value.to_bytes(size, "little") if kind == "u" else bytes(value)
        assert len(part) == size, (name, len(part))
        self.data[self.base + offset:self.base + offset + size] = part

    def fill(self, **values) -> "View":
        for name, value in values.items():
            self[name.rstrip("_")] = value
        return self

    def poke(self, name: str, at: int = -1, value: int = 1):
        """Sets one byte of a bytes field (the last one if `at` is -1)."""
        part = bytearray(self[name])
        part[at] = value
        self[name] = part


# ---------------------------------------------------------------- what a file is to hold

@dataclass(frozen=True)
class Geometry:
    scheme: int
    elements: int
    bytes: int
    layout: int                     # 0 rows, 1 flat
    fields: tuple

    def pack(self) -> bytes:
        data = bytearray(40)
        widths = b"".join(w.to_bytes(2, "little") for w in self.fields).ljust(16, b"\0")
        View(data, 0, GEOMETRY).fill(scheme=self.scheme, block_elements=self.elements, block_bytes=self.bytes, layout=self.layout,
                                     field_count=len(self.fields), widths=widths)
        return bytes(data)

    def raw_bytes(self, elements: int) -> int:
        return -(-elements // self.elements) * self.bytes

    def json(self) -> dict:
        return {"scheme": self.scheme, "block_elements": self.elements, "block_bytes": self.bytes, "layout": self.layout, "fields": list(self.fields)}


ROWS, FLAT = 0, 1
Q4_0 = Geometry(2, 32, 18, ROWS, (2, 16))
Q8_0 = Geometry(8, 32, 34, ROWS, (2, 32))
Q4_K = Geometry(12, 256, 144, ROWS, (2, 2, 12, 128))
Q6_K = Geometry(14, 256, 210, ROWS, (128, 64, 16, 2))


def as_bytes(name) -> bytes:
    return name.encode() if isinstance(name, str) else name


@dataclass
class Entry:
    name: bytes
    class_: int                     # 0 tensor, 1 document
    dtype: int
    shape: tuple
    raw_bytes: int
    content_hash: bytes
    pieces: list
    chunk_raw: int
    geometry: Geometry | None = None
    align: int | None = None        # None: what the format asks for
    odd: bool = False               # put at an odd address, where the format allows any

    def is_raw(self) -> bool:
        return all(p.codec == RAW for p in self.pieces)

    def json(self) -> dict:
        codecs = [CODEC_NAMES[c] for c in sorted({p.codec for p in self.pieces})]
        sizes = {"raw_bytes": self.raw_bytes, "stored_bytes": sum(len(p.stored) for p in self.pieces), "codecs": codecs, "hash": self.content_hash.hex()}
        if self.class_ == 1:
            return {"name": self.name.decode(), **sizes}
        names = {code: name for name, (code, _) in DTYPES.items()} | {BLOCK: "BLOCK"}
        out = {"name": self.name.decode(), "dtype": names[self.dtype], "shape": list(self.shape), **sizes}
        return out | ({"geometry": self.geometry.json()} if self.geometry else {})


def cut(data: bytes, chunk_raw: int, codec, fields) -> list[Piece]:
    """codec: one for all chunks, or a list that is used in turn."""
    codecs = codec if isinstance(codec, list) else [codec]
    return [codecs[i % len(codecs)](data[start:start + chunk_raw], fields) for i, start in enumerate(range(0, len(data), chunk_raw or 1))]


def tensor(name, dtype: str | Geometry, shape, data: bytes | None = None, *, codec=raw, chunk: int | None = None, external: bool = False,
           align: int | None = None, odd: bool = False, content_hash: bytes | None = None) -> Entry:
    """dtype: a dtype's name, or the geometry of a BLOCK tensor. data None: made up (for an external tensor: not at all)."""
    geometry = dtype if isinstance(dtype, Geometry) else None
    count = math.prod(shape)
    size = geometry.raw_bytes(count) if geometry else count * DTYPES[dtype][1]
    code = BLOCK if geometry else DTYPES[dtype][0]
    if external:
        return Entry(as_bytes(name), 0, code, tuple(shape), size, content_hash or ident(f"content of {name}"), [], 0, geometry)
    if data is None:
        data = noise(f"blocks:{name}", size) if geometry else weights(str(name), dtype, count)
    assert len(data) == size, (name, len(data), size)
    fields = list(geometry.fields) if geometry else [DTYPES[dtype][1]]
    chunk = (chunk or size) if size else 0
    return Entry(as_bytes(name), 0, code, tuple(shape), size, content_hash or hash128(data), cut(data, chunk, codec, fields), chunk, geometry, align, odd)


def document(name, data: bytes, *, codec=raw, chunk: int | None = None, align: int | None = None, odd: bool = False, content_hash: bytes | None = None) -> Entry:
    chunk = (chunk or len(data)) if data else 0
    return Entry(as_bytes(name), 1, DTYPES["U8"][0], (len(data),), len(data), content_hash or hash128(data), cut(data, chunk, codec, [1]), chunk, None, align, odd)


@dataclass
class Bank:
    name: str | bytes
    entries: list
    card: dict | bytes | None = None          # bytes: laid down as they are
    id: bytes | None = None
    external: bool = False
    card_json: dict | None = None              # what a card given as bytes means
    sort: bool = True
    geometries: list | None = None             # an order of its own
    on_manifest: Callable | None = None        # (Manifest) before its hash is taken
    on_card: Callable | None = None            # (bytearray)
    manifest_align: int = 8
    card_align: int = 8


@dataclass
class Stored:
    """A bank that lies in the file: what its entry in a root says, and its expected JSON."""
    name: bytes
    fields: dict
    json: dict

    def renamed(self, name) -> "Stored":
        return replace(self, name=as_bytes(name), json=self.json | {"name": as_bytes(name).decode()})

    def altered(self, **fields) -> "Stored":
        return replace(self, fields=self.fields | fields)
