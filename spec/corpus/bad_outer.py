"""Refused files: length, header, superblocks, root, bank entries, names of banks. Each has one defect; all hashes but the one in question hold."""
from __future__ import annotations

import struct

from coding import ident, raw, zstd
from common import expert
from good_file import grown, small
from image import Image, refused
from writer import COPIES, FIXED_AREA, HEADER, PAGE, SUPERBLOCK, Bank, View, document, tensor

MAX64, MAX32, MAX16 = 2**64 - 1, 2**32 - 1, 2**16 - 1


def cases():
    yield from strangers()
    yield from headers()
    yield from superblocks()
    yield from features()
    yield from roots()
    yield from bank_entries()
    yield from bank_names()


def strangers():
    """Too short, or not an .lmoe at all."""
    image = grown("x", 2)
    for length in (8, 512, 4096, 65535):
        yield f"bad-length-{length}", image.data[:length], refused("truncated")
    for length in (1, 7):
        yield f"bad-length-{length}", image.data[:length], refused("not-lmoe")
    yield "bad-length-0", b"", refused("not-lmoe")
    broken = bytearray(image.data[:60000])
    broken[0] ^= 1
    yield "bad-short-and-without-magic", broken, refused("not-lmoe")
    yield "bad-length-fixed-area-only", image.data[:FIXED_AREA], refused("truncated")
    for name, less in (("last-byte", 1), ("last-page", PAGE), ("last-half-page", PAGE // 2)):
        yield f"bad-cut-off-{name}", image.data[:-less], refused("truncated")
    yield "bad-fixed-area-of-zeros", bytes(FIXED_AREA), refused("not-lmoe")
    yield "bad-fixed-area-of-ff", b"\xff" * (FIXED_AREA + PAGE), refused("not-lmoe")
    head = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  '
    yield "bad-safetensors-short", struct.pack("<Q", len(head)) + head + bytes(8), refused("not-lmoe")
    yield "bad-safetensors-long", struct.pack("<Q", len(head)) + head + bytes(70000), refused("not-lmoe")
    yield "bad-zip", b"PK\x05\x06" + bytes(18), refused("not-lmoe")
    yield "bad-gguf", b"GGUF\x03\0\0\0" + bytes(70000), refused("not-lmoe")
    mangled = bytes(image.data).replace(b"\r\n", b"\n")
    yield "bad-text-mode-crlf-to-lf", mangled, refused("not-lmoe")
    yield "bad-text-mode-lf-to-crlf", bytes(image.data).replace(b"\n", b"\r\n"), refused("not-lmoe")
    yield "bad-text-mode-seven-bits", bytes(b & 0x7F for b in image.data), refused("not-lmoe")
    yield "bad-one-byte-in-front", b"\0" + bytes(image.data), refused("not-lmoe")


def headers():
    def header(name, code, hook):
        image = Image(f"bad-header-{name}", on_header=hook)
        image.commit([image.store(small(name))], "create")
        return image.seed, image.data, refused(code)
    for name, code, fields in (
            ("magic-without-high-bit", "not-lmoe", {"magic": b"\x09LMOE\r\n\x1A"}), ("magic-of-zeros", "not-lmoe", {"magic": bytes(8)}),
            ("magic-lower-case", "not-lmoe", {"magic": b"\x89lmoe\r\n\x1A"}), ("major-0", "unsupported-version", {"major": 0}),
            ("major-2", "unsupported-version", {"major": 2}), ("major-256", "unsupported-version", {"major": 256}), ("major-max", "unsupported-version", {"major": MAX16}),
            ("fixed-area-0", "header-invalid", {"fixed_area": 0}), ("fixed-area-65535", "header-invalid", {"fixed_area": 65535}),
            ("fixed-area-131072", "header-invalid", {"fixed_area": 131072}), ("fixed-area-max", "header-invalid", {"fixed_area": MAX32}),
            ("uuid-zero", "header-invalid", {"file_uuid": bytes(16)}), ("slot0-0", "header-invalid", {"slot0": 0}), ("slot0-4096", "header-invalid", {"slot0": 4096}),
            ("slot1-max", "header-invalid", {"slot1": MAX64}), ("slots-swapped", "header-invalid", {"slot0": 32768, "slot1": 16384}),
            ("slot1-same-as-slot0", "header-invalid", {"slot1": 16384})):
        yield header(name, code, lambda v: v.fill(**fields))
    yield header("reserved-first-byte", "header-invalid", lambda v: v.poke("reserved", 0))
    yield header("reserved-last-byte", "header-invalid", lambda v: v.poke("reserved", 447, 0x80))
    yield header("major-2-and-reserved-in-use", "unsupported-version", lambda v: (v.fill(major=2), v.poke("reserved", 0)))
    image = grown("bad-header-both-copies-damaged", 1)
    image.damage("header-a", "header-b")
    yield image.seed, image.data, refused("header-damaged")
    image = grown("bad-header-both-copies-damaged-in-the-checksum", 1)
    for copy in ("header-a", "header-b"):
        image.data[COPIES[copy] + 511] ^= 1
    yield image.seed, image.data, refused("header-damaged")
    image = grown("bad-header-damaged-second-copy-keeps-its-magic", 1)
    image.damage("header-b")
    image.data[0] ^= 1
    yield image.seed, image.data, refused("header-damaged")
    image = grown("bad-header-both-copies-damaged-in-the-magic", 1)
    image.data[0] ^= 1
    image.data[2048] ^= 1
    yield image.seed, image.data, refused("not-lmoe")
    image = grown("bad-header-both-copies-zeroed", 1)
    image.erase("header-a", "header-b")
    yield image.seed, image.data, refused("not-lmoe")
    for name, code, fields in (("major-2", "unsupported-version", {"major": 2}), ("slot0-0", "header-invalid", {"slot0": 0})):
        image = grown(f"bad-header-first-copy-damaged-second-{name}", 1)
        view = View(image.data, COPIES["header-b"], HEADER).fill(**fields)
        image.seal(view)
        image.damage("header-a")
        yield image.seed, image.data, refused(code)
    image = grown("bad-header-first-copy-invalid-second-good", 1)
    view = View(image.data, 0, HEADER).fill(fixed_area=1)
    image.seal(view)
    yield image.seed, image.data, refused("header-invalid")
    image = grown("bad-header-first-copy-magic-wrong-but-whole", 1)
    view = View(image.data, 0, HEADER).fill(magic=b"\x89LMOF\r\n\x1A")
    image.seal(view)
    yield image.seed, image.data, refused("not-lmoe")


def superblocks():
    def record(name, code="superblock-invalid", hook=None, generation=None, slot=None, **fields):
        image = grown(f"bad-superblock-{name}", 2)
        image.commit([image.store(small(name))], "with a wrong superblock", generation=generation, slot=slot, on_superblock=hook or (lambda v: v.fill(**fields)))
        return image.seed, image.data, refused(code)
    yield record("magic", magic=b"LMOESB2\n")
    yield record("magic-zero", magic=bytes(8))
    yield record("uuid-another", file_uuid=ident("another"))
    yield record("uuid-zero", file_uuid=bytes(16))
    yield record("generation-in-the-wrong-slot", generation=4, slot=1)
    yield record("generation-0", generation=0, slot=0)
    yield record("reserved-first-byte", hook=lambda v: v.poke("reserved", 0))
    yield record("reserved-last-byte", hook=lambda v: v.poke("reserved", 327))
    for name, change in (("committed-end-0", lambda v: 0), ("committed-end-one-more", lambda v: v["committed_end"] + 1), ("committed-end-one-less", lambda v: v["committed_end"] - 1),
                         ("committed-end-a-page-more", lambda v: v["committed_end"] + PAGE), ("committed-end-a-page-less", lambda v: v["committed_end"] - PAGE),
                         ("committed-end-not-padded", lambda v: v["root_offset"] + v["root_length"]), ("committed-end-max", lambda v: MAX64)):
        yield record(name, hook=lambda v: v.fill(committed_end=change(v)))

    def moved(offset, length, end):
        return lambda v: v.fill(root_offset=offset, root_length=length, committed_end=end)
    yield record("root-offset-0", hook=moved(0, 4096, 4096))
    yield record("root-offset-in-the-fixed-area", hook=moved(65536 - 4096, 4096, 65536))
    yield record("root-offset-one-more", hook=lambda v: v.fill(root_offset=v["root_offset"] + 1))
    yield record("root-offset-multiple-of-512-only", hook=lambda v: v.fill(root_offset=v["root_offset"] + 512))
    yield record("root-offset-2to63", hook=moved(2**63, 400, 2**63 + 4096))
    yield record("root-offset-and-length-wrap", hook=moved(2**64 - 4096, 8192, 4096))
    yield record("root-offset-wraps-to-zero", hook=moved(2**64 - 4096, 400, 0))
    yield record("root-length-0", hook=lambda v: v.fill(root_length=0, committed_end=v["root_offset"]))
    yield record("root-length-143", hook=lambda v: v.fill(root_length=143))
    yield record("root-length-64-mib-and-1", hook=lambda v: v.fill(root_length=2**26 + 1, committed_end=v["root_offset"] + 2**26 + 4096))
    yield record("root-length-max", hook=lambda v: v.fill(root_length=MAX64))
    yield record("root-length-wraps-to-the-right-end", hook=lambda v: v.fill(root_length=MAX64 - v["root_offset"] + 1 + 4096, committed_end=4096))
    yield record("root-length-64-mib-beyond-the-file", "truncated", hook=lambda v: v.fill(root_length=2**26, committed_end=v["root_offset"] + 2**26))
    yield record("root-offset-2to62-beyond-the-file", "truncated", hook=moved(2**62, 400, 2**62 + 4096))
    yield record("root-length-one-more", "root-damaged", hook=lambda v: v.fill(root_length=v["root_length"] + 1))
    yield record("root-length-one-less", "root-damaged", hook=lambda v: v.fill(root_length=v["root_length"] - 1))
    yield record("root-length-144", "root-damaged", hook=lambda v: v.fill(root_length=144))
    yield record("root-hash-another", "root-damaged", root_hash=ident("another"))
    yield record("root-hash-zero", "root-damaged", root_hash=bytes(16))
    image = grown("bad-superblock-names-the-parents-root", 2)
    one = image.commits[0]
    image.commit([], "x", on_superblock=lambda v: v.fill(root_offset=one["offset"], root_length=one["length"], root_hash=one["hash"], committed_end=one["end"]))
    yield image.seed, image.data, refused("root-invalid")

    def one_copy(name, copy, generations=2, **fields):
        """Only one copy is altered (its checksum is right)."""
        image = grown(f"bad-superblock-{name}", generations)
        view = View(image.data, COPIES[copy], SUPERBLOCK).fill(**fields)
        image.seal(view)
        return image.seed, image.data, refused("superblock-invalid")
    yield one_copy("copies-of-one-generation-differ-in-writer", "slot0-b", writer=b"somebody else".ljust(64, b"\0"))
    yield one_copy("copies-of-one-generation-differ-in-live-bytes", "slot0-a", live_bytes=1)
    yield one_copy("copies-of-the-older-generation-differ", "slot1-b", commit_ns=7)
    yield one_copy("older-slot-one-copy-of-another-uuid", "slot1-a", file_uuid=ident("another"))
    yield one_copy("older-slot-one-copy-bad-parity", "slot1-b", generation=4)
    yield one_copy("older-slot-one-copy-bad-end", "slot1-b", committed_end=3)
    yield one_copy("second-copy-invalid", "slot0-b", magic=b"LMOEHD1\n")
    image = grown("bad-superblock-slots-swapped", 2)
    zero, one = bytes(image.data[0x4000:0x5000]), bytes(image.data[0x8000:0x9000])
    image.data[0x4000:0x5000], image.data[0x8000:0x9000] = one, zero
    yield image.seed, image.data, refused("superblock-invalid")
    image = grown("bad-superblocks-all-damaged", 3)
    image.damage("slot0-a", "slot0-b", "slot1-a", "slot1-b")
    yield image.seed, image.data, refused("superblocks-damaged")
    image = grown("bad-superblocks-all-damaged-in-the-checksum", 2)
    for copy in ("slot0-a", "slot0-b", "slot1-a", "slot1-b"):
        image.data[COPIES[copy] + 504] ^= 1
    yield image.seed, image.data, refused("superblocks-damaged")
    image = grown("bad-superblocks-all-empty", 2)
    image.erase("slot0-a", "slot0-b", "slot1-a", "slot1-b")
    yield image.seed, image.data, refused("superblocks-damaged")
    image = grown("bad-superblocks-new-file-both-damaged", 1)
    image.damage("slot1-a", "slot1-b")
    yield image.seed, image.data, refused("superblocks-damaged")
    image = grown("bad-superblock-no-fallback-when-truncated", 2)
    yield image.seed, image.data[:image.commits[0]["end"]], refused("truncated")


def features():
    for bit in (0, 1, 63):
        image = grown(f"bad-feature-incompat-bit-{bit}", 2)
        image.commit([image.store(small(""))], "new", features=(0, 0, 1 << bit))
        yield image.seed, image.data, refused("unsupported-feature")
    image = Image("bad-feature-incompat-in-a-new-file")
    image.commit([image.store(small(""))], "create", features=(1, 1, 1))
    yield image.seed, image.data, refused("unsupported-feature")
    # a later version may use reserved bytes; its feature bit comes first
    image = grown("bad-feature-incompat-before-reserved", 2)
    image.commit([image.store(Bank("x", []))], "later", on_superblock=lambda s: (s.fill(incompat=1), s.poke("reserved", 5)))
    yield image.seed, image.data, refused("unsupported-feature")
    image = grown("bad-feature-incompat-before-truncated", 2)
    image.commit([image.store(small(""))], "new", features=(0, 0, 8))
    yield image.seed, image.data[:-PAGE], refused("unsupported-feature")
    image = grown("bad-feature-incompat-before-root-damaged", 2)
    image.commit([image.store(small(""))], "new", features=(0, 0, 8), on_trailer=lambda t: bytes(16))
    yield image.seed, image.data, refused("unsupported-feature")
    for word in ("compat", "ro_compat", "incompat"):
        image = grown(f"bad-feature-{word.replace('_', '-')}-in-the-root-only", 1)
        image.commit([image.store(small(""))], "new", on_root=lambda r: r.head.fill(**{word: 1}))
        yield image.seed, image.data, refused("root-invalid")
    for word in ("compat", "ro_compat"):
        image = grown(f"bad-feature-{word.replace('_', '-')}-in-the-superblock-only", 1)
        image.commit([image.store(small(""))], "new", on_superblock=lambda v: v.fill(**{word: 1}))
        yield image.seed, image.data, refused("root-invalid")


def roots():
    def root(name, code="root-invalid", hook=None, note="root", banks=None, first=None, generation=None, **more):
        image = grown(f"bad-root-{name}", 2)
        stored = [image.store(b) for b in (banks if banks is not None else [small(name), expert("a")])]
        image.commit(stored, note, on_root=hook, generation=generation, **more)
        return image.seed, image.data, refused(code)

    def field(name, **fields):
        return root(name, hook=lambda r: r.head.fill(**fields))
    yield field("magic", magic=b"LMOERT2\n")
    yield field("uuid-another", file_uuid=ident("another"))
    yield field("generation-one-less", generation=2)
    yield field("generation-0", generation=0)
    yield field("commit-ns-differs", commit_ns=1)
    for name, value in (("0", 0), ("max", MAX64)):
        yield field(f"total-length-{name}", total_length=value)
    for name, change in (("one-more", 1), ("one-less", -1), ("plus-2to32", 2**32)):
        yield root(f"total-length-{name}", hook=lambda r: r.head.fill(total_length=r.head["total_length"] + change))
    for value in (0, 1, 3, 65537, MAX32, 2**25 + 2):                       # the last one: 128 * count wraps at 2^32
        yield field(f"bank-count-{value}", bank_count=value)
    yield root("string-bytes-one-more", hook=lambda r: r.head.fill(string_bytes=r.head["string_bytes"] + 1))
    yield root("string-bytes-one-less", hook=lambda r: r.head.fill(string_bytes=r.head["string_bytes"] - 1))
    yield field("string-bytes-0", string_bytes=0)
    yield field("string-bytes-max", string_bytes=MAX32)
    yield field("note-length-max", note_length=MAX32)
    yield field("note-length-one-more", note_length=5)
    yield field("note-length-one-less", note_length=3)
    yield root("note-length-longer-than-strings", hook=lambda r: r.head.fill(note_length=5), banks=[])
    yield root("reserved", hook=lambda r: r.head.poke("reserved", 0))
    yield root("reserved-last-byte", hook=lambda r: r.head.poke("reserved", 3))

    def grow(r, extra=b"x"):
        r.data += extra
        r.head.fill(total_length=len(r.data) + 16, string_bytes=r.head["string_bytes"] + len(extra))
    yield root("strings-not-used-up", hook=grow)

    def gap(r):
        r.data[r.strings_at + 4:r.strings_at + 4] = b"x"                  # between the note and the names
        r.head.fill(total_length=len(r.data) + 16, string_bytes=r.head["string_bytes"] + 1)
        for b in r.banks:
            b["name_offset"] += 1
    yield root("strings-with-a-gap", hook=gap)

    def longer(r):
        r.data += b"12345678"
        r.head.fill(total_length=len(r.data) + 16)
    yield root("bytes-after-the-strings", hook=longer)
    for name, note in (("latin-1", b"caf\xe9"), ("surrogate", b"\xed\xa0\x80"), ("overlong", b"\xc0\xaf"), ("cut-off", b"\xe2\x82"), ("beyond-10ffff", b"\xf4\x90\x80\x80")):
        yield root(f"note-not-utf8-{name}", note=note)

    yield root("note-not-utf8-split-into-a-name", note=b"n\xc3", banks=[Bank(b"\xa9", [])])
    yield field("parent-offset-0-alone", parent_offset=0)
    yield field("parent-length-0-alone", parent_length=0)
    yield field("parent-hash-zero-alone", parent_hash=bytes(16))
    yield field("parent-generation-0-alone", parent_generation=0)
    yield field("parent-generation-same", parent_generation=3)
    yield field("parent-generation-later", parent_generation=4)
    yield field("parent-generation-max", parent_generation=MAX64)
    yield root("parent-offset-misaligned", hook=lambda r: r.head.fill(parent_offset=r.head["parent_offset"] + 8))
    yield field("parent-offset-in-the-fixed-area", parent_offset=61440)
    yield field("parent-offset-wraps", parent_offset=2**64 - 4096, parent_length=8192)
    yield field("parent-offset-2to63", parent_offset=2**63)
    yield field("parent-offset-beyond-the-file", parent_offset=2**40)
    yield field("parent-length-143", parent_length=143)
    yield field("parent-length-64-mib-and-1", parent_length=2**26 + 1)
    yield field("parent-length-max", parent_length=MAX64)
    yield field("parent-length-reaches-the-root", parent_length=16384)

    yield root("parent-is-itself", hook=lambda r: r.head.fill(parent_offset=r.offset))
    for name, fields in (("length", {"parent_length": 200}), ("hash", {"parent_hash": ident("p")}), ("generation", {"parent_generation": 1})):
        image = Image(f"bad-root-without-parent-but-with-its-{name}")
        image.commit([image.store(small(name))], "create", generation=3, on_root=lambda r: r.head.fill(**fields))
        yield image.seed, image.data, refused("root-invalid")
    yield root("trailer-wrong", "root-damaged", on_trailer=lambda t: t[::-1])
    yield root("trailer-last-bit", "root-damaged", on_trailer=lambda t: t[:-1] + bytes([t[-1] ^ 1]))
    image = grown("bad-root-byte-flipped", 3)
    image.data[image.commits[-1]["offset"] + 140] ^= 4
    yield image.seed, image.data, refused("root-damaged")
    image = grown("bad-root-zeroed", 3)
    image.data[image.commits[-1]["offset"]:] = bytes(len(image.data) - image.commits[-1]["offset"])
    yield image.seed, image.data, refused("root-damaged")


def bank_entries():
    def entry(name, hook, which=1, code="root-invalid", bank=None, stored=None):
        image = grown(f"bad-bank-{name}", 1)
        banks = [image.store(b) for b in (small(name), expert("a"))]
        image.commit(banks, "bank", on_root=lambda r: hook(r.banks[which], r))
        return image.seed, image.data, refused(code, bank)

    def field(name, **fields):
        return entry(name, lambda b, r: b.fill(**fields))

    def shift(name, key, by):
        return entry(name, lambda b, r: b.fill(**{key: (b[key] + by) % 2**64}))
    yield field("id-zero", bank_id=bytes(16))
    yield entry("id-of-another-bank", lambda b, r: b.fill(bank_id=r.banks[0]["bank_id"]))
    yield shift("name-offset-one-more", "name_offset", 1)
    yield shift("name-offset-one-less", "name_offset", -1)
    yield field("name-offset-0", name_offset=0)
    yield field("name-offset-max", name_offset=MAX32)
    yield shift("name-length-one-more", "name_length", 1)
    yield shift("name-length-one-less", "name_length", -1)
    yield field("name-length-0", name_length=0)
    yield field("name-length-max", name_length=MAX16)
    yield entry("name-running-sums-overlap", lambda b, r: b.fill(name_offset=r.banks[0]["name_offset"], name_length=r.banks[0]["name_length"] + b["name_length"]))
    yield field("flags-bit-2", flags=6)
    yield field("flags-bit-15", flags=0x8002)
    for key in ("manifest", "card"):
        yield shift(f"{key}-offset-misaligned-1", f"{key}_offset", 1)
        yield shift(f"{key}-offset-misaligned-4", f"{key}_offset", 4)
        yield field(f"{key}-offset-in-the-fixed-area", **{f"{key}_offset": 65528})
        yield field(f"{key}-offset-2to63", **{f"{key}_offset": 2**63})
        yield field(f"{key}-offset-max-aligned", **{f"{key}_offset": 2**64 - 8})
        yield entry(f"{key}-offset-wraps-with-length", lambda b, r: b.fill(**{f"{key}_offset": 2**64 - (-(-b[f"{key}_length"] // 8) * 8)}))
        yield field(f"{key}-length-max", **{f"{key}_length": MAX64})
        yield field(f"{key}-offset-beyond-the-root", **{f"{key}_offset": 2**30})
    yield field("manifest-offset-0", manifest_offset=0)
    yield field("manifest-length-0", manifest_length=0)
    yield field("manifest-length-63", manifest_length=63)
    yield field("manifest-length-256-mib-and-1", manifest_length=2**28 + 1)
    yield field("manifest-reaches-into-the-root", manifest_length=8192)
    yield field("card-offset-0-alone", card_offset=0)
    yield field("card-length-0-alone", card_length=0)
    yield field("card-hash-zero-alone", card_hash=bytes(16))
    yield field("card-length-16-mib-and-1", card_length=2**24 + 1)
    yield field("card-reaches-into-the-root", card_length=8192)
    for key, value in (("card_length", 9), ("card_hash", ident("c"))):
        image = grown(f"bad-bank-no-card-but-{key.replace('_', '-')}", 1)
        image.commit([image.store(Bank("x", []))], "bank", on_root=lambda r: r.banks[0].fill(**{key: value}))
        yield image.seed, image.data, refused("root-invalid")
    for name in ("base", "expert/a", "gate/a"):
        image = grown(f"bad-bank-{name.replace('/', '-')}-without-card", 1)
        image.commit([image.store(Bank(name, [tensor("w", "U8", (1,))]))], "no card")
        yield image.seed, image.data, refused("root-invalid")

    # what a root says and a manifest says differently
    def disagree(name, hook, which=1, bank="expert/a", code="manifest-invalid"):
        return entry(name, hook, which, code, bank)
    for key, values in (("tensor_count", (0, 1, 3, MAX32)), ("document_count", (1, MAX32)), ("logical_bytes", (0, 511, 513, MAX64)), ("stored_bytes", (0, 511, 513, MAX64))):
        for value in values:
            # Sums above 2^47 are refused by the root's own rule, before any manifest is read.
            beyond = value > 2**47
            yield disagree(f"{key.replace('_', '-')}-{'max' if value > 2**31 else value}", lambda b, r: b.fill(**{key: value}),
                           bank=None if beyond else "expert/a", code="root-invalid" if beyond else "manifest-invalid")
    for key in ("logical_bytes", "stored_bytes"):
        word = key.replace("_", "-")
        yield disagree(f"{word}-2to47", lambda b, r: b.fill(**{key: 2**47}))
        yield disagree(f"{word}-2to47-and-one", lambda b, r: b.fill(**{key: 2**47 + 1}), bank=None, code="root-invalid")
    yield disagree("document-count-0-of-1", lambda b, r: b.fill(document_count=0), 0, "base")
    yield disagree("counts-swapped", lambda b, r: b.fill(tensor_count=b["document_count"], document_count=b["tensor_count"]))
    yield disagree("content-id-another", lambda b, r: b.fill(content_id=ident("another")))
    yield disagree("content-id-zero", lambda b, r: b.fill(content_id=bytes(16)))
    yield disagree("content-id-of-no-tensors", lambda b, r: b.fill(content_id=bytes.fromhex("99aa06d3014798d86001c324468d497f")))
    yield disagree("raw-flag-missing", lambda b, r: b.fill(flags=0))
    yield disagree("external-flag-and-chunks", lambda b, r: b.fill(flags=1))
    for name, bank, flags in (
            ("external-and-raw-flags", Bank("x", [tensor("w", "F32", (3,), external=True)], external=True), 3),
            ("external-and-raw-flags-without-tensors", Bank("x", [], external=True), 3),
            ("raw-flag-missing-without-tensors", Bank("x", []), 0),
            ("raw-flag-missing-with-empty-tensors-only", Bank("x", [tensor("w", "F32", (0,))]), 0),
            ("raw-flag-missing-with-a-zstd-document", Bank("x", [tensor("w", "F32", (3,)), document("d", bytes(99), codec=zstd())]), 0),
            ("raw-flag-on-zstd", Bank("x", [tensor("w", "F32", (99,), bytes(396), codec=zstd())]), 2),
            ("raw-flag-on-one-zstd-chunk-of-many", Bank("x", [tensor("a", "F32", (9,)), tensor("w", "F32", (99,), bytes(396), codec=[raw, zstd(), raw], chunk=132)]), 2)):
        image = grown(f"bad-bank-{name}", 1)
        image.commit([image.store(bank)], "flags", on_root=lambda r: r.banks[0].fill(flags=flags))
        yield image.seed, image.data, refused("root-invalid") if flags == 3 else refused("manifest-invalid", "x")
    yield disagree("manifest-hash-another", lambda b, r: b.fill(manifest_hash=ident("another")), code="manifest-damaged")
    yield disagree("manifest-hash-zero", lambda b, r: b.fill(manifest_hash=bytes(16)), code="manifest-damaged")
    yield disagree("manifest-length-one-more", lambda b, r: b.fill(manifest_length=b["manifest_length"] + 1), code="manifest-damaged")
    yield disagree("manifest-length-64", lambda b, r: b.fill(manifest_length=64), code="manifest-damaged")
    yield disagree("card-hash-another", lambda b, r: b.fill(card_hash=ident("another")), code="card-damaged")
    yield disagree("card-length-one-less", lambda b, r: b.fill(card_length=b["card_length"] - 1), code="card-damaged")


    # the names that the known kinds may have
    for name in ("base/x", "base/", "expert", "expert/", "gate", "gate/"):
        image = grown(f"bad-bank-kind-{name.replace('/', '-slash-').strip('-')}", 1)
        image.commit([image.store(Bank(name, [], card={"card": 1, "kind": "base"}))], "kind")
        yield image.seed, image.data, refused("root-invalid")


def bank_names():
    def named(case, *names, sort=True, code="root-invalid"):
        image = grown(f"bad-bank-name-{case}", 1)
        image.commit([image.store(Bank(n, [], id=ident(f"{i} {n!r}"))) for i, n in enumerate(names)], "names", sort=sort)
        return image.seed, image.data, refused(code)
    yield named("empty", "")
    yield named("1025-bytes", "k" * 1025)
    yield named("65535-bytes", "k" * 65535)
    yield named("nul", "a\0b")
    yield named("newline", "a\nb")
    yield named("tab", "a\tb")
    yield named("escape", "a\x1b[31mb")
    yield named("unit-separator", "\x1f")
    yield named("delete", "a\x7f")
    yield named("u0080", "a\u0080")
    yield named("u0085", "a\u0085b")
    yield named("u009f", "\u009f")
    yield named("latin-1", b"caf\xe9")
    yield named("overlong-slash", b"a\xc0\xafb")
    yield named("overlong-nul", b"a\xc0\x80b")
    yield named("surrogate", b"\xed\xa0\x80")
    yield named("surrogate-pair", b"\xed\xa0\xbd\xed\xb7\xaa")
    yield named("beyond-10ffff", b"\xf4\x90\x80\x80")
    yield named("five-bytes", b"\xf8\x88\x80\x80\x80")
    yield named("cut-off", b"a\xe2\x82")
    yield named("continuation-alone", b"\x80")
    yield named("split-across-two-names", b"x\xc3", b"\xa9y")
    yield named("dot-dot", "..")
    yield named("dot-dot-first", "../a")
    yield named("dot-dot-last", "a/..")
    yield named("dot-dot-within", "a/../b")
    yield named("duplicate", "same", "same")
    yield named("unsorted", "b", "a", sort=False)
    yield named("unsorted-prefix-second", "a/b", "a", sort=False)
    yield named("sorted-as-signed-bytes", "\u00e9", "z", sort=False)
    yield named("sorted-as-utf-16", "\U0001f600", "\uff5e", sort=False)
    yield named("sorted-ignoring-case", "a", "B", sort=False)
