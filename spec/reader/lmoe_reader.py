#!/usr/bin/env python3
"""A reader of `.lmoe` files, written from `lmoe.md` and `registry.md` alone.

    python lmoe_reader.py FILE

does the full check of lmoe.md section 5 and prints what it found as the JSON of
corpus/README.md. Exit status: 0 accepted, 1 refused, 2 the file could not be read at all.
In code: `check(path)` and `check_bytes(data)` give the same as a dict.

The section numbers in the comments are those of lmoe.md ("R" before them: registry.md).
It is written to be read beside those pages, not to be fast.
"""

import decimal
import json
import os
import re
import struct
import sys
from dataclasses import dataclass, field

import xxhash
import zstandard

# ---------------------------------------------------------------------------------------
# Constants

HEADER_MAGIC = b"\x89LMOE\r\n\x1a"
SUPERBLOCK_MAGIC = b"LMOESB1\n"
ROOT_MAGIC = b"LMOERT1\n"
MANIFEST_MAGIC = b"LMOEMF1\n"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

PAGE = 4096
FIXED_AREA = 65536
SLOTS = (16384, 32768)
COPIES = (0, 2048)                      # where the two copies of a record stand
RECORD = 512
OFFSET_LIMIT = 1 << 63

ROOT_MIN, ROOT_MAX = 144, 64 << 20
MANIFEST_MIN, MANIFEST_MAX = 64, 256 << 20
CARD_MAX = 16 << 20
DOCUMENT_MAX = 256 << 20
CHUNK_MAX = 16 << 20
BANKS_MAX = 65536
ENTRIES_MAX = 1 << 20
CHUNKS_MAX = 1 << 20                    # of one entry
GEOMETRIES_MAX = 255
RANK_MAX = 8
DIM_MAX = 1 << 40
SIZE_MAX = 1 << 46                      # raw_bytes, and the product of the non-zero dims
BANK_BYTES_MAX = 1 << 47                # logical_bytes and stored_bytes
WINDOW_MAX = 1 << 27                    # of a zstd frame
CANDIDATES_MAX = 256 << 20              # bytes hashed in search of a successor
NAME_MAX = 1024
NESTING_MAX = 64

NO_ID = bytes(16)
KNOWN_INCOMPAT = 0                      # R6: version 1 defines no feature bits
KNOWN_RO_COMPAT = 0
KINDS_WITH_CARD = ("base", "expert", "gate")

EXTERNAL, RAW_BANK = 1, 2               # flags of a bank
TENSOR, DOCUMENT = 0, 1                 # classes of an entry

BLOCK, U8 = 0x40, 0x34
DTYPES = {                              # R1: code -> name, element bytes
    0x10: ("F64", 8), 0x11: ("F32", 4), 0x12: ("F16", 2), 0x13: ("BF16", 2),
    0x14: ("F8_E4M3", 1), 0x15: ("F8_E5M2", 1),
    0x20: ("I64", 8), 0x21: ("I32", 4), 0x22: ("I16", 2), 0x23: ("I8", 1),
    0x30: ("U64", 8), 0x31: ("U32", 4), 0x32: ("U16", 2), U8: ("U8", 1),
    0x38: ("BOOL", 1), BLOCK: ("BLOCK", 0),
}
ROTATABLE = (0x10, 0x11, 0x12, 0x13)    # R2: the dtypes that rotate-split suits

RAW, ZSTD, PLANES = 0, 1, 2             # R2: codecs, in the order of CODEC_NAMES
CODEC_NAMES = ("RAW", "ZSTD", "PLANES")
NO_FILTER, ROTATE_SPLIT, SPLIT, STRUCT_SPLIT = 0, 1, 2, 3
PLANE_RAW, PLANE_ZSTD, PLANE_CONSTANT = 0, 1, 2

HEADER = struct.Struct("<8sHHI16sQQQ448sQ")
SUPERBLOCK = struct.Struct("<8s16sQQQQQQQ16sQQ64s328sQ")
ROOT = struct.Struct("<8s16sQQQQQQ16sQQQIII4s")
BANK = struct.Struct("<16sIHHQQ16sQQ16s16sIIQQ")
MANIFEST = struct.Struct("<8sQIIIII28s")
ENTRY = struct.Struct("<IHBBBB2sIIII4sQ16s8s")
CHUNK = struct.Struct("<QIIQBBB5s")
GEOMETRY = struct.Struct("<IIIBB2s8H8s")
assert [s.size for s in (HEADER, SUPERBLOCK, ROOT, BANK, MANIFEST, ENTRY, CHUNK, GEOMETRY)] \
    == [512, 512, 128, 128, 64, 64, 32, 40]


class Refused(Exception):
    """The file is refused: a code of section 8, and where."""

    def __init__(self, code, bank=None, entry=None):
        super().__init__(code)
        self.code, self.bank, self.entry = code, bank, entry


def require(condition, code):
    if not condition:
        raise Refused(code)


# ---------------------------------------------------------------------------------------
# Primitives (1)

def hash64(data):
    return xxhash.xxh3_64_intdigest(data)


def hash128(data):
    return xxhash.xxh3_128_digest(data)     # canonical form: big-endian, high half first


def pad4096(n):
    return -(-n // PAGE) * PAGE


def zeros(data):
    return not any(data)


def text(data, code):
    """UTF-8, strictly: no overlong forms, no surrogates."""
    try:
        return bytes(data).decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(code) from None


def name_text(data, code):
    """A name: 1 to 1,024 bytes of UTF-8, no control characters, no component `..`."""
    require(1 <= len(data) <= NAME_MAX, code)
    name = text(data, code)
    require(not any(c <= "\x1f" or "\x7f" <= c <= "\x9f" for c in name), code)
    require(".." not in name.split("/"), code)
    return name


class Source:
    """The file: bounded reads at an offset. pread(length, offset) may give less."""

    def __init__(self, size, pread):
        self.size, self.pread = size, pread

    def read(self, offset, length):
        parts = []
        while length:
            part = self.pread(length, offset)
            require(part, "truncated")      # it shrank while we were reading
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)


# ---------------------------------------------------------------------------------------
# Fixed area (2)

def is_whole(record):
    return hash64(record[:504]) == int.from_bytes(record[504:], "little")


def read_header(source):
    """Gives file_uuid and the number of damaged copies (2.1)."""
    if source.size < FIXED_AREA:
        magic = source.read(0, min(source.size, len(HEADER_MAGIC)))
        raise Refused("truncated" if magic == HEADER_MAGIC else "not-lmoe")

    copies = [source.read(at, RECORD) for at in COPIES]
    whole = [copy for copy in copies if is_whole(copy)]
    if not whole:
        marked = any(copy.startswith(HEADER_MAGIC) for copy in copies)
        raise Refused("header-damaged" if marked else "not-lmoe")

    (magic, major, _minor, fixed_area, file_uuid, slot0, slot1, _created_ns,
     reserved, _checksum) = HEADER.unpack(whole[0])
    require(magic == HEADER_MAGIC, "not-lmoe")
    require(major == 1, "unsupported-version")
    require(fixed_area == FIXED_AREA and (slot0, slot1) == SLOTS
            and file_uuid != NO_ID and zeros(reserved), "header-invalid")
    return file_uuid, len(copies) - len(whole)


@dataclass
class Superblock:
    generation: int
    compat: int
    ro_compat: int
    incompat: int
    committed_end: int
    root_offset: int
    root_length: int
    root_hash: bytes
    commit_ns: int


def parse_superblock(record, slot, file_uuid):
    """A whole copy; every broken rule is `superblock-invalid` (2.2, 2.3)."""
    (magic, uuid, generation, compat, ro_compat, incompat, committed_end, root_offset,
     root_length, root_hash, commit_ns, _live_bytes, _writer, reserved, _checksum
     ) = SUPERBLOCK.unpack(record)
    bad = "superblock-invalid"
    require(magic == SUPERBLOCK_MAGIC
            and uuid == file_uuid
            and generation >= 1 and generation % 2 == slot, bad)
    if not incompat & ~KNOWN_INCOMPAT:  # else a later version may use the rest otherwise
        require(root_offset % PAGE == 0 and FIXED_AREA <= root_offset < OFFSET_LIMIT
                and ROOT_MIN <= root_length <= ROOT_MAX
                and committed_end == pad4096(root_offset + root_length)
                and zeros(reserved), bad)
    return Superblock(generation, compat, ro_compat, incompat, committed_end, root_offset,
                      root_length, root_hash, commit_ns)


def choose_superblock(source, file_uuid):
    """Gives the newest superblock, the number of damaged copies, and whether all is in
    order, so that no successor need be looked for (2.3)."""
    damaged = 0
    whole = []                          # (slot, superblock, its bytes)
    for slot, base in enumerate(SLOTS):
        for at in COPIES:
            record = source.read(base + at, RECORD)
            if is_whole(record):
                whole.append((slot, parse_superblock(record, slot, file_uuid), record))
            elif not zeros(record):
                damaged += 1
    require(whole, "superblocks-damaged")

    by_generation = {}
    for _slot, superblock, record in whole:
        first = by_generation.setdefault(superblock.generation, record)
        require(first == record, "superblock-invalid")

    newest = max((superblock for _, superblock, _ in whole), key=lambda s: s.generation)
    require(not newest.incompat & ~KNOWN_INCOMPAT, "unsupported-feature")
    require(newest.committed_end <= source.size, "truncated")

    n = newest.generation
    found = sorted((slot, superblock.generation) for slot, superblock, _ in whole)
    wanted = sorted(2 * [(n % 2, n)] + 2 * [((n - 1) % 2, n - 1)])
    return newest, damaged, found == wanted


def has_successor(source, file_uuid, current):
    """Whether generation N+1's root lies, unpublished, after committed_end (6.3)."""
    hashed = 0
    for offset in range(current.committed_end, source.size - ROOT_MIN + 1, PAGE):
        head = ROOT.unpack(source.read(offset, ROOT.size))
        magic, uuid, generation, parent_offset = head[0], head[1], head[2], head[6]
        parent_hash, length = head[8], head[11]
        if (magic == ROOT_MAGIC and uuid == file_uuid
                and generation == current.generation + 1
                and parent_offset == current.root_offset
                and parent_hash == current.root_hash
                and ROOT_MIN <= length <= ROOT_MAX
                and offset + length <= source.size):
            if hashed >= CANDIDATES_MAX:
                return False
            hashed += length
            trailer = source.read(offset + length - 16, 16)
            try:
                read_root(source, offset, length, trailer, file_uuid)
                return True
            except Refused:
                pass
    return False


# ---------------------------------------------------------------------------------------
# Root (3)

@dataclass
class Bank:
    id: bytes
    name: str
    flags: int
    manifest_offset: int
    manifest_length: int
    manifest_hash: bytes
    card_offset: int
    card_length: int
    card_hash: bytes
    content_id: bytes
    tensor_count: int
    document_count: int
    logical_bytes: int
    stored_bytes: int

    @property
    def external(self):
        return bool(self.flags & EXTERNAL)


@dataclass
class Root:
    generation: int
    features: tuple                     # compat, ro_compat, incompat
    parent_offset: int
    parent_length: int
    parent_hash: bytes
    parent_generation: int
    commit_ns: int
    note: str
    banks: list


def read_root(source, offset, length, trailer, file_uuid):
    """The root at offset, of which the trailer is known. Checks all that does not need
    the superblock, so it serves for parents as well."""
    data = source.read(offset, length)
    require(data[-16:] == trailer and hash128(data[:-16]) == trailer, "root-damaged")

    bad = "root-invalid"
    (magic, uuid, generation, compat, ro_compat, incompat, parent_offset, parent_length,
     parent_hash, parent_generation, commit_ns, total_length, bank_count, string_bytes,
     note_length, reserved) = ROOT.unpack_from(data)
    require(magic == ROOT_MAGIC and uuid == file_uuid and zeros(reserved), bad)
    require(total_length == length, bad)
    require(bank_count <= BANKS_MAX and note_length <= string_bytes, bad)
    require(ROOT.size + BANK.size * bank_count + string_bytes + 16 == length, bad)
    if parent_offset:
        require(parent_offset % PAGE == 0 and parent_offset >= FIXED_AREA
                and ROOT_MIN <= parent_length <= ROOT_MAX
                and parent_offset + parent_length <= offset
                and parent_hash != NO_ID
                and 1 <= parent_generation < generation, bad)
    else:
        require(parent_length == 0 and parent_hash == NO_ID and parent_generation == 0, bad)

    pool = data[-16 - string_bytes:-16]
    note = text(pool[:note_length], bad)
    banks = []
    ids = set()
    previous = b""
    position = note_length              # of the next name in the pool
    entries = memoryview(data)[ROOT.size:ROOT.size + BANK.size * bank_count]
    for (bank_id, name_offset, name_length, flags, *rest) in BANK.iter_unpack(entries):
        require(name_offset == position and position + name_length <= string_bytes, bad)
        raw_name = pool[position:position + name_length]
        position += name_length
        bank = Bank(bank_id, name_text(raw_name, bad), flags, *rest)
        require(raw_name > previous, bad)
        require(bank_id != NO_ID and bank_id not in ids, bad)
        check_bank_entry(bank, offset)
        previous = raw_name
        ids.add(bank_id)
        banks.append(bank)
    require(position == string_bytes, bad)
    return Root(generation, (compat, ro_compat, incompat), parent_offset, parent_length,
                parent_hash, parent_generation, commit_ns, note, banks)


def check_bank_entry(bank, root_offset):
    """The rules of 3.1 that a bank entry can break by itself."""
    bad = "root-invalid"
    require(not bank.flags & ~(EXTERNAL | RAW_BANK), bad)
    require(bank.flags != EXTERNAL | RAW_BANK, bad)
    require(bank.manifest_offset % 8 == 0 and bank.manifest_offset >= FIXED_AREA
            and MANIFEST_MIN <= bank.manifest_length <= MANIFEST_MAX
            and bank.manifest_offset + bank.manifest_length <= root_offset, bad)
    if bank.card_offset:
        require(bank.card_offset % 8 == 0 and bank.card_offset >= FIXED_AREA
                and 1 <= bank.card_length <= CARD_MAX
                and bank.card_hash != NO_ID
                and bank.card_offset + bank.card_length <= root_offset, bad)
    else:
        require(bank.card_length == 0 and bank.card_hash == NO_ID, bad)

    require(bank.logical_bytes <= BANK_BYTES_MAX and bank.stored_bytes <= BANK_BYTES_MAX, bad)

    kind, slash, rest = bank.name.partition("/")
    if kind in KINDS_WITH_CARD:
        require(bank.card_offset, bad)                              # 4.6
        require(not slash if kind == "base" else rest, bad)         # their names


def read_current_root(source, superblock, file_uuid):
    root = read_root(source, superblock.root_offset, superblock.root_length,
                     superblock.root_hash, file_uuid)
    require(root.generation == superblock.generation
            and root.features == (superblock.compat, superblock.ro_compat, superblock.incompat)
            and root.commit_ns == superblock.commit_ns, "root-invalid")
    return root


def history(source, root, file_uuid):
    """The generations along the chain of parents, as far as it is whole."""
    generations = [root.generation]
    while root.parent_offset:           # ends: a parent lies below its child
        child = root
        try:
            root = read_root(source, child.parent_offset, child.parent_length,
                             child.parent_hash, file_uuid)
        except Refused:
            break
        if root.generation != child.parent_generation:
            break
        generations.append(root.generation)
    return generations


# ---------------------------------------------------------------------------------------
# Manifest (4)

@dataclass
class Geometry:
    scheme: int
    block_elements: int
    block_bytes: int
    flat: bool
    fields: list
    packed: bytes                       # its 40 bytes


@dataclass
class Chunk:
    offset: int
    stored_length: int
    raw_length: int
    stored_hash: int
    codec: int
    filter: int
    planes: int
    reserved: bytes


@dataclass
class Entry:
    name: str
    raw_name: bytes
    kind: int                           # TENSOR or DOCUMENT
    dtype: int
    dims: tuple
    geometry: Geometry                  # or None
    unit: int                           # bytes of an element, or of a block
    raw_bytes: int
    content_hash: bytes
    packed_chunks: memoryview
    stored_bytes: int = 0
    codecs: set = field(default_factory=set)

    def chunks(self):
        for values in CHUNK.iter_unpack(self.packed_chunks):
            yield Chunk(*values)

    @property
    def is_raw_extent(self):
        return self.codecs <= {RAW}


def parse_geometry(data):
    """R3."""
    bad = "manifest-invalid"
    (scheme, block_elements, block_bytes, layout, field_count, reserved, *widths, reserved2
     ) = GEOMETRY.unpack(data)
    require(1 <= block_elements <= 65536 and 1 <= block_bytes <= 65536, bad)
    require(layout <= 1 and 1 <= field_count <= 8, bad)
    require(zeros(reserved) and zeros(reserved2), bad)
    fields = widths[:field_count]
    require(all(fields) and zeros(widths[field_count:]), bad)
    require(sum(fields) == block_bytes, bad)
    return Geometry(scheme, block_elements, block_bytes, layout == 1, fields, bytes(data))


def size_of(dims, dtype, geometry):
    """raw_bytes as the dtype, the geometry and the dims give it (4.1, R3)."""
    bad = "manifest-invalid"
    elements = nonzero = 1
    for dim in dims:
        require(dim <= DIM_MAX, bad)
        elements *= dim                 # at most 8 factors of 2^40: Python has no wrap-around
        nonzero *= dim or 1
    require(nonzero <= SIZE_MAX, bad)
    if dtype != BLOCK:
        size = elements * DTYPES[dtype][1]
    elif geometry.flat:
        size = -(-elements // geometry.block_elements) * geometry.block_bytes
    else:
        require(dims and dims[-1] % geometry.block_elements == 0, bad)
        size = elements // geometry.block_elements * geometry.block_bytes
    require(size <= SIZE_MAX, bad)
    return size


def parse_manifest(data, external, root_offset):
    """The entries of a manifest of which the hash is right (4)."""
    bad = "manifest-invalid"
    (magic, total_length, entry_count, chunk_count, dim_count, geometry_count, string_bytes,
     reserved) = MANIFEST.unpack_from(data)
    require(magic == MANIFEST_MAGIC and total_length == len(data) and zeros(reserved), bad)
    require(entry_count <= ENTRIES_MAX and geometry_count <= GEOMETRIES_MAX, bad)
    sizes = (MANIFEST.size, ENTRY.size * entry_count, CHUNK.size * chunk_count,
             8 * dim_count, GEOMETRY.size * geometry_count, string_bytes)
    require(sum(sizes) == total_length, bad)

    tables = []
    position = 0
    for size in sizes:
        tables.append(memoryview(data)[position:position + size])
        position += size
    _, entry_table, chunk_table, dim_table, geometry_table, strings = tables

    geometries = [parse_geometry(geometry_table[at:at + GEOMETRY.size])
                  for at in range(0, len(geometry_table), GEOMETRY.size)]
    require(len({geometry.packed for geometry in geometries}) == geometry_count, bad)

    entries = []
    previous = (0, b"")
    next_name = next_dim = next_chunk = used_geometries = 0
    for (name_offset, name_length, kind, dtype, rank, geometry_number, reserved, first_dim,
         first_chunk, chunks, chunk_raw_bytes, reserved2, raw_bytes, content_hash, reserved3
         ) in ENTRY.iter_unpack(entry_table):
        # Identity
        require(kind <= 1, bad)
        require(zeros(reserved) and zeros(reserved2) and zeros(reserved3), bad)
        require(name_offset == next_name and next_name + name_length <= string_bytes, bad)
        raw_name = bytes(strings[next_name:next_name + name_length])
        next_name += name_length
        name = name_text(raw_name, bad)
        require((kind, raw_name) > previous, bad)
        previous = (kind, raw_name)

        # Type and shape
        require(dtype in DTYPES, "unsupported-dtype")
        require(kind == TENSOR or dtype == U8 and rank == 1, bad)
        geometry = None
        if dtype == BLOCK:
            require(1 <= geometry_number <= geometry_count, bad)
            require(geometry_number <= used_geometries + 1, bad)    # in order of first use
            used_geometries = max(used_geometries, geometry_number)
            geometry = geometries[geometry_number - 1]
        else:
            require(geometry_number == 0, bad)
        require(rank <= RANK_MAX, bad)
        require(first_dim == next_dim and next_dim + rank <= dim_count, bad)
        dims = struct.unpack_from(f"<{rank}Q", dim_table, 8 * next_dim)
        next_dim += rank
        require(raw_bytes == size_of(dims, dtype, geometry), bad)
        require(kind == TENSOR or raw_bytes <= DOCUMENT_MAX, bad)

        # Chunks
        unit = geometry.block_bytes if geometry else DTYPES[dtype][1]
        require(first_chunk == next_chunk and next_chunk + chunks <= chunk_count, bad)
        packed = chunk_table[CHUNK.size * next_chunk:CHUNK.size * (next_chunk + chunks)]
        next_chunk += chunks
        if raw_bytes == 0 or external and kind == TENSOR:
            require(chunks == 0 and chunk_raw_bytes == 0, bad)
        else:
            require(1 <= chunk_raw_bytes <= min(CHUNK_MAX, raw_bytes)
                    and chunk_raw_bytes % unit == 0, bad)
            require(chunks == -(-raw_bytes // chunk_raw_bytes) and chunks <= CHUNKS_MAX, bad)
        entry = Entry(name, raw_name, kind, dtype, dims, geometry, unit, raw_bytes,
                      content_hash, packed)
        check_chunks(entry, chunk_raw_bytes, root_offset)
        entries.append(entry)

    require((next_name, next_dim, next_chunk) == (string_bytes, dim_count, chunk_count), bad)
    require(used_geometries == geometry_count, bad)
    return entries


def check_chunks(entry, chunk_raw_bytes, root_offset):
    """4.2 and 4.3; sets the entry's stored_bytes and codecs."""
    bad = "manifest-invalid"
    left = entry.raw_bytes
    contiguous = True
    start = end = None
    for chunk in entry.chunks():
        require(zeros(chunk.reserved) and chunk.codec in (RAW, ZSTD, PLANES), bad)
        require(chunk.raw_length == min(chunk_raw_bytes, left), bad)
        left -= chunk.raw_length
        require(chunk.offset >= FIXED_AREA
                and chunk.offset + chunk.stored_length <= root_offset, bad)
        if chunk.codec == RAW:
            require(chunk.stored_length == chunk.raw_length, bad)
        else:
            require(1 <= chunk.stored_length < chunk.raw_length, bad)
            require(chunk.offset % 8 == 0, bad)
        if chunk.codec == PLANES:
            require(entry.kind == TENSOR, bad)
            require(chunk.planes == planes_of(entry, chunk.filter), bad)
        else:
            require(chunk.filter == NO_FILTER and chunk.planes == 0, bad)

        if start is None:
            start = chunk.offset
        else:
            contiguous = contiguous and chunk.offset == end
        end = chunk.offset + chunk.stored_length
        entry.stored_bytes += chunk.stored_length
        entry.codecs.add(chunk.codec)

    if start is not None and entry.is_raw_extent:
        require(contiguous and start % (256 if entry.raw_bytes >= 4096 else 64) == 0, bad)


def planes_of(entry, filter_code):
    """The number of planes that a filter makes of this entry's dtype (R2); 0 where it
    does not suit, which no chunk may have."""
    if filter_code == ROTATE_SPLIT and entry.dtype in ROTATABLE:
        return entry.unit
    if filter_code == SPLIT and entry.dtype != BLOCK:
        return entry.unit
    if filter_code == STRUCT_SPLIT and entry.dtype == BLOCK:
        return len(entry.geometry.fields)
    raise Refused("manifest-invalid")


def content_id(entries):
    """4.4."""
    state = xxhash.xxh3_128()
    for entry in entries:
        if entry.kind == TENSOR:
            state.update(struct.pack("<H", len(entry.raw_name)) + entry.raw_name)
            state.update(struct.pack("<BB", entry.dtype, len(entry.dims)))
            state.update(struct.pack(f"<{len(entry.dims)}Q", *entry.dims))
            if entry.geometry:
                state.update(entry.geometry.packed)
            state.update(entry.content_hash)
    return state.digest()


def read_manifest(source, bank, root_offset):
    data = source.read(bank.manifest_offset, bank.manifest_length)
    require(hash128(data) == bank.manifest_hash, "manifest-damaged")
    entries = parse_manifest(data, bank.external, root_offset)

    # The agreement of manifest and bank entry (5)
    tensors = [entry for entry in entries if entry.kind == TENSOR]
    raw = not bank.external and all(entry.is_raw_extent for entry in tensors)
    require(bank.tensor_count == len(tensors)
            and bank.document_count == len(entries) - len(tensors)
            and bank.logical_bytes == sum(entry.raw_bytes for entry in tensors)
            and bank.stored_bytes == sum(entry.stored_bytes for entry in entries)
            and bool(bank.flags & RAW_BANK) == raw
            and bank.content_id == content_id(entries), "manifest-invalid")
    return entries


# ---------------------------------------------------------------------------------------
# Card (4.6)

# The lexical grammar of RFC 8259; what order the tokens may come in is left to `json`.
JSON_TOKEN = re.compile(r"""
    [ \t\n\r]++
  | (?P<open>[\[{]) | (?P<close>[\]}]) | [:,]
  | "(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"
  | -?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?
  | true | false | null
""", re.VERBOSE)

SURROGATE = re.compile("[\ud800-\udfff]")


class Number:
    """A number of a card as it is written: JSON sets no limit to its digits, nor to its
    exponent, and a float would round it."""

    def __init__(self, text):
        self.text = text

    def value(self):
        """Exactly: the sign, the digits without zeros at either end, the power of ten."""
        sign, whole, fraction, exponent = re.fullmatch(
            r"(-?)([0-9]++)(?:\.([0-9]++))?(?:[eE]([+-]?[0-9]++))?", self.text).groups("")
        digits = (whole + fraction).lstrip("0")
        significant = digits.rstrip("0")
        if not significant:
            return "", "", 0
        context = decimal.Context(prec=len(exponent) + 20, Emax=decimal.MAX_EMAX)
        return sign, significant, context.add(
            decimal.Decimal(exponent or 0), len(digits) - len(significant) - len(fraction))

    def __eq__(self, other):
        return isinstance(other, Number) and self.value() == other.value()

    def __repr__(self):
        return f"Number({self.text!r})"


def parse_integer(digits):
    # Python need not convert more digits than these to an int and back.
    return int(digits) if len(digits) <= 640 else Number(digits)


def unique_keys(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def has_surrogate(value):
    if isinstance(value, str):
        return SURROGATE.search(value) is not None
    if isinstance(value, dict):
        return any(has_surrogate(k) or has_surrogate(v) for k, v in value.items())
    return isinstance(value, list) and any(map(has_surrogate, value))


def parse_card(data):
    bad = "card-invalid"
    card = text(data, bad)
    depth = position = 0
    while position < len(card):         # also keeps `json` from recursing too deep
        token = JSON_TOKEN.match(card, position)
        require(token, bad)
        depth += (token["open"] is not None) - (token["close"] is not None)
        require(depth <= NESTING_MAX, bad)
        position = token.end()
    try:
        value = json.loads(card, object_pairs_hook=unique_keys, parse_int=parse_integer,
                           parse_float=Number)
    except ValueError:
        raise Refused(bad) from None
    require(isinstance(value, dict) and not has_surrogate(value), bad)
    return value


def read_card(source, bank):
    if not bank.card_offset:
        return None
    data = source.read(bank.card_offset, bank.card_length)
    require(hash128(data) == bank.card_hash, "card-damaged")
    return parse_card(data)


# ---------------------------------------------------------------------------------------
# Decoding (5)

def frame_length(frame):
    """The compressed size of the zstd frame that data begins with (RFC 8878, 3.1.1)."""
    has_checksum = frame[4] & 0x04
    position = zstandard.frame_header_size(frame)
    last = False
    while not last:
        require(position + 3 <= len(frame), "chunk-invalid")
        header = int.from_bytes(frame[position:position + 3], "little")
        last, kind, size = header & 1, header >> 1 & 3, header >> 3
        require(kind != 3, "chunk-invalid")
        position += 3 + (1 if kind == 1 else size)      # kind 1: one byte, repeated
    return position + (4 if has_checksum else 0)


def unzstd(frame, size):
    """Exactly one zstd frame, without a dictionary, whose content size is `size`."""
    bad = "chunk-invalid"
    require(frame.startswith(ZSTD_MAGIC) and len(frame) > 4, bad)
    try:
        parameters = zstandard.get_frame_parameters(frame)
        require(parameters.content_size == size and parameters.dict_id == 0
                and parameters.window_size <= WINDOW_MAX, bad)
        require(frame_length(frame) == len(frame), bad)
        raw = zstandard.ZstdDecompressor().decompress(frame, max_output_size=size)
    except zstandard.ZstdError:
        raise Refused(bad) from None
    require(len(raw) == size, bad)
    return raw


def unplane(stored, count, lengths):
    """The planes of a PLANES chunk; lengths: of the raw planes."""
    bad = "chunk-invalid"
    require(len(stored) >= 5 * count, bad)
    stored_lengths = struct.unpack_from(f"<{count}I", stored)
    modes = stored[4 * count:5 * count]
    require(5 * count + sum(stored_lengths) == len(stored), bad)
    planes = []
    position = 5 * count
    for length, mode, raw_length in zip(stored_lengths, modes, lengths):
        payload = stored[position:position + length]
        position += length
        if mode == PLANE_RAW:
            require(length == raw_length, bad)
            planes.append(payload)
        elif mode == PLANE_ZSTD:
            require(length < raw_length, bad)
            planes.append(unzstd(payload, raw_length))
        elif mode == PLANE_CONSTANT:
            require(length == 1, bad)
            planes.append(payload * raw_length)
        else:
            raise Refused(bad)
    return planes


def rotate_right(data, width):
    """Each little-endian integer of `width` bytes rotated right by one bit: the whole
    buffer is taken for one long integer, of which the elements are lanes."""
    lanes = int.from_bytes(data, "little")
    lowest = int.from_bytes((b"\x01" + bytes(width - 1)) * (len(data) // width), "little")
    out = lanes & lowest
    turned = (lanes ^ out) >> 1 | out << (8 * width - 1)
    return turned.to_bytes(len(data), "little")


def decode_planes(stored, chunk, entry):
    """PLANES, and undoing its filter (R2.1)."""
    # `split` is `struct-split` with fields of one byte each.
    fields = entry.geometry.fields if chunk.filter == STRUCT_SPLIT else [1] * entry.unit
    units = chunk.raw_length // entry.unit
    planes = unplane(stored, chunk.planes, [units * width for width in fields])
    raw = bytearray(chunk.raw_length)
    at = 0                              # of the field in its unit
    for plane, width in zip(planes, fields):
        for byte in range(width):
            raw[at + byte::entry.unit] = plane[byte::width]
        at += width
    return rotate_right(raw, entry.unit) if chunk.filter == ROTATE_SPLIT else bytes(raw)


def decode_chunk(stored, chunk, entry):
    if chunk.codec == RAW:
        return stored
    if chunk.codec == ZSTD:
        return unzstd(stored, chunk.raw_length)
    return decode_planes(stored, chunk, entry)


def check_content(source, entry, external):
    state = xxhash.xxh3_128()
    for chunk in entry.chunks():
        stored = source.read(chunk.offset, chunk.stored_length)
        require(hash64(stored) == chunk.stored_hash, "chunk-damaged")
        state.update(decode_chunk(stored, chunk, entry))
    if external and entry.kind == TENSOR and entry.raw_bytes:
        return                          # its bytes are elsewhere (4.5)
    require(state.digest() == entry.content_hash, "content-mismatch")


# ---------------------------------------------------------------------------------------
# The full check (5, last paragraph) and its report

def describe_entry(entry):
    report = {"name": entry.name}
    if entry.kind == TENSOR:
        report["dtype"] = DTYPES[entry.dtype][0]
        report["shape"] = list(entry.dims)
    report["raw_bytes"] = entry.raw_bytes
    report["stored_bytes"] = entry.stored_bytes
    report["codecs"] = [CODEC_NAMES[codec] for codec in sorted(entry.codecs)]
    report["hash"] = entry.content_hash.hex()
    if entry.geometry:
        report["geometry"] = {
            "scheme": entry.geometry.scheme,
            "block_elements": entry.geometry.block_elements,
            "block_bytes": entry.geometry.block_bytes,
            "layout": int(entry.geometry.flat),
            "fields": entry.geometry.fields,
        }
    return report


def check_bank(source, bank, root_offset):
    entry = None
    try:
        entries = read_manifest(source, bank, root_offset)
        card = read_card(source, bank)
        for entry in entries:
            check_content(source, entry, bank.external)
    except Refused as refused:
        raise Refused(refused.code, bank.name, entry.name if entry else None) from None
    return {
        "name": bank.name,
        "id": bank.id.hex(),
        "flags": [name for bit, name in ((EXTERNAL, "external"), (RAW_BANK, "raw"))
                  if bank.flags & bit],
        "content_id": bank.content_id.hex(),
        "card": card,
        "tensors": [describe_entry(entry) for entry in entries if entry.kind == TENSOR],
        "documents": [describe_entry(entry) for entry in entries if entry.kind == DOCUMENT],
    }


def accepted(source):
    """The report of a sound file."""
    file_uuid, damaged_headers = read_header(source)
    superblock, damaged, in_order = choose_superblock(source, file_uuid)
    root = read_current_root(source, superblock, file_uuid)
    banks = [check_bank(source, bank, superblock.root_offset) for bank in root.banks]
    successor = not in_order and has_successor(source, file_uuid, superblock)
    return {
        "ok": True,
        "file_uuid": file_uuid.hex(),
        "generation": superblock.generation,
        "damaged_copies": damaged_headers + damaged,
        "successor": successor,
        "writable": not successor and not superblock.ro_compat & ~KNOWN_RO_COMPAT,
        "note": root.note,
        "generations": history(source, root, file_uuid),
        "banks": banks,
    }


def check_source(source):
    try:
        return accepted(source)
    except Refused as refused:
        return {"ok": False, "error": refused.code, "bank": refused.bank,
                "entry": refused.entry}


def check(path):
    """The full check of the file at path. Gives the dict that corpus/README.md describes,
    whatever the file holds; raises only OSError, for a file that cannot be read. The
    numbers of a card are ints and Numbers."""
    with open(path, "rb") as file:
        descriptor = file.fileno()
        return check_source(Source(os.fstat(descriptor).st_size,
                                   lambda length, offset: os.pread(descriptor, length, offset)))


def check_bytes(data):
    """The same of a file that is in memory."""
    data = bytes(data)
    return check_source(Source(len(data), lambda length, offset: data[offset:offset + length]))


def to_json(value, margin="\n"):
    """As json.dumps, which does not know Number."""
    if isinstance(value, Number):
        return value.text
    inner = margin + " "
    if value and isinstance(value, dict):
        items = (json.dumps(key) + ": " + to_json(item, inner) for key, item in value.items())
        return "{" + inner + ("," + inner).join(items) + margin + "}"
    if value and isinstance(value, list):
        return "[" + inner + ("," + inner).join(to_json(v, inner) for v in value) + margin + "]"
    return json.dumps(value)


def main(arguments):
    if len(arguments) != 2:
        print("usage: lmoe_reader.py FILE", file=sys.stderr)
        return 2
    try:
        report = check(arguments[1])
    except OSError as error:
        print(f"lmoe_reader.py: {error}", file=sys.stderr)
        return 2
    print(to_json(report))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
