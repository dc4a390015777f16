"""Refused files: manifests. The manifest's hash, and what the root says of the manifest, are made to fit the defect."""
from __future__ import annotations

from coding import DTYPES, PLANES, RAW, ROTATE_SPLIT, SPLIT, STRUCT_SPLIT, ZSTD, Piece, given, noise, planes, raw, zstd, zstd_frame
from common import BLOCKS, CONFIGURED, PLAIN, PLANED, README, ZSTDED, mixed_entries
from good_file import small
from image import Image, refused
from writer import FLAT, Q4_0, Q8_0, ROWS, Bank, Geometry, document, tensor

MAX64, MAX32, MAX16 = 2**64 - 1, 2**32 - 1, 2**16 - 1
BANK_NAME = "tested/bank"


def cases():
    yield from heads()
    yield from entries()
    yield from shapes()
    yield from chunks()
    yield from suits()
    yield from extents()
    yield from geometries()
    yield from names()


def defect(name, hook=None, items=None, code="manifest-invalid", entry=None, external=False, sort=True, **bank):
    """A small base and a bank whose manifest goes through `hook`."""
    image = Image(f"bad-{name}")
    banks = [image.store(small(name)), image.store(Bank(BANK_NAME, mixed_entries() if items is None else items, external=external, sort=sort, on_manifest=hook, **bank))]
    image.commit(banks, "create")
    return image.seed, image.data, refused(code, BANK_NAME, entry)


def heads():
    def head(name, **fields):
        return defect(f"manifest-{name}", lambda m: m.head.fill(**fields))

    def shift(name, key, by):
        return defect(f"manifest-{name}", lambda m: m.head.fill(**{key: m.head[key] + by}))
    yield head("magic", magic=b"LMOEMF2\n")
    yield head("magic-zero", magic=bytes(8))
    yield head("total-length-0", total_length=0)
    yield head("total-length-max", total_length=MAX64)
    yield shift("total-length-one-more", "total_length", 1)
    yield shift("total-length-one-less", "total_length", -1)
    yield shift("total-length-plus-2to32", "total_length", 2**32)
    for key, unit in (("entry_count", 64), ("chunk_count", 32), ("dim_count", 8), ("geometry_count", 40), ("string_bytes", 1)):
        word = key.replace("_", "-")
        yield head(f"{word}-0", **{key: 0})
        yield head(f"{word}-max", **{key: MAX32})
        yield shift(f"{word}-one-more", key, 1)
        yield shift(f"{word}-one-less", key, -1)
        if unit > 1:
            yield shift(f"{word}-product-wraps-at-2to32", key, 2**32 // (unit & -unit))
    yield head("entry-count-1048577", entry_count=1048577)
    yield defect("manifest-reserved-first-byte", lambda m: m.head.poke("reserved", 0))
    yield defect("manifest-reserved-last-byte", lambda m: m.head.poke("reserved", 27))

    def more(kind):
        """Another element in one table, which no entry uses."""
        def hook(m):
            at, extra, key = {"chunk": (m.dims_at, 32, "chunk_count"), "dim": (m.geometries_at, 8, "dim_count"), "string": (len(m.data), 1, "string_bytes"),
                              "geometry": (m.strings_at, 40, "geometry_count")}[kind]
            filling = {"chunk": bytes(m.data[m.dims_at - 32:m.dims_at]), "dim": (1).to_bytes(8, "little"), "string": b"x", "geometry": Q8_0.pack()}[kind]
            m.data[at:at] = filling
            m.head[key] += 1
            m.head["total_length"] = len(m.data)
            # the summary for the root is taken from the views: let them see the tables where they are now
            m.dims_at += extra if kind == "chunk" else 0
            m.geometries_at += extra if kind in ("chunk", "dim") else 0
            m.strings_at += extra if kind in ("chunk", "dim", "geometry") else 0
        return hook
    for kind in ("chunk", "dim", "string", "geometry"):
        yield defect(f"manifest-unused-{kind}", more(kind))

    def trailing(m):
        m.data += b"12345678"
        m.head["total_length"] = len(m.data)
    yield defect("manifest-bytes-after-the-strings", trailing)
    image = Image("bad-manifest-byte-flipped")
    stored = image.store(small("x"))
    image.commit([stored], "create")
    image.data[stored.fields["manifest_offset"] + 70] ^= 1
    yield image.seed, image.data, refused("manifest-damaged", "base")
    image = Image("bad-manifest-of-another-bank")
    first, second = image.store(small("x")), image.store(Bank(BANK_NAME, mixed_entries()))
    image.commit([first, second.altered(**{k: first.fields[k] for k in ("manifest_offset", "manifest_length", "manifest_hash")})], "create")
    yield image.seed, image.data, refused("manifest-invalid", BANK_NAME)


def entries():
    def field(name, which, code="manifest-invalid", **fields):
        return defect(f"entry-{name}", lambda m: m.entries[which].fill(**fields), code=code)

    def shift(name, which, key, by):
        return defect(f"entry-{name}", lambda m: m.entries[which].fill(**{key: m.entries[which][key] + by}))
    for key in ("name_offset", "first_dim", "first_chunk"):
        word = key.replace("_", "-")
        yield field(f"{word}-0", PLANED, **{key: 0})
        yield field(f"{word}-max", PLANED, **{key: MAX32})
        yield shift(f"{word}-one-more", PLANED, key, 1)
        yield shift(f"{word}-one-less", PLANED, key, -1)
        yield shift(f"{word}-of-the-first-entry-1", 0, key, 1)
    yield shift("name-length-one-more", PLANED, "name_length", 1)
    yield shift("name-length-one-less", PLANED, "name_length", -1)
    yield shift("name-length-of-the-last-one-less", CONFIGURED, "name_length", -1)
    yield field("name-length-0", PLANED, name_length=0)
    yield field("name-length-max", PLANED, name_length=MAX16)

    def shared_name(m):
        m.entries[1].fill(name_offset=m.entries[0]["name_offset"], name_length=m.entries[0]["name_length"] + m.entries[1]["name_length"])
    yield defect("entry-names-share-bytes", shared_name)

    def shared_chunk(m):
        m.entries[PLANED]["first_chunk"] -= 1                  # the last chunk of the entry before serves twice
    yield defect("entry-chunks-shared-with-the-entry-before", shared_chunk)
    yield field("class-2", CONFIGURED, class_=2)
    yield field("class-max", CONFIGURED, class_=255)
    yield defect("entry-document-before-tensor", sort=False, items=[document("a", b"x"), tensor("b", "U8", (1,))])
    for code in (0x00, 0x16, 0x24, 0x33, 0x35, 0x41, 0xFF):
        yield field(f"dtype-{code:02x}", ZSTDED, code="unsupported-dtype", dtype=code)
    yield dtype_lie()
    for code, word in ((0x23, "i8"), (0x38, "bool"), (0x11, "f32")):
        yield field(f"document-dtype-{word}", README, dtype=code)
    yield defect("entry-document-dtype-block", lambda m: m.entries[README].fill(dtype=0x40, geometry=1))
    for rank in (9, 255):
        yield field(f"rank-{rank}", PLANED, rank=rank)
    yield shift("rank-one-more", PLANED, "rank", 1)
    yield shift("rank-one-less", PLANED, "rank", -1)
    yield field("rank-0-of-two-dims", PLANED, rank=0)
    yield defect("entry-rank-9-in-full", items=[tensor("w", "U8", (1,) * 9)])
    yield defect("entry-document-rank-0", items=[shaped_document((), b"x")])
    yield defect("entry-document-rank-2", items=[shaped_document((2, 3), b"abcdef")])
    yield defect("entry-document-dim-wrong", items=[shaped_document((5,), b"abcdef")])
    yield field("geometry-of-no-block", PLANED, geometry=1)
    yield field("geometry-of-a-document", README, geometry=1)
    yield field("geometry-0-of-a-block", BLOCKS, geometry=0)
    yield field("geometry-beyond-the-table", BLOCKS, geometry=2)
    yield field("geometry-max", BLOCKS, geometry=255)
    for key, last in (("reserved1", 1), ("reserved2", 3), ("reserved3", 7)):
        yield defect(f"entry-{key}-first-byte", lambda m: m.entries[PLANED].poke(key, 0))
        yield defect(f"entry-{key}-last-byte", lambda m: m.entries[PLANED].poke(key, last))
    yield field("chunk-count-0", PLANED, chunk_count=0)
    yield field("chunk-count-max", PLANED, chunk_count=MAX32)
    yield field("chunk-count-2to20-and-1", PLANED, chunk_count=2**20 + 1)
    yield shift("chunk-count-one-more", PLANED, "chunk_count", 1)
    yield shift("chunk-count-one-less", PLANED, "chunk_count", -1)
    yield field("chunk-raw-bytes-0", PLANED, chunk_raw_bytes=0)
    yield field("chunk-raw-bytes-1", PLANED, chunk_raw_bytes=1)
    yield field("chunk-raw-bytes-max", PLANED, chunk_raw_bytes=MAX32)
    yield shift("chunk-raw-bytes-a-unit-more", PLANED, "chunk_raw_bytes", 2)
    yield shift("chunk-raw-bytes-a-unit-less", PLANED, "chunk_raw_bytes", -2)
    yield defect("entry-chunk-raw-bytes-not-of-whole-elements", items=[tensor("w", "F32", (9,), chunk=6)])
    yield defect("entry-chunk-raw-bytes-not-of-whole-blocks", items=[tensor("w", Q4_0, (4, 32), chunk=27)])
    yield defect("entry-chunk-raw-bytes-longer-than-the-tensor", lambda m: m.entries[0].fill(chunk_raw_bytes=40), items=[tensor("w", "F32", (9,))])
    yield defect("entry-chunk-raw-bytes-of-an-empty-tensor", lambda m: m.entries[0].fill(chunk_raw_bytes=4), items=[tensor("w", "F32", (0,))])
    yield defect("entry-chunk-raw-bytes-16-mib-and-1", items=[tensor("w", "U8", (2**24 + 1,), b"\3" * (2**24 + 1), codec=planes(SPLIT, "const"))])
    yield defect("entry-chunk-of-an-empty-tensor", items=[empty_with_chunk()])
    yield defect("entry-external-tensor-with-chunks", items=[tensor("w", "F32", (9,))], external=True)
    yield defect("entry-external-tensor-with-chunk-raw-bytes", lambda m: m.entries[0].fill(chunk_raw_bytes=36), items=[tensor("w", "F32", (9,), external=True)], external=True)
    yield defect("entry-without-chunks-in-a-bank-that-is-not-external", items=[tensor("w", "F32", (9,), external=True)])
    yield field("raw-bytes-0", PLANED, raw_bytes=0)
    yield field("raw-bytes-max", PLANED, raw_bytes=MAX64)
    yield shift("raw-bytes-one-more", PLANED, "raw_bytes", 1)
    yield shift("raw-bytes-an-element-less", PLANED, "raw_bytes", -2)
    yield shift("raw-bytes-plus-2to32", PLANED, "raw_bytes", 2**32)
    yield field("raw-bytes-of-elements-not-bytes", PLANED, raw_bytes=1024)


def dtype_lie():
    """The dtype in the manifest is another one of the same width; only the content_id (taken before) tells."""
    image = Image("bad-entry-dtype-changed-after-content-id")
    stored = image.store(Bank(BANK_NAME, [tensor("w", "I32", (4,))]))
    other = image.store(Bank(BANK_NAME, [tensor("w", "U32", (4,), noise("u", 16))]))
    image.commit([image.store(small("")), other.altered(content_id=stored.fields["content_id"])], "create")
    return image.seed, image.data, refused("manifest-invalid", BANK_NAME)


def shaped_document(shape, data):
    d = document("files/d", data)
    d.shape = shape
    return d


def empty_with_chunk():
    t = tensor("w", "F32", (0,))
    t.pieces, t.chunk_raw = [raw(b"\0\0\0\0", [4])], 4
    return t


def shapes():
    """Shapes of external tensors (no bytes needed) and of empty ones."""
    def shape(name, dims, raw_bytes, dtype="U8", external=True):
        t = tensor("w", "U8", (0,) if not external else (1,), external=external)
        t.shape, t.raw_bytes, t.dtype = tuple(dims), raw_bytes, DTYPES[dtype][0]
        return defect(f"shape-{name}", items=[t], external=external)
    yield shape("dim-2to40-and-1", (2**40 + 1,), 2**40 + 1)
    yield shape("dim-max-in-an-empty-tensor", (0, MAX64), 0, external=False)
    yield shape("dim-2to40-and-1-in-an-empty-tensor", (2**40 + 1, 0), 0, external=False)
    yield shape("product-beyond-2to46", (2**40, 65), 2**40 * 65)
    yield shape("product-beyond-2to46-in-an-empty-tensor", (2**40, 65, 0), 0, external=False)
    yield shape("zero-first-does-not-excuse", (0, 2**40, 2**40), 0, external=False)
    yield shape("product-of-others-wraps-to-zero-in-an-empty-tensor", (2**32, 0, 2**32), 0, external=False)
    yield shape("product-wraps-to-zero", (2**32, 2**32), 0)
    yield shape("product-wraps-to-a-small-number", (2**33, 2**31 + 1), 2**33)
    yield shape("bytes-beyond-2to46", (2**40, 9), 2**43 * 9, "F64")
    yield shape("bytes-wrap", (2**40, 2**22), 0, "F32")
    yield shape("eight-dims-wrap", (2**8,) * 8, 0)
    wide = Geometry(0, 1, 65536, FLAT, (65535, 1))
    yield defect("shape-block-bytes-2to46", items=[tensor("w", wide, (2**30 + 1,), external=True)], external=True)
    yield defect("shape-block-bytes-wrap", items=[resized(tensor("w", wide, (2**30,), external=True), (2**40, 2**6), 0)], external=True)
    many = Geometry(0, 65536, 1, FLAT, (1,))
    yield defect("shape-block-elements-beyond-2to46", items=[tensor("w", many, (2**40, 65), external=True)], external=True)
    yield defect("shape-document-256-mib-and-1", items=[big_document()])


def resized(t, shape, size):
    t.shape, t.raw_bytes = shape, size
    return t


def big_document():
    """256 MiB and one byte, of which the file holds one chunk: the others are the same extent."""
    frame = zstd_frame(bytes(2**24), 1)
    d = document("files/big", b"")
    d.pieces = [Piece(frame, 2**24, ZSTD)] + [Piece(frame, 2**24, ZSTD)] * 15 + [Piece(b"\0", 1, RAW)]
    d.shape, d.raw_bytes, d.chunk_raw = (2**28 + 1,), 2**28 + 1, 2**24
    return d


def first_chunk(m, which: int) -> int:
    return m.entries[which]["first_chunk"]


def chunks():
    def field(name, which, hook, **more):
        """hook gets the first chunk of the entry."""
        return defect(f"chunk-{name}", lambda m: hook(m.chunks[first_chunk(m, which)]), **more)
    yield field("offset-0", ZSTDED, lambda c: c.fill(offset=0))
    yield field("offset-in-the-fixed-area", ZSTDED, lambda c: c.fill(offset=65528))
    yield field("offset-0-of-a-raw-extent", README, lambda c: c.fill(offset=0))
    yield field("offset-beyond-the-root", ZSTDED, lambda c: c.fill(offset=2**20))
    yield field("offset-2to63", ZSTDED, lambda c: c.fill(offset=2**63))
    yield field("offset-max-aligned", ZSTDED, lambda c: c.fill(offset=2**64 - 8))
    yield field("offset-wraps-with-length", ZSTDED, lambda c: c.fill(offset=2**64 - 8 * (c["stored_length"] // 8)))
    yield field("offset-misaligned-1", ZSTDED, lambda c: c.fill(offset=c["offset"] + 1))
    yield field("offset-misaligned-4", PLANED, lambda c: c.fill(offset=c["offset"] + 4))
    yield field("offset-misaligned-document", CONFIGURED, lambda c: c.fill(offset=c["offset"] + 2))
    yield field("stored-length-0", ZSTDED, lambda c: c.fill(stored_length=0))
    yield field("stored-length-max", ZSTDED, lambda c: c.fill(stored_length=MAX32))
    yield field("stored-length-as-raw-length-zstd", ZSTDED, lambda c: c.fill(stored_length=c["raw_length"]))
    yield field("stored-length-as-raw-length-planes", PLANED, lambda c: c.fill(stored_length=c["raw_length"]))
    yield field("stored-length-longer-than-raw-length", ZSTDED, lambda c: c.fill(stored_length=c["raw_length"] + 1))
    yield field("stored-length-raw-one-less", README, lambda c: c.fill(stored_length=c["stored_length"] - 1))
    yield field("stored-length-raw-one-more", README, lambda c: c.fill(stored_length=c["stored_length"] + 1))
    yield field("raw-length-0", ZSTDED, lambda c: c.fill(raw_length=0))
    yield field("raw-length-max", ZSTDED, lambda c: c.fill(raw_length=MAX32))
    yield field("raw-length-one-more", ZSTDED, lambda c: c.fill(raw_length=c["raw_length"] + 1))
    yield field("raw-length-an-element-less", ZSTDED, lambda c: c.fill(raw_length=c["raw_length"] - 4))
    yield defect("chunk-raw-length-of-the-last-one-too-long", lambda m: m.chunks[first_chunk(m, ZSTDED) + 1].fill(raw_length=512))
    yield defect("chunk-raw-lengths-exchanged", lambda m: (m.chunks[first_chunk(m, ZSTDED)].fill(raw_length=256), m.chunks[first_chunk(m, ZSTDED) + 1].fill(raw_length=512)))
    for codec in (3, 255):
        yield field(f"codec-{codec}", ZSTDED, lambda c: c.fill(codec=codec))
    yield field("reserved-first-byte", ZSTDED, lambda c: c.poke("reserved", 0))
    yield field("reserved-last-byte", README, lambda c: c.poke("reserved", 4, 0xFF))
    # 65 bytes that begin 64 before the root
    image = Image("bad-chunk-up-to-the-root-and-one-more")
    root_at = 69632
    stored = image.store(Bank(BANK_NAME, [document("d", noise("d", 65))], on_manifest=lambda m: m.chunks[0].fill(offset=root_at - 64)))
    made = image.commit([stored], "create")
    assert made["offset"] == root_at
    yield image.seed, image.data, refused("manifest-invalid", BANK_NAME)


def suits():
    """Codecs and filters that the registry does not list, or that do not suit."""
    def field(name, which, **fields):
        return defect(f"codec-{name}", lambda m: m.chunks[first_chunk(m, which)].fill(**fields))
    yield field("raw-with-filter", PLAIN, filter=1)
    yield field("raw-with-planes", PLAIN, planes=4)
    yield field("zstd-with-filter", ZSTDED, filter=2)
    yield field("zstd-with-planes", ZSTDED, planes=4)
    yield field("planes-without-filter", PLANED, filter=0)
    yield field("planes-filter-4", PLANED, filter=4)
    yield field("planes-filter-255", PLANED, filter=255)
    yield field("planes-0", PLANED, planes=0)
    yield field("planes-1-of-2", PLANED, planes=1)
    yield field("planes-4-of-2", PLANED, planes=4)
    yield field("planes-255", PLANED, planes=255)
    yield field("planes-3-of-2-block-fields", BLOCKS, planes=3)
    yield field("struct-split-of-no-block", PLANED, filter=3)
    yield field("split-of-blocks", BLOCKS, filter=2)
    yield field("rotate-split-of-blocks", BLOCKS, filter=1)
    for dtype in ("I64", "I32", "I16", "U16", "U32"):
        yield defect(f"codec-rotate-split-of-{dtype.lower()}", items=[tensor("w", dtype, (64,), bytes(64 * DTYPES[dtype][1]), codec=planes(ROTATE_SPLIT))])
    for dtype in ("F8_E4M3", "F8_E5M2", "U8", "BOOL"):
        yield defect(f"codec-rotate-split-of-{dtype.lower().replace('_', '-')}", items=[tensor("w", dtype, (64,), bytes(64), codec=planes(ROTATE_SPLIT))])
    yield defect("codec-planes-of-a-document", items=[document("d", bytes(64), codec=planes(SPLIT))])
    yield defect("codec-3-of-a-document", lambda m: m.chunks[0].fill(codec=3), items=[document("d", bytes(64), codec=zstd())])
    yield defect("codec-raw-named-zstd", lambda m: m.chunks[0].fill(codec=1), items=[tensor("w", "F32", (4,))])
    yield defect("codec-zstd-named-raw", lambda m: m.chunks[0].fill(codec=0), items=[tensor("w", "F32", (64,), bytes(256), codec=zstd())])
    same = noise("incompressible", 200)
    yield defect("codec-zstd-not-smaller", items=[tensor("w", "U8", (200,), same, codec=zstd())])
    yield defect("codec-planes-not-smaller", items=[tensor("w", "U8", (200,), same, codec=planes(SPLIT, "raw"))])


def extents():
    yield misplaced("extent-at-32", 32, 20)
    yield misplaced("extent-at-63", 63, 20)
    yield misplaced("extent-at-1", 1, 1)
    yield misplaced("extent-of-4096-bytes-at-64", 64, 4096)
    yield misplaced("extent-of-4096-bytes-at-128", 128, 4096)
    yield misplaced("extent-of-a-document-at-8", 8, 20, is_document=True)
    yield defect("extent-with-a-gap", lambda m: m.chunks[2].fill(offset=m.chunks[2]["offset"] + 64), items=[tensor("w", "U8", (192,), chunk=64)])
    yield defect("extent-with-chunks-exchanged", lambda m: exchange(m, 0, 1), items=[tensor("w", "U8", (192,), chunk=64)])
    yield defect("extent-with-one-chunk-twice", lambda m: m.chunks[1].fill(offset=m.chunks[0]["offset"], stored_hash=m.chunks[0]["stored_hash"]),
                 items=[tensor("w", "U8", (128,), b"same" * 32, chunk=64)])
    yield defect("extent-of-a-document-with-a-gap", lambda m: m.chunks[1].fill(offset=m.chunks[1]["offset"] + 8), items=[document("d", noise("d", 100), chunk=50)])


def exchange(m, a, b):
    first, second = m.chunks[a]["offset"], m.chunks[b]["offset"]
    m.chunks[a]["offset"], m.chunks[b]["offset"] = second, first
    first, second = m.chunks[a]["stored_hash"], m.chunks[b]["stored_hash"]
    m.chunks[a]["stored_hash"], m.chunks[b]["stored_hash"] = second, first


def misplaced(name, skew, length, is_document=False):
    """The extent lies `skew` bytes after a multiple of 4096, with the right bytes there."""
    image = Image(f"bad-{name}")
    first = image.store(small(name))
    data = noise(name, length)
    at = image.append(data, 4096, skew)
    item = document("w", data) if is_document else tensor("w", "U8", (length,), data)
    stored = image.store(Bank(BANK_NAME, [item], on_manifest=lambda m: m.chunks[0].fill(offset=at)))
    image.commit([first, stored], "create")
    return image.seed, image.data, refused("manifest-invalid", BANK_NAME)


def geometries():
    def field(name, hook, items=None):
        return defect(f"geometry-{name}", lambda m: hook(m.geometries[0]), items=items)
    flat = Geometry(0, 32, 18, FLAT, (2, 16))
    plain_blocks = lambda g=Q4_0: [tensor("w", g, (2, 32))]
    yield field("block-elements-0", lambda g: g.fill(block_elements=0), plain_blocks())
    yield field("block-elements-0-flat", lambda g: g.fill(block_elements=0), plain_blocks(flat))
    yield field("block-elements-65537", lambda g: g.fill(block_elements=65537), [tensor("w", flat, (0,))])
    yield field("block-elements-max", lambda g: g.fill(block_elements=MAX32), [tensor("w", flat, (0,))])
    yield field("block-elements-one-more", lambda g: g.fill(block_elements=33), plain_blocks())
    yield field("block-elements-half", lambda g: g.fill(block_elements=16), plain_blocks())
    yield field("block-bytes-0", lambda g: g.fill(block_bytes=0), plain_blocks())
    yield field("block-bytes-one-more", lambda g: g.fill(block_bytes=19), [tensor("w", flat, (0,))])
    yield field("block-bytes-one-less", lambda g: g.fill(block_bytes=17), [tensor("w", flat, (0,))])
    yield field("block-bytes-max", lambda g: g.fill(block_bytes=MAX32), [tensor("w", flat, (0,))])
    yield defect("geometry-block-bytes-65537", items=[tensor("w", Geometry(0, 32, 65537, FLAT, (65535, 2)), (0,))])
    yield defect("geometry-fields-sum-wraps-at-2to16", items=[tensor("w", Geometry(0, 32, 18, FLAT, (65535, 19)), (0,))])
    yield field("layout-2", lambda g: g.fill(layout=2), plain_blocks())
    yield field("layout-max", lambda g: g.fill(layout=255), plain_blocks())
    yield field("field-count-0", lambda g: g.fill(field_count=0), plain_blocks())
    yield field("field-count-9", lambda g: g.fill(field_count=9), plain_blocks())
    yield field("field-count-max", lambda g: g.fill(field_count=255), plain_blocks())
    yield field("field-count-one-more", lambda g: g.fill(field_count=3), plain_blocks())
    yield field("field-count-one-less", lambda g: g.fill(field_count=1), plain_blocks())
    yield defect("geometry-field-of-no-bytes", items=[tensor("w", Geometry(0, 32, 18, FLAT, (2, 0, 16)), (32,))])
    yield defect("geometry-first-field-of-no-bytes", items=[tensor("w", Geometry(0, 32, 18, FLAT, (0, 18)), (32,))])
    yield field("width-after-the-last-field", lambda g: g.poke("widths", 14), plain_blocks())
    for key, last in (("reserved1", 1), ("reserved2", 7)):
        yield field(f"{key}-first-byte", lambda g: g.poke(key, 0), plain_blocks())
        yield field(f"{key}-last-byte", lambda g: g.poke(key, last), plain_blocks())
    yield defect("geometry-equal-to-another", items=[tensor("a", Q4_0, (32,)), tensor("b", Q8_0, (32,))], hook=same_geometry)
    yield defect("geometries-not-in-order-of-use", items=[tensor("a", Q8_0, (32,)), tensor("b", Q4_0, (32,))], geometries=[Q4_0, Q8_0])
    yield defect("geometry-unused", items=[tensor("a", Q4_0, (32,))], geometries=[Q4_0, Q8_0])
    yield defect("geometry-unused-without-blocks", items=[tensor("a", "F32", (32,))], geometries=[Q4_0])
    yield defect("geometry-rows-last-dim-not-a-multiple", items=[resized(tensor("w", Q4_0, (2, 32)), (32, 2), 36)])
    yield defect("geometry-rows-last-dim-not-a-multiple-in-an-empty-tensor", items=[resized(tensor("w", Q4_0, (0, 32)), (0, 33), 0)])
    yield defect("geometry-rows-rank-0", items=[resized(tensor("w", Geometry(0, 1, 4, ROWS, (4,)), (1,)), (), 4)])
    yield defect("geometry-256", items=[tensor(f"t{i:03}", Geometry(i, 4, 2, FLAT, (2,)), (0,)) for i in range(255)], hook=two_hundred_fifty_six)


def same_geometry(m):
    """Both entries keep their sizes: the second geometry becomes a copy of the first, and the second tensor is made to fit it."""
    m.data[m.geometries_at + 40:m.geometries_at + 80] = Q4_0.pack()
    m.entries[1].fill(raw_bytes=18, chunk_raw_bytes=18)
    m.chunks[1].fill(stored_length=18, raw_length=18)


def two_hundred_fifty_six(m):
    m.data[m.strings_at:m.strings_at] = Geometry(999, 4, 2, FLAT, (2,)).pack()
    m.strings_at += 40
    m.head.fill(geometry_count=256, total_length=len(m.data))


def names():
    def named(case, *given_names, sort=True, kind="tensor"):
        make = (lambda n: tensor(n, "U8", (1,), b"x")) if kind == "tensor" else (lambda n: document(n, b"x"))
        return defect(f"name-{case}", items=[make(n) for n in given_names], sort=sort)
    yield named("empty", "")
    yield named("empty-document", "", kind="document")
    yield named("1025-bytes", "n" * 1025)
    yield named("1025-bytes-of-513-characters", "é" * 512 + "n")
    for case, text in (("nul", "a\0"), ("newline", "a\nb"), ("carriage-return", "\r"), ("escape", "\x1b[2J"), ("u001f", "\x1f"), ("delete", "\x7f"), ("u0080", "\u0080"),
                       ("u0085", "a\u0085b"), ("u009f", "\u009f")):
        yield named(case, text)
    for case, text in (("latin-1", b"\xe9"), ("overlong-2", b"\xc1\xbf"), ("overlong-3", b"\xe0\x9f\xbf"), ("overlong-4", b"\xf0\x8f\xbf\xbf"), ("surrogate", b"\xed\xbf\xbf"),
                       ("beyond-10ffff", b"\xf4\x90\x80\x80"), ("f5", b"\xf5\x80\x80\x80"), ("ff", b"\xff"), ("cut-off", b"\xf0\x9f\xa7")):
        yield named(f"not-utf8-{case}", text)
    yield named("split-across-two-entries", b"x\xc3", b"\xa9y")
    for case, text in (("dot-dot", ".."), ("dot-dot-first", "../etc/passwd"), ("dot-dot-last", "a/.."), ("dot-dot-within", "files/../../x"), ("dot-dot-after-slash", "/.."),
                       ("dot-dot-before-slash", "../")):
        yield named(case, text)
    yield named("dot-dot-document", "files/../x", kind="document")
    yield named("newline-document", "files/a\n", kind="document")
    yield named("duplicate", "same", "same")
    yield named("duplicate-document", "same", "same", kind="document")
    yield named("unsorted", "b", "a", sort=False)
    yield named("unsorted-document", "b", "a", sort=False, kind="document")
    yield named("unsorted-prefix-second", "ab", "a", sort=False)
    yield named("unsorted-signed-bytes", "é", "z", sort=False)
    yield named("unsorted-utf-16-order", "\U0001f600", "\uff5e", sort=False)
    yield named("unsorted-numeric-order", "t2", "t10", sort=False)
