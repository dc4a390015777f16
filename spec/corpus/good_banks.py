"""Accepted files: what can stand in a bank. Tensors, codecs, documents, names, cards."""
from __future__ import annotations

import struct

from coding import (DTYPES, PLANES, ROTATE_SPLIT, SPLIT, STRUCT_SPLIT, ZSTD, block, given, hand_frame, noise, planes, raw, weights, zstd, zstd_frame)
from common import CONFIG, base, base_card, expert, expert_card, gate, gate_card, lora, mixed_entries, single
from image import Image
from writer import FLAT, Q4_0, Q4_K, Q6_K, Q8_0, ROWS, Bank, Geometry, document, tensor

FLOATS = ("F64", "F32", "F16", "BF16")


def cases():
    yield from dtypes()
    yield from codecs()
    yield from frames()
    yield from blocks()
    yield from documents()
    yield from names()
    yield from kinds()
    yield from cards()


def dtypes():
    for name in DTYPES:
        yield single(f"dtype-{name.lower().replace('_', '-')}", base(
            tensor("rank0", name, ()), tensor("rank1", name, (7,)), tensor("rank2", name, (3, 5)), tensor("rank3", name, (2, 3, 4)),
            tensor("rank8", name, (1, 2, 1, 3, 1, 2, 1, 2))))
    yield single("shape-zero-dims", base(
        tensor("all-zero", "F32", (0, 0, 0)), tensor("first", "F32", (0, 4)), tensor("last", "BF16", (4, 0)), tensor("only", "I8", (0,)),
        tensor("rank8", "F64", (2, 2, 2, 2, 0, 2, 2, 2)), tensor("with-data", "F32", (2, 2))))
    yield single("shape-zero-dim-excuses-up-to-the-limit", base(
        tensor("dim-2to40", "U8", (2**40, 0)), tensor("product-2to46", "F64", (2**40, 0, 64)), tensor("eight", "U8", (0, 2**23, 1, 2**23, 1, 1, 1, 1))))
    yield single("shape-all-tensors-empty", base(tensor("a", "F32", (0,)), tensor("b", "BF16", (3, 0))))
    yield single("shape-ones", base(tensor("eight-ones", "U16", (1,) * 8), tensor("one", "BOOL", (1,), b"\x01")))
    yield single("values-nan-payloads-and-signed-zeros", base(
        tensor("f32", "F32", (6,), struct.pack("<6I", 0x7FC00001, 0xFFC12345, 0x7F800001, 0x80000000, 0x00000001, 0xFF800000), codec=raw),
        tensor("f16", "F16", (4,), struct.pack("<4H", 0x7E01, 0xFC01, 0x8000, 0x03FF)),
        tensor("f64", "F64", (3,), struct.pack("<3Q", 0x7FF0000000000001, 0xFFF8DEADBEEF0001, 1 << 63)),
        tensor("bf16-rotated", "BF16", (64,), struct.pack("<64H", *[0x7FC1, 0xFFC1, 0x8000, 0x0001, 0x7F80, 0xFF80, 0x7F81, 0xFFFF] * 8),
               codec=planes(ROTATE_SPLIT, "zstd")),
        tensor("f8", "F8_E4M3", (4,), b"\x7f\xff\x80\x01"), tensor("bool-other-bytes", "BOOL", (6,), b"\x00\x01\x02\x7f\x80\xff")))


def codecs():
    for name in FLOATS:
        yield single(f"planes-rotate-{name.lower()}", base(
            tensor("auto", name, (16, 32), weights(name, name, 64) * 8, codec=planes(ROTATE_SPLIT)),
            tensor("constant", name, (64,), b"\x01\x80\x3f\xbf\x55\xaa\x00\xff"[:DTYPES[name][1]] * 64, codec=planes(ROTATE_SPLIT, "const")),
            tensor("short-last-chunk", name, (500,), weights(name, name, 20) * 25, codec=planes(ROTATE_SPLIT), chunk=200 * DTYPES[name][1])))
    for name in ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"):
        width = DTYPES[name][1]
        yield single(f"planes-split-{name.lower().replace('_', '-')}", base(
            tensor("auto", name, (16, 16), (weights("s", name, 256 // 8) * 8) if width == 1 else weights("s", name, 256), codec=planes(SPLIT)),
            tensor("constant", name, (128,), bytes(range(17, 17 + width)) * 128, codec=planes(SPLIT, "const"))))
    sparse = b"".join(bytes([0, i % 3, (i * 7) % 256, 0x3F]) for i in range(256))
    yield single("planes-all-modes-in-one-chunk", base(tensor("w", "F32", (256,), sparse, codec=planes(SPLIT, ["const", "zstd", "raw", "const"]))))
    yield single("planes-modes-differ-by-chunk", base(tensor("w", "F32", (1024,), sparse * 4, codec=[
        planes(SPLIT, ["const", "zstd", "raw", "const"]), planes(SPLIT, ["raw", "zstd", "raw", "const"]), planes(SPLIT, ["const", "raw", "raw", "const"]),
        planes(SPLIT)], chunk=1024)))
    yield single("planes-constant-of-one-element-planes-in-short-chunk", base(tensor("w", "U8", (130,), b"\x2A" * 130, codec=[planes(SPLIT, "const"), raw], chunk=129)))
    yield single("planes-low-byte-counts-up", base(tensor("w", "U16", (64,), b"".join(bytes([i, 5]) for i in range(64)), codec=planes(SPLIT, ["raw", "zstd"]))))
    # a chunk and a plane that save exactly one byte: the largest stored_length and the largest length[p] that are allowed
    thirteen = lambda n: hand_frame(n, block(b"\0", True, 1, n))              # 13 bytes for any n
    yield single("zstd-stored-one-byte-less-than-raw", base(tensor("w", "U8", (14,), bytes(14), codec=given(thirteen(14)))))
    yield single("planes-stored-one-byte-less-than-raw", base(tensor("w", "U8", (19,), bytes(19), codec=planes(SPLIT, "raw", lambda _: [(1, thirteen(19))]))))
    yield single("planes-zstd-plane-one-byte-less-than-raw", base(
        tensor("w", "U16", (14,), b"\0\7" * 14, codec=planes(SPLIT, "const", lambda parts: [(1, thirteen(14)), parts[1]]))))
    yield single("planes-chunk-of-16-mib", base(tensor("w", "U8", (2**24 + 3,), b"\x07" * (2**24 + 3), codec=[planes(SPLIT, "const"), raw], chunk=2**24)))
    yield single("chunk-sizes-not-powers-of-two", base(
        tensor("f32-chunks-of-12", "F32", (10,), chunk=12), tensor("u8-chunks-of-1", "U8", (5,), chunk=1), tensor("u8-chunks-of-7", "U8", (20,), chunk=7),
        tensor("i64-chunks-of-24", "I64", (7,), chunk=24), tensor("zstd-chunks-of-333", "U8", (1000,), b"abc" * 333 + b"d", codec=[zstd(), zstd(), zstd(), raw], chunk=333),
        tensor("planes-chunks-of-90", "BF16", (100,), b"\x80\x3f" * 100, codec=planes(SPLIT), chunk=90)))
    yield single("chunk-exact-multiple-no-short-last", base(tensor("w", "F32", (64,), chunk=64)))
    yield single("chunk-as-long-as-the-tensor", base(tensor("w", "F32", (64,), chunk=256)))
    yield single("chunk-last-of-one-element", base(tensor("w", "F16", (65,), chunk=128), tensor("z", "I16", (1025,), b"\1\0" * 1025, codec=[zstd(), raw], chunk=2048)))
    yield single("chunks-many", base(tensor("w", "U8", (300,), chunk=1)))
    yield single("codecs-mixed-in-one-tensor", base(tensor("w", "F32", (1024,), sparse * 4, codec=[raw, zstd(), planes(SPLIT), raw], chunk=1024)))
    yield single("codecs-mixed-raw-chunk-at-odd-offset", base(tensor("w", "F32", (768,), sparse * 3, codec=[raw, zstd(), raw], chunk=1024, odd=True)))
    yield single("codecs-raw-chunks-first-and-last-not-contiguous", base(tensor("w", "U8", (3000,), b"\0" * 3000, codec=[raw, zstd(), raw], chunk=1000)))
    for level in (-5, 1, 19):
        yield single(f"zstd-level-{'minus-5' if level < 0 else level}", base(tensor("w", "F32", (16, 64), weights("lvl", "F32", 128) * 8, codec=zstd(level), chunk=3000)))
    for name in ("F64", "BF16", "I8", "BOOL"):
        yield single(f"zstd-{name.lower()}", base(tensor("w", name, (512,), weights("z", name, 16) * 32, codec=zstd(), chunk=200 * DTYPES[name][1])))
    for align in (64, 256, 4096):
        yield single(f"raw-extent-aligned-{align}", base(tensor("small", "F32", (5,), align=align), tensor("three-chunks", "F32", (30,), chunk=48, align=align)))
    yield single("raw-extent-of-4095-bytes-at-64", base(tensor("a", "U8", (1,)), tensor("b", "U8", (4095,), align=64)))
    yield single("raw-extent-of-4096-bytes-at-256", base(tensor("a", "U8", (1,)), tensor("b", "U8", (4096,), align=256), tensor("c", "U8", (5000,), chunk=999)))
    yield single("raw-extent-in-many-chunks", base(tensor("w", "F64", (100,), chunk=8)))
    yield single("tensors-of-every-codec", base(*mixed_entries()))


def frames():
    def zframe(name, data, stored):
        return single(name, base(tensor("w", "U8", (len(data),), data, codec=given(stored))))
    zeros = b"\0" * 300
    yield zframe("zstd-frame-with-checksum", b"abcd" * 100, zstd_frame(b"abcd" * 100, checksum=True))
    yield zframe("zstd-frame-rle-block", zeros, hand_frame(300, block(b"\0", True, 1, 300)))
    yield zframe("zstd-frame-rle-block-with-checksum", zeros, hand_frame(300, block(b"\0", True, 1, 300), checksum_of=zeros))
    yield zframe("zstd-frame-two-blocks", b"\1" * 200 + b"\2" * 100, hand_frame(300, block(b"\1", False, 1, 200) + block(b"\2", True, 1, 100)))
    yield zframe("zstd-frame-empty-last-block", zeros, hand_frame(300, block(b"\0", False, 1, 300) + block(b"", True, 0, 0)))
    yield zframe("zstd-frame-content-size-of-1-byte", b"\5" * 255, ONE_BYTE_SIZE)
    yield zframe("zstd-frame-content-size-of-2-bytes", zeros, hand_frame(300, block(b"\0", True, 1, 300), size_bytes=2))
    yield zframe("zstd-frame-content-size-of-8-bytes", zeros, hand_frame(300, block(b"\0", True, 1, 300), size_bytes=8))
    yield zframe("zstd-frame-with-window-descriptor", zeros, hand_frame(300, block(b"\0", True, 1, 300), single=False, window=0x58))
    yield zframe("zstd-frame-raw-and-rle-blocks", b"raw!" + zeros, hand_frame(304, block(b"raw!", False) + block(b"\0", True, 1, 300)))


# single segment with size_bytes 0 has a content size of one byte
ONE_BYTE_SIZE = b"\x28\xB5\x2F\xFD\x20\xFF" + block(b"\5", True, 1, 255)


ESCAPES = r'{"card":1,"kind":"b\u0061se","t":"\"\\\/\b\f\n\r\t\u0000\u001f\u007F\u00e9\ud83e\uddea","\u006bey":1}'


def blocks():
    for name, g in (("q4-0", Q4_0), ("q8-0", Q8_0), ("q4-k", Q4_K), ("q6-k", Q6_K)):
        yield single(f"block-{name}", base(
            tensor("one-block", g, (g.elements,)), tensor("rows", g, (3, 2 * g.elements)), tensor("cube", g, (2, 1, g.elements)),
            tensor("planes", g, (8, g.elements), noise(name, g.bytes) * 8, codec=planes(STRUCT_SPLIT)),
            tensor("zstd", g, (8, g.elements), noise(name, g.bytes) * 8, codec=zstd()),
            tensor("chunked", g, (5, g.elements), noise(name + "c", g.bytes) * 5, codec=[zstd(), zstd(), raw], chunk=2 * g.bytes)))
    opaque = Geometry(0, 10, 7, FLAT, (3, 4))
    yield single("block-flat-last-block-partly-used", base(
        tensor("exact", opaque, (20,)), tensor("one-more", opaque, (21,)), tensor("one-less", opaque, (19,)), tensor("matrix", opaque, (3, 7)), tensor("one", opaque, (1,))))
    yield single("block-flat-rank-0", base(tensor("scalar", opaque, ())))
    yield single("block-flat-planes-chunked", base(tensor("w", opaque, (1295,), bytes([1, 2, 3, 9, 9, 9, 9]) * 130, codec=planes(STRUCT_SPLIT, "auto"), chunk=7 * 33)))
    yield single("block-scheme-unknown", base(tensor("w", Geometry(0xFFFFFFFF, 3, 5, FLAT, (5,)), (9,)), tensor("x", Geometry(1000, 3, 5, ROWS, (5,)), (2, 3))))
    yield single("block-one-element-one-byte", base(tensor("w", Geometry(0, 1, 1, ROWS, (1,)), (5,)), tensor("v", Geometry(0, 1, 1, FLAT, (1,)), (2, 2))))
    yield single("block-eight-fields", base(tensor("w", Geometry(0, 16, 36, ROWS, (1, 2, 3, 4, 5, 6, 7, 8)), (40, 16), bytes(range(36)) * 40, codec=planes(STRUCT_SPLIT))))
    wide = Geometry(0, 65536, 65536, FLAT, (65535, 1))
    yield single("block-largest", base(tensor("w", wide, (65537,), b"\x11" * 65535 + b"\x22" + b"\x11" * 65535 + b"\x22", codec=planes(STRUCT_SPLIT, "const"), chunk=131072)))
    yield single("block-empty", base(tensor("rows", Q4_0, (0, 32)), tensor("rows-last-zero", Q4_0, (3, 0)), tensor("flat", opaque, (0,)), tensor("some", Q4_0, (1, 32))))
    yield single("block-several-geometries", base(tensor("a", Q8_0, (32,)), tensor("b", Q4_0, (32,)), tensor("c", Q8_0, (2, 32)), tensor("d", opaque, (4,))))
    yield single("block-geometries-differ-in-layout-only", base(tensor("a", Geometry(0, 4, 2, ROWS, (2,)), (2, 4)), tensor("b", Geometry(0, 4, 2, FLAT, (2,)), (2, 4))))
    yield single("block-255-geometries", Bank("many", [tensor(f"t{i:03}", Geometry(i, 1 + i, 2, FLAT, (2,)), (0,) if i % 2 else (1,)) for i in range(255)]))


def documents():
    yield single("documents-raw-zstd-empty", base(
        tensor("w", "F32", (4,)), document("files/config.json", CONFIG), document("files/empty.txt", b""),
        document("files/tokenizer.json", b'{"a": "b"}\n' * 200, codec=zstd(), chunk=900), document("safetensors/model.safetensors", b"\x02\0\0\0\0\0\0\0{}")))
    yield single("documents-only", base(document("files/README.md", b"# nothing but this\n")))
    yield single("documents-zstd-do-not-clear-the-raw-flag", base(tensor("w", "F32", (4,)), document("files/big.txt", b"tiny " * 300, codec=zstd())))
    yield single("documents-raw-do-not-set-the-raw-flag", base(tensor("w", "U8", (400,), b"q" * 400, codec=zstd()), document("files/a.txt", b"plain")))
    yield single("documents-chunked-and-mixed", base(document("files/mixed", b"a" * 500 + noise("m", 500) + b"b" * 77, codec=[zstd(), raw, zstd()], chunk=500),
                                                     document("files/raw-chunks", noise("r", 1000), chunk=300)))
    yield single("documents-not-text", base(document("files/bytes.bin", bytes(range(256))), document("files/not-utf8", b"\xff\xfe\x00")))
    yield single("document-and-tensor-of-one-name", base(tensor("same", "U8", (4,), b"doc!"), document("same", b"doc!"), tensor("zz", "U8", (1,)), document("aa", b"")))
    yield single("documents-sorted-after-all-tensors", base(tensor("zzz", "U8", (1,)), tensor("aaa", "U8", (1,)), document("aaa0", b"1"), document("Z", b"2")))


def names():
    scripts = ["Ελληνικά", "кириллица", "漢字かな", "한국어", "עברית", "العربية", "हिन्दी", "emoji-🧪🦙", "ligature-ﬁ", "math-𝔐𝔬𝔈", "ß", "İı", "\u00a0nbsp", "line\u2028separator",
               "bom\ufeffinside", "bidi\u202eoverride", "nonchar\ufffe\uffff", "plane16-\U0010ffff", "zero\u200bwidth"]
    yield single("names-scripts", base(*[tensor(n, "U8", (1,), bytes([i])) for i, n in enumerate(scripts)], *[document("files/" + n, bytes([i])) for i, n in enumerate(scripts)]),
                 Bank("expert/数学", list(lora("m")), expert_card()), Bank("данные", []))
    pairs = ["caf\u00e9", "cafe\u0301", "\u212b", "\u00c5", "A\u030a", "\uac00", "\u1100\u1161", "\u1e69", "s\u0323\u0307", "s\u0307\u0323"]
    yield single("names-canonically-equivalent-pairs", base(*[tensor(n, "U8", (1,), bytes([i])) for i, n in enumerate(pairs)], *[document(n, bytes([i])) for i, n in enumerate(pairs)]),
                 *[Bank("expert/" + n, [], expert_card()) for n in pairs])
    yield single("names-1024-bytes", base(tensor("n" * 1024, "U8", (1,)), tensor("é" * 512, "U8", (1,)), document("d" * 1024, b"x")), Bank("k" * 1024, []), Bank("🧪" * 256, []))
    yield single("names-one-byte", base(*[tensor(n, "U8", (1,)) for n in " !.A~/"]), Bank(".", []), Bank("/", []), Bank(" ", []))
    yield single("names-slashes-and-dots", base(*[tensor(n, "U8", (1,)) for n in ("a/b", "/a", "a/", "a//b", "//", ".", "./a", "a/.", "...", "a/.../b", "..a", "a..", "a/..b", "a../b", ". .", "\\..\\")]),
                 Bank("x/y/z", []), Bank("x//", []), Bank("x/...", []))
    yield single("names-prefix-order", base(*[tensor(n, "U8", (1,)) for n in ("a", "a!", "a/", "a/b", "a0", "aa", "B", "\u00e9", "\uffee", "\U00010000")]))
    yield single("names-utf16-order-differs-from-bytes", base(tensor("\uff5e", "U8", (1,)), tensor("\U0001f600", "U8", (1,))), Bank("k/\uff5e", []), Bank("k/\U0001f600", []))
    yield single("names-looking-like-escapes", base(*[tensor(n, "U8", (1,)) for n in ("%2e%2e/%00", "\\u0000", "a\\nb", '"quoted"', "$(x)", "C:\\con", "~", "-rf", "*?")]))


def kinds():
    yield single("empty-file-no-banks", note="nothing yet")
    yield single("bank-without-entries", Bank("thing", []), base())
    yield single("bundle-base-experts-gates", base(*mixed_entries()), expert("math"), expert("code", *lora("code", planes(ROTATE_SPLIT, "auto"))),
                 gate("uniform"), gate("fixed", card=gate_card(weights=[{"expert": "0" * 32, "weight": 0.25}, {"expert": "1" * 32, "weight": 0.75}], members=[
                     {"expert": "0" * 32, "role": "routed"}, {"expert": "1" * 32, "role": "always"}])),
                 gate("learned", tensor("0123456789abcdef0123456789abcdef/0", "F32", (1, 8)), tensor("0" * 32 + "/0", "F32", (1, 8)),
                      card=gate_card(score="linear", input="embedding", normaliser="top-k-renormalised", k=2, temperature=0.5, mask="tag")))
    yield single("gate-uniform-without-tensors", gate("uniform"))
    yield single("banks-40", *[expert(f"e{i:02}", tensor("w", "U8", (3,), bytes([i, i, i]))) for i in range(40)])
    yield single("bank-names-in-byte-order", *[Bank(n, []) for n in ("z", "A", "a", "a/b", "a-b", "a0", "Z/z")])
    yield single("kind-unknown-without-card", Bank("vision", [tensor("w", "F32", (4,))]), Bank("vision/tower", [document("x", b"y")]))
    yield single("kind-unknown-with-card", Bank("optimizer/adam", [tensor("m", "F32", (4,))], {"card": 7, "kind": "optimizer", "anything": [1, None, {"a": {}}]}), base())
    yield single("kind-unknown-card-empty-object", Bank("notes", [], {}))
    yield single("kinds-that-only-begin-like-known-ones", *[Bank(n, []) for n in ("basement", "Base", "bases/x", "experts/x", "exper/t", "gates", "gate2/x", " base")])
    external = [tensor("model.embed", "BF16", (1000, 64), external=True), tensor("model.head", "F32", (3,), external=True), tensor("q", Q4_K, (2, 256), external=True)]
    yield single("external-base", base(*external, external=True))
    yield single("external-base-with-documents", base(*external, document("files/config.json", CONFIG), document("files/t", b"t" * 400, codec=zstd()), external=True), expert("math"))
    yield single("external-without-tensors", base(external=True), Bank("x", [document("d", b"1")], external=True))
    yield single("external-largest-sizes", base(
        tensor("bytes-2to46", "U8", (2**40, 64), external=True), tensor("bytes-2to46-f64", "F64", (2**40, 8), external=True), external=True))
    yield single("external-largest-dims", base(
        tensor("dim-2to40", "U8", (2**40,), external=True),
        tensor("eight-dims", "U8", (2**6,) * 6 + (2**5, 2**5), external=True),
        tensor("blocks-of-2to46-elements", Geometry(0, 65536, 1, FLAT, (1,)), (2**23, 2**23), external=True), external=True))
    yield single("external-and-stored-banks", base(*external, external=True), Bank("copy", mixed_entries()))

    name = "deduplicated-within-a-bank"
    image = Image(name, dedupe=True)
    same, big = noise("same", 100), noise("big", 5000)
    bank = base(tensor("lm_head", "U8", (10, 10), same), tensor("embed", "U8", (100,), same), tensor("chunked", "U8", (100,), same, chunk=33), tensor("as-i16", "I16", (50,), same),
                tensor("z1", "F32", (256,), b"\0\0\x80\x3f" * 256, codec=zstd()), tensor("z2", "I32", (256,), b"\0\0\x80\x3f" * 256, codec=zstd()),
                tensor("big1", "U8", (5000,), big), tensor("big2", "U8", (5000,), big), document("files/same", same))
    image.commit([image.store(bank)], "tied")
    yield name, image.data, image.expect()

    name = "deduplicated-chunk-repeated-within-a-tensor"
    image = Image(name, dedupe=True)
    image.commit([image.store(base(tensor("w", "U8", (4000,), b"\1" * 4000, codec=zstd(), chunk=1000)))], "one chunk four times")
    yield name, image.data, image.expect()

    name = "deduplicated-across-banks-and-generations"
    image = Image(name, dedupe=True)
    first = image.store(base(*mixed_entries()))
    second = image.store(Bank("copy", mixed_entries()))
    image.commit([first, second], "two banks of one content")
    third = image.store(Bank("copy/later", mixed_entries(), {"again": True}))
    image.commit([first, second, third], "a third")
    yield name, image.data, image.expect()

    name = "deduplicated-manifest-shared-by-two-banks"
    image = Image(name)
    first = image.store(Bank("x/one", mixed_entries()))
    second = first.renamed("x/two").altered(bank_id=noise("second", 16))
    second.json["id"] = noise("second", 16).hex()
    image.commit([first, second], "two entries, one manifest")
    yield name, image.data, image.expect()


def nested_arrays(depth: int) -> list:
    return [nested_arrays(depth - 1)] if depth > 1 else []


def cards():
    def card(name, data, meant):
        data = data if isinstance(data, bytes) else data.encode()
        return single(f"card-{name}", base(tensor("w", "U8", (1,)), card=data, card_json=meant))
    yield single("card-unknown-fields", base(card=base_card(future={"x": [1, 2, {"y": None}]}, zzz=True)), expert("m", card=expert_card(licence="Apache-2.0", rank_pattern={})),
                 gate("g", card=gate_card(calibration=[0.5, 1e-3])))
    yield single("card-non-ascii-text", base(card=base_card(architecture="模型", note="naïve 🧪 \u2028 \x7f \ufffe")))
    yield card("white-space-around-and-within", ' \t\r\n{ "card" : 1 ,\n\t"kind" :\r"base", "a" : [ ] , "o" : { } } \n', {"card": 1, "kind": "base", "a": [], "o": {}})
    yield card("escapes", ESCAPES,
               {"card": 1, "kind": "base", "t": "\"\\/\b\f\n\r\t\0\x1f\x7f\u00e9\U0001f9ea", "key": 1})
    yield card("keys-canonically-equivalent-are-two", '{"card":1,"kind":"base","caf\u00e9":1,"cafe\u0301":2,"\u212b":3,"\u00c5":4}',
               {"card": 1, "kind": "base", "caf\u00e9": 1, "cafe\u0301": 2, "\u212b": 3, "\u00c5": 4})
    yield card("same-key-in-different-objects", '{"card":1,"kind":"base","a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}', {"card": 1, "kind": "base", "a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 2}]})
    yield card("empty-key", '{"":"","card":1,"kind":"base"}', {"": "", "card": 1, "kind": "base"})
    nested = {"leaf": 1}
    for _ in range(62):
        nested = {"n": nested}
    yield single("card-nesting-64-objects", base(card={"card": 1, "kind": "base", "deep": nested}))
    yield card("nesting-64-arrays", '{"card":1,"kind":"base","deep":' + "[" * 63 + "]" * 63 + "}", {"card": 1, "kind": "base", "deep": nested_arrays(63)})
    yield card("many-siblings-are-not-deep", '{"card":1,"kind":"base","a":[' + "[]," * 200 + "{}]}", {"card": 1, "kind": "base", "a": [[]] * 200 + [{}]})
    yield card("numbers", '{"card":1,"kind":"base","n":[0,1,-1,9007199254740993,9223372036854775807,-9223372036854775808,0.5,1.5e3,25E-2,1e+2,123.456]}',
               {"card": 1, "kind": "base", "n": [0, 1, -1, 9007199254740993, 9223372036854775807, -9223372036854775808, 0.5, 1500.0, 0.25, 100.0, 123.456]})
    yield card("literals", '{"card":1,"kind":"base","l":[true,false,null]}', {"card": 1, "kind": "base", "l": [True, False, None]})
    yield card("bom-character-inside-text", '{"card":1,"kind":"base","t":"\ufeff"}', {"card": 1, "kind": "base", "t": "\ufeff"})
    yield card("fields-in-another-order", '{"kind":"base","provenance":{},"card":1}', {"kind": "base", "provenance": {}, "card": 1})
    yield single("card-at-a-padded-offset", base(tensor("w", "U8", (3,)), card_align=4096, manifest_align=512))
