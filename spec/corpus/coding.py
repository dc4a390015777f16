"""Hashes, made-up data, zstd frames and chunk codecs for the corpus generator.

Written from lmoe.md and registry.md alone; shares no code with any reader or writer of the format.
"""
from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

import xxhash
import zstandard

RAW, ZSTD, PLANES = 0, 1, 2
CODEC_NAMES = {RAW: "RAW", ZSTD: "ZSTD", PLANES: "PLANES"}
ROTATE_SPLIT, SPLIT, STRUCT_SPLIT = 1, 2, 3

# name -> (code, bytes of an element); registry §1
DTYPES = {
    "F64": (0x10, 8), "F32": (0x11, 4), "F16": (0x12, 2), "BF16": (0x13, 2), "F8_E4M3": (0x14, 1), "F8_E5M2": (0x15, 1),
    "I64": (0x20, 8), "I32": (0x21, 4), "I16": (0x22, 2), "I8": (0x23, 1),
    "U64": (0x30, 8), "U32": (0x31, 4), "U16": (0x32, 2), "U8": (0x34, 1), "BOOL": (0x38, 1),
}
BLOCK = 0x40


def hash64(data: bytes) -> int:
    return xxhash.xxh3_64_intdigest(bytes(data))


def hash128(data: bytes) -> bytes:
    return xxhash.xxh3_128_intdigest(bytes(data)).to_bytes(16, "big")


# ---------------------------------------------------------------- made-up data

def noise(seed: str, length: int) -> bytes:
    """Reproducible bytes without any pattern."""
    return hashlib.shake_256(seed.encode()).digest(length)


def ident(seed: str) -> bytes:
    """A reproducible id128."""
    return noise("id:" + seed, 16)


def weights(seed: str, dtype: str, count: int) -> bytes:
    """Bytes that look like trained weights (floats) or small counts (integers)."""
    width = DTYPES[dtype][1]
    dice = noise(f"weights:{seed}", 4 * count)
    out = bytearray()
    for i in range(count):
        a, b, c, d = dice[4 * i:4 * i + 4]
        value = (a + b + c + d - 510) / 6000.0
        if dtype == "F64":
            out += struct.pack("<d", value)
        elif dtype == "F32":
            out += struct.pack("<f", value)
        elif dtype == "F16":
            out += struct.pack("<e", value)
        elif dtype == "BF16":
            out += struct.pack("<f", value)[2:]
        elif dtype == "BOOL":
            out.append(a & 1)
        elif dtype.startswith("F8"):
            out.append((a & 0x80) | 0x30 | (b & 0x0F))
        elif dtype.startswith("I"):
            out += (a - 128).to_bytes(width, "little", signed=True)
        else:
            out += (a & 0x3F).to_bytes(width, "little")
    return bytes(out)


# ---------------------------------------------------------------- zstd frames

def zstd_frame(raw: bytes, level: int = 3, checksum: bool = False, content_size: bool = True) -> bytes:
    return zstandard.ZstdCompressor(level=level, write_checksum=checksum, write_content_size=content_size, write_dict_id=False).compress(bytes(raw))


def block(data: bytes, last: bool, kind: int = 0, size: int | None = None) -> bytes:
    """One block of a hand-made zstd frame; kind 0 raw, 1 a repeated byte, 2 compressed, 3 reserved."""
    size = len(data) if size is None else size
    return (int(last) | kind << 1 | size << 3).to_bytes(3, "little") + data


def hand_frame(content_size: int | None, blocks: bytes, *, single: bool = True, window: int = 0x00, size_bytes: int | None = None,
               checksum_of: bytes | None = None, checksum: bytes | None = None, dictionary: bytes = b"", reserved_bit: bool = False) -> bytes:
    """A zstd frame put together field by field (RFC 8878 §3.1.1); `dictionary` is the dictionary ID as stored (0, 1, 2 or 4 bytes)."""
    if size_bytes is None:
        size_bytes = 0 if content_size is None else 4
    flag = {0: 0, 1: 0, 2: 1, 4: 2, 8: 3}[size_bytes]
    if checksum_of is not None:
        checksum = (xxhash.xxh64_intdigest(checksum_of) & 0xFFFFFFFF).to_bytes(4, "little")
    descriptor = flag << 6 | int(single) << 5 | int(reserved_bit) << 3 | int(checksum is not None) << 2 | {0: 0, 1: 1, 2: 2, 4: 3}[len(dictionary)]
    out = b"\x28\xB5\x2F\xFD" + bytes([descriptor])
    if not single:
        out += bytes([window])
    out += dictionary
    if size_bytes:
        out += ((content_size or 0) - (256 if size_bytes == 2 else 0)).to_bytes(size_bytes, "little")
    return out + blocks + (checksum or b"")


# ---------------------------------------------------------------- chunks

@dataclass
class Piece:
    """A chunk as it will be stored."""
    stored: bytes
    raw_length: int
    codec: int
    filter: int = 0
    planes: int = 0


def raw(chunk: bytes, fields) -> Piece:
    return Piece(bytes(chunk), len(chunk), RAW)


def zstd(level: int = 3, checksum: bool = False):
    return lambda chunk, fields: Piece(zstd_frame(chunk, level, checksum), len(chunk), ZSTD)


def given(stored: bytes, codec: int = ZSTD, filter: int = 0, planes: int = 0):
    """A chunk whose stored bytes are laid down as they are."""
    return lambda chunk, fields: Piece(bytes(stored), len(chunk), codec, filter, planes)


def split_planes(chunk: bytes, filter: int, fields: list[int]) -> list[bytes]:
    """Do what registry §2.1 undoes. `fields`: [element bytes], or the field widths of a block."""
    if filter == STRUCT_SPLIT:
        size, planes, at = sum(fields), [], 0
        for width in fields:
            planes.append(b"".join(chunk[start + at:start + at + width] for start in range(0, len(chunk), size)))
            at += width
        return planes
    width, = fields
    if filter == ROTATE_SPLIT:
        mask, turned = (1 << 8 * width) - 1, bytearray()
        for start in range(0, len(chunk), width):
            v = int.from_bytes(chunk[start:start + width], "little")
            turned += ((v << 1 & mask) | v >> (8 * width - 1)).to_bytes(width, "little")
        chunk = bytes(turned)
    return [bytes(chunk[p::width]) for p in range(width)]


def join_planes(parts: list[tuple[int, bytes]], lengths: list[int] | None = None) -> bytes:
    """parts: (mode, payload); `lengths` overrides what the header says."""
    lengths = [len(payload) for _, payload in parts] if lengths is None else lengths
    return b"".join(n.to_bytes(4, "little") for n in lengths) + bytes(mode for mode, _ in parts) + b"".join(payload for _, payload in parts)


def plane_part(mode: str, plane: bytes) -> tuple[int, bytes]:
    if mode == "auto":
        mode = "const" if len(set(plane)) == 1 else "zstd" if len(zstd_frame(plane)) < len(plane) else "raw"
    if mode == "raw":
        return 0, plane
    if mode == "zstd":
        frame = zstd_frame(plane)
        assert len(frame) < len(plane), "this plane does not compress"
        return 1, frame
    assert mode == "const" and len(set(plane)) == 1, "this plane is not constant"
    return 2, plane[:1]


def planes(filter: int, modes="auto", change=None):
    """Codec PLANES. modes: one word for all planes, or one each. change: what is done to the (mode, payload) list before it is joined;
    it may return the stored bytes themselves."""
    def encode(chunk, fields):
        split = split_planes(chunk, filter, fields)
        words = [modes] * len(split) if isinstance(modes, str) else list(modes)
        assert len(words) == len(split)
        parts = [plane_part(word, plane) for word, plane in zip(words, split)]
        if change is not None:
            parts = change(parts) or parts
        stored = parts if isinstance(parts, bytes) else join_planes(parts)
        return Piece(stored, len(chunk), PLANES, filter, len(split))
    return encode
