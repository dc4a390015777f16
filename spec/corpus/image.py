"""The file that is being made: placing chunks, manifests, cards, roots and superblocks."""
from __future__ import annotations

import json

from coding import BLOCK, RAW, hash64, hash128, ident
from writer import (BANK, CHUNK, COPIES, ENTRY, EXTERNAL, FIXED_AREA, GEOMETRY, HEADER, MANIFEST, PAGE, RAW_FLAG, ROOT, SLOTS, SUPERBLOCK,
                    Bank, Entry, Stored, View, as_bytes, pad)

EPOCH_NS = 1_700_000_000_000_000_000


class Manifest:
    """A manifest's bytes with views of its parts. Views stay right as long as no bytes are put in or taken out."""

    def __init__(self, entries: list[Entry], places: list[list[int]], geometries: list):
        chunks = sum(len(e.pieces) for e in entries)
        dims = sum(len(e.shape) for e in entries)
        strings = b"".join(e.name for e in entries)
        total = 64 + 64 * len(entries) + 32 * chunks + 8 * dims + 40 * len(geometries) + len(strings)
        self.data = bytearray(total)
        at = 64 + 64 * len(entries)
        self.head = View(self.data, 0, MANIFEST).fill(magic=b"LMOEMF1\n", total_length=total, entry_count=len(entries), chunk_count=chunks,
                                                      dim_count=dims, geometry_count=len(geometries), string_bytes=len(strings))
        self.entries = [View(self.data, 64 + 64 * i, ENTRY) for i in range(len(entries))]
        self.chunks = [View(self.data, at + 32 * i, CHUNK) for i in range(chunks)]
        self.dims_at = at + 32 * chunks
        self.geometries_at = self.dims_at + 8 * dims
        self.geometries = [View(self.data, self.geometries_at + 40 * i, GEOMETRY) for i in range(len(geometries))]
        self.strings_at = self.geometries_at + 40 * len(geometries)
        for i, g in enumerate(geometries):
            self.data[self.geometries_at + 40 * i:self.geometries_at + 40 * i + 40] = g.pack()
        self.data[self.strings_at:] = strings
        name_at = dim_at = chunk_at = 0
        for i, (e, offsets) in enumerate(zip(entries, places)):
            self.entries[i].fill(name_offset=name_at, name_length=len(e.name), class_=e.class_, dtype=e.dtype, rank=len(e.shape),
                                 geometry=geometries.index(e.geometry) + 1 if e.geometry else 0, first_dim=dim_at, first_chunk=chunk_at,
                                 chunk_count=len(e.pieces), chunk_raw_bytes=e.chunk_raw, raw_bytes=e.raw_bytes, content_hash=e.content_hash)
            for piece, offset in zip(e.pieces, offsets):
                self.chunks[chunk_at].fill(offset=offset, stored_length=len(piece.stored), raw_length=piece.raw_length,
                                           stored_hash=hash64(piece.stored), codec=piece.codec, filter=piece.filter, planes=piece.planes)
                chunk_at += 1
            for dim in e.shape:
                self.set_dim(dim_at, dim)
                dim_at += 1
            name_at += len(e.name)

    def dim(self, index: int) -> int:
        return int.from_bytes(self.data[self.dims_at + 8 * index:self.dims_at + 8 * index + 8], "little")

    def set_dim(self, index: int, value: int):
        self.data[self.dims_at + 8 * index:self.dims_at + 8 * index + 8] = value.to_bytes(8, "little")

    def string(self, entry: View) -> bytes:
        at = self.strings_at + entry["name_offset"]
        return bytes(self.data[at:at + entry["name_length"]])

    def chunks_of(self, entry: View) -> list[View]:
        return self.chunks[entry["first_chunk"]:entry["first_chunk"] + entry["chunk_count"]]

    def summary(self, external: bool) -> dict:
        """What the bank entry says of this manifest, taken after the hooks, so that a defect in the manifest is not a second one in the root."""
        tensors = [e for e in self.entries if e["class"] == 0]
        text = bytearray()
        for e in tensors:
            name = self.string(e)
            text += (len(name) & 0xFFFF).to_bytes(2, "little") + name + bytes([e["dtype"], e["rank"]])
            text += self.data[self.dims_at + 8 * e["first_dim"]:self.dims_at + 8 * (e["first_dim"] + e["rank"])]
            if e["dtype"] == BLOCK and 1 <= e["geometry"] <= len(self.geometries):
                at = self.geometries_at + 40 * (e["geometry"] - 1)
                text += self.data[at:at + 40]
            text += e["content_hash"]
        all_raw = all(c["codec"] == RAW for e in tensors for c in self.chunks_of(e))
        return {"flags": (EXTERNAL if external else RAW_FLAG if all_raw else 0), "content_id": hash128(text),
                "tensor_count": len(tensors), "document_count": len(self.entries) - len(tensors),
                "logical_bytes": sum(e["raw_bytes"] for e in tensors) % 2**64, "stored_bytes": sum(c["stored_length"] for c in self.chunks) % 2**64}


def content_id(entries: list[Entry]) -> bytes:
    """lmoe.md §4.4, from what was meant."""
    text = bytearray()
    for e in entries:
        if e.class_ == 0:
            text += len(e.name).to_bytes(2, "little") + e.name + bytes([e.dtype, len(e.shape)])
            text += b"".join(d.to_bytes(8, "little") for d in e.shape) + (e.geometry.pack() if e.geometry else b"") + e.content_hash
    return hash128(text)


class Root:
    """A root's bytes without the trailer."""

    def __init__(self, banks: list[Stored], note: bytes, **fields):
        strings = note + b"".join(b.name for b in banks)
        self.data = bytearray(128 + 128 * len(banks)) + strings
        self.head = View(self.data, 0, ROOT).fill(magic=b"LMOERT1\n", total_length=len(self.data) + 16, bank_count=len(banks),
                                                  string_bytes=len(strings), note_length=len(note), **fields)
        self.banks = [View(self.data, 128 + 128 * i, BANK) for i in range(len(banks))]
        self.strings_at = 128 + 128 * len(banks)
        at = len(note)
        for view, bank in zip(self.banks, banks):
            view.fill(name_offset=at, name_length=len(bank.name), **bank.fields)
            at += len(bank.name)


class Image:
    def __init__(self, seed: str, *, dedupe: bool = False, on_header=None, minor: int = 0):
        self.seed, self.dedupe, self.extents = seed, dedupe, {}
        self.too_long: list[bytes] = []                                  # entries with a coded chunk that is not smaller
        self.uuid = ident("file:" + seed)
        self.data = bytearray(FIXED_AREA)
        self.commits: list[dict] = []
        for copy in ("header-a", "header-b"):
            view = View(self.data, COPIES[copy], HEADER).fill(magic=b"\x89LMOE\r\n\x1A", major=1, minor=minor, fixed_area=FIXED_AREA, file_uuid=self.uuid,
                                                              slot0=SLOTS[0], slot1=SLOTS[1], created_ns=EPOCH_NS)
            if on_header is not None:
                on_header(view)
            self.seal(view)
        self.generation, self.end, self.parent = 0, FIXED_AREA, None

    @staticmethod
    def seal(view: View):
        view["checksum"] = hash64(view.data[view.base:view.base + 504])

    def append(self, data: bytes, align: int = 1, skew: int = 0) -> int:
        """Puts bytes at the next multiple of `align`, plus `skew`."""
        offset = pad(len(self.data), align) + skew
        self.data += bytes(offset - len(self.data)) + bytes(data)
        return offset

    # ---- banks

    def place(self, e: Entry) -> list[int]:
        self.too_long += [e.name for p in e.pieces if p.codec != RAW and len(p.stored) >= p.raw_length]
        if e.is_raw():
            joined = b"".join(p.stored for p in e.pieces)
            need = e.align or (256 if e.raw_bytes >= 4096 else 64)
            key = ("extent", need, joined)
            if not (self.dedupe and key in self.extents):
                self.extents[key] = self.append(joined, need) if joined else 0
            at, offsets = self.extents[key], []
            for p in e.pieces:
                offsets.append(at)
                at += len(p.stored)
            return offsets
        offsets = []
        for p in e.pieces:
            key = ("piece", p.codec, p.stored)
            if not (self.dedupe and key in self.extents):
                if p.codec == RAW:
                    self.extents[key] = self.append(p.stored, 2 if e.odd else 1, 1 if e.odd else 0)
                else:
                    self.extents[key] = self.append(p.stored, e.align or 8)
            offsets.append(self.extents[key])
        return offsets

    def store(self, bank: Bank) -> Stored:
        entries = sorted(bank.entries, key=lambda e: (e.class_, e.name)) if bank.sort else list(bank.entries)
        places = [self.place(e) for e in entries]
        geometries = bank.geometries
        if geometries is None:
            geometries = list(dict.fromkeys(e.geometry for e in entries if e.geometry))
        manifest = Manifest(entries, places, geometries)
        if bank.on_manifest is not None:
            bank.on_manifest(manifest)
        card = bank.card
        if isinstance(card, dict):
            card = json.dumps(card, ensure_ascii=False, separators=(",", ":")).encode()
        if bank.on_card is not None:
            card = bytes(bank.on_card(card))
        offset = self.append(manifest.data, bank.manifest_align)
        fields = {"bank_id": bank.id or ident(f"bank:{bank.name}"), "manifest_offset": offset, "manifest_length": len(manifest.data),
                  "manifest_hash": hash128(manifest.data), **manifest.summary(bank.external)}
        if card is not None:
            fields |= {"card_offset": self.append(card, bank.card_align), "card_length": len(card), "card_hash": hash128(card)}
        # from what was meant, not from the manifest's bytes:
        external = bank.external
        flags = ["external"] if external else ["raw"] if all(e.is_raw() for e in entries if e.class_ == 0) else []
        try:
            listed = {"tensors": [e.json() for e in entries if e.class_ == 0], "documents": [e.json() for e in entries if e.class_ == 1]}
            meant = {"name": as_bytes(bank.name).decode(), "id": fields["bank_id"].hex(), "flags": flags, "content_id": content_id(entries).hex(),
                     "card": bank.card_json if bank.card_json is not None else bank.card if isinstance(bank.card, dict) else None, **listed}
        except UnicodeDecodeError:          # a bad name, on purpose: such a file is not accepted anyway
            meant = {}
        return Stored(as_bytes(bank.name), fields, meant)

    # ---- generations

    def commit(self, banks: list[Stored], note: str | bytes = "", *, generation: int | None = None, parent="last", publish: bool = True,
               features: tuple = (0, 0, 0), sort: bool = True, on_root=None, on_trailer=None, on_superblock=None, root_align: int = PAGE, root_skew: int = 0,
               padding: int = 0, writer: bytes = b"corpus/make.py", slot: int | None = None) -> dict:
        """Appends a root and, if `publish`, writes its slot. parent: "last", None, or what an earlier commit() gave."""
        number = self.generation + 1 if generation is None else generation
        before = self.parent if parent == "last" else parent
        banks = sorted(banks, key=lambda b: b.name) if sort else banks
        compat, ro_compat, incompat = features
        stamp = EPOCH_NS + number % 2**32 * 1_000_000_000
        root = Root(banks, as_bytes(note), file_uuid=self.uuid, generation=number, compat=compat, ro_compat=ro_compat, incompat=incompat, commit_ns=stamp)
        if before is not None:
            root.head.fill(parent_offset=before["offset"], parent_length=before["length"], parent_hash=before["hash"], parent_generation=before["generation"])
        root.offset = pad(len(self.data), root_align) + root_skew
        if on_root is not None:
            on_root(root)
        trailer = hash128(root.data)
        whole = bytes(root.data) + (on_trailer(trailer) if on_trailer else trailer)
        offset = self.append(whole, root_align, root_skew)
        self.data += bytes([padding]) * (pad(len(self.data), PAGE) - len(self.data))
        made = {"generation": number, "offset": offset, "length": len(whole), "hash": whole[-16:], "end": len(self.data),
                "note": as_bytes(note).decode(errors="replace"), "banks": [b.json for b in banks],
                "generations": [number] + (before["generations"] if before else []), "ro": bool(ro_compat)}
        record = bytearray(512)
        view = View(record, 0, SUPERBLOCK).fill(magic=b"LMOESB1\n", file_uuid=self.uuid, generation=number, compat=compat, ro_compat=ro_compat,
                                                incompat=incompat, committed_end=len(self.data), root_offset=offset, root_length=len(whole),
                                                root_hash=whole[-16:], commit_ns=stamp, live_bytes=len(self.data), writer=writer.ljust(64, b"\0"))
        if on_superblock is not None:
            on_superblock(view)
        self.seal(view)
        made["record"] = bytes(record)
        if publish:
            self.write_slot(number % 2 if slot is None else slot, record, record)
            self.generation, self.end, self.parent = number, len(self.data), made
            self.commits.append(made)
        return made

    def write_slot(self, number: int, first: bytes, second: bytes):
        at = SLOTS[number]
        self.data[at:at + PAGE] = bytes(PAGE)
        self.data[at:at + 512], self.data[at + 2048:at + 2560] = first, second

    # ---- damage

    def damage(self, *copies: str):
        for copy in copies:
            self.data[COPIES[copy] + 20] ^= 0x10

    def erase(self, *copies: str):
        for copy in copies:
            self.data[COPIES[copy]:COPIES[copy] + 512] = bytes(512)

    # ---- expected results

    def expect(self, made: dict | None = None, *, damaged: int = 0, successor: bool = False, generations: list | None = None) -> dict:
        assert not self.too_long, (self.seed, self.too_long)
        made = made or self.commits[-1]
        return {"ok": True, "file_uuid": self.uuid.hex(), "generation": made["generation"], "damaged_copies": damaged, "successor": successor,
                "writable": not successor and not made["ro"], "note": made["note"], "generations": generations or made["generations"],
                "banks": made["banks"]}


def refused(code: str, bank: str | None = None, entry: str | None = None) -> dict:
    return {"ok": False, "error": code, "bank": bank, "entry": entry}
