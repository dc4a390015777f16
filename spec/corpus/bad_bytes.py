"""Refused files: the bytes of chunks, content hashes, cards; and which of several errors comes first."""
from __future__ import annotations

from coding import (PLANES, ROTATE_SPLIT, SPLIT, STRUCT_SPLIT, block, given, hand_frame, hash128, ident, join_planes, noise, planes, zstd, zstd_frame)
from common import base
from good_file import small
from image import Image, refused
from writer import Q4_0, Bank, document, tensor

BANK_NAME, ENTRY = "tested/bank", "entry"
ZEROS = bytes(300)
SKIPPABLE = b"\x50\x2A\x4D\x18\x04\0\0\0skip"


def cases():
    yield from hashes()
    yield from frames()
    yield from plane_chunks()
    yield from cards()
    yield from order()


def file_of(name, item, code, on_manifest=None, entry: str | None = ENTRY):
    """A good base, and a bank with the entry in question between two good ones."""
    image = Image(f"bad-{name}")
    bank = Bank(BANK_NAME, [tensor("aaa", "F32", (3,)), item, tensor("zzz", "U8", (3,)), document("zzz", b"z")], on_manifest=on_manifest)
    image.commit([image.store(small(name)), image.store(bank)], "create")
    return image.seed, image.data, refused(code, BANK_NAME, entry)


def hashes():
    def flipped(name, item, code="chunk-damaged", which=1, at=0):
        image = Image(f"bad-{name}")
        places = []
        def remember(m):
            places.extend(m.chunks_of(m.entries[which])[-1][key] for key in ("offset", "stored_length"))
        bank = Bank(BANK_NAME, [tensor("aaa", "F32", (3,)), item, tensor("zzz", "U8", (3,)), document("zzz", b"z")], on_manifest=remember)
        image.commit([image.store(small(name)), image.store(bank)], "create")
        image.data[places[0] + (at % places[1])] ^= 0x40
        return image.seed, image.data, refused(code, BANK_NAME, ENTRY)
    yield flipped("hash-raw-first-byte-flipped", tensor(ENTRY, "F32", (9,)))
    yield flipped("hash-raw-last-byte-flipped", tensor(ENTRY, "F32", (9,)), at=-1)
    yield flipped("hash-raw-last-chunk-flipped", tensor(ENTRY, "F32", (9,), chunk=8), at=-1)
    yield flipped("hash-zstd-byte-flipped", tensor(ENTRY, "U8", (300,), ZEROS, codec=zstd()), at=5)
    yield flipped("hash-zstd-magic-flipped", tensor(ENTRY, "U8", (300,), ZEROS, codec=zstd()))
    yield flipped("hash-planes-header-flipped", tensor(ENTRY, "U16", (300,), bytes(600), codec=planes(SPLIT)), at=3)
    yield flipped("hash-document-flipped", document(ENTRY, b"text " * 9), which=2)
    yield flipped("hash-document-zstd-flipped", document(ENTRY, b"text " * 99, codec=zstd()), which=2, at=-1)

    def stored_hash(name, item, which=1, chunk=0, value=None):
        def hook(m):
            c = m.chunks_of(m.entries[which])[chunk]
            c["stored_hash"] = c["stored_hash"] ^ 1 if value is None else value
        return file_of(name, item, "chunk-damaged", hook)
    yield stored_hash("hash-of-a-chunk-wrong", tensor(ENTRY, "F32", (9,)))
    yield stored_hash("hash-of-a-chunk-0", tensor(ENTRY, "F32", (9,)), value=0)
    yield stored_hash("hash-of-the-second-chunk-wrong", tensor(ENTRY, "F32", (9,), chunk=16), chunk=1)
    yield stored_hash("hash-of-a-zstd-chunk-wrong", tensor(ENTRY, "U8", (300,), ZEROS, codec=zstd()))
    yield stored_hash("hash-of-a-document-chunk-wrong", document(ENTRY, b"abc"), which=2)
    wrong = ident("another content")
    yield file_of("content-hash-wrong-raw", tensor(ENTRY, "F32", (9,), content_hash=wrong), "content-mismatch")
    yield file_of("content-hash-zero", tensor(ENTRY, "F32", (9,), content_hash=bytes(16)), "content-mismatch")
    yield file_of("content-hash-wrong-chunked", tensor(ENTRY, "F32", (9,), chunk=8, content_hash=wrong), "content-mismatch")
    yield file_of("content-hash-wrong-zstd", tensor(ENTRY, "U8", (300,), ZEROS, codec=zstd(), content_hash=wrong), "content-mismatch")
    yield file_of("content-hash-wrong-planes", tensor(ENTRY, "BF16", (300,), bytes(600), codec=planes(ROTATE_SPLIT), content_hash=wrong), "content-mismatch")
    yield file_of("content-hash-wrong-document", document(ENTRY, b"abc", content_hash=wrong), "content-mismatch")
    yield file_of("content-hash-wrong-empty-tensor", tensor(ENTRY, "F32", (0, 2), content_hash=wrong), "content-mismatch")
    yield file_of("content-hash-zero-empty-document", document(ENTRY, b"", content_hash=bytes(16)), "content-mismatch")
    data = noise("twice", 64)
    yield file_of("content-hash-halves-exchanged", tensor(ENTRY, "U8", (64,), data, content_hash=hash128(data)[8:] + hash128(data)[:8]), "content-mismatch")
    yield file_of("content-hash-bytes-reversed", tensor(ENTRY, "U8", (64,), data, content_hash=hash128(data)[::-1]), "content-mismatch")
    rotated = b"\x01\x80" * 64
    yield file_of("content-planes-rotated-the-wrong-way", tensor(ENTRY, "BF16", (64,), rotated, codec=lambda chunk, fields: planes(ROTATE_SPLIT)(
        b"".join(rotated_twice(chunk[i:i + 2]) for i in range(0, len(chunk), 2)), fields)), "content-mismatch")
    yield file_of("content-planes-most-significant-first", tensor(ENTRY, "U16", (64,), b"\1\2" * 64, codec=given(join_planes([(2, b"\2"), (2, b"\1")]), PLANES, SPLIT, 2)),
                  "content-mismatch")
    yield file_of("content-chunks-exchanged", tensor(ENTRY, "U8", (600,), b"a" * 300 + b"b" * 300, chunk=300,
                                                     codec=lambda chunk, fields: zstd()(bytes({97: b"b", 98: b"a"}[chunk[0]] * 300), fields)), "content-mismatch")


def rotated_twice(two: bytes) -> bytes:
    """A value that, rotated left by one on writing, gives what rotating right by one would have given."""
    v = int.from_bytes(two, "little")
    return ((v >> 2 | v << 14) & 0xFFFF).to_bytes(2, "little")


def frames():
    def stored(name, frame, data=ZEROS, code="chunk-invalid", as_document=False):
        assert len(frame) < len(data), name
        item = document(ENTRY, data, codec=given(frame)) if as_document else tensor(ENTRY, "U8", (len(data),), data, codec=given(frame))
        return file_of(f"zstd-{name}", item, code)
    good = zstd_frame(ZEROS)
    half = zstd_frame(ZEROS[:150])
    rle = lambda n, last=True, byte=b"\0": block(byte, last, 1, n)
    yield stored("two-frames", half + half)
    yield stored("two-frames-of-which-one-is-empty", good + zstd_frame(b""))
    yield stored("same-frame-twice", good + good)
    yield stored("skippable-frame-first", SKIPPABLE + good)
    yield stored("skippable-frame-last", good + SKIPPABLE)
    yield stored("skippable-frame-only", SKIPPABLE)
    yield stored("without-content-size", hand_frame(None, rle(300), single=False, window=0x58))
    yield stored("without-content-size-by-the-library", zstd_frame(ZEROS, content_size=False))
    yield stored("content-size-one-more", hand_frame(301, rle(300)))
    yield stored("content-size-one-less", hand_frame(299, rle(300)))
    yield stored("content-size-0", hand_frame(0, rle(300), single=False, window=0x58, size_bytes=4))
    yield stored("content-size-max", hand_frame(2**64 - 1, rle(300), single=False, window=0x58, size_bytes=8))
    yield stored("content-size-2to63", hand_frame(2**63, rle(300), single=False, window=0x58, size_bytes=8))
    yield stored("content-size-2to32-more", hand_frame(2**32 + 300, rle(300), single=False, window=0x58, size_bytes=8))
    yield stored("content-size-right-content-one-less", hand_frame(300, rle(299)))
    yield stored("content-size-right-content-one-more", hand_frame(300, rle(301), single=False, window=0x58))
    yield stored("content-size-right-content-empty", hand_frame(300, block(b"", True), single=False, window=0x58))
    yield stored("content-size-of-a-longer-good-frame", zstd_frame(bytes(301)))
    yield stored("content-size-of-a-shorter-good-frame", zstd_frame(bytes(299)))
    # window descriptors: exponent 17 is 2^27 bytes, the largest allowed
    yield stored("window-2to27-and-an-eighth", hand_frame(300, rle(300), single=False, window=0x89))
    yield stored("window-2to41", hand_frame(300, rle(300), single=False, window=0xF8))
    yield stored("bomb", hand_frame(300, rle(131072, False) * 7 + rle(131072), single=False, window=0x58))
    yield stored("truncated-by-1", good[:-1])
    yield stored("truncated-after-the-header", good[:6])
    yield stored("truncated-to-4-bytes", good[:4])
    yield stored("truncated-to-1-byte", good[:1])
    yield stored("without-a-last-block", hand_frame(300, rle(300, False)))
    yield stored("trailing-byte", good + b"\0")
    yield stored("trailing-garbage", good + b"garbage")
    yield stored("leading-byte", b"\0" + good)
    yield stored("garbage", noise("garbage", 100))
    yield stored("zeros", bytes(100))
    yield stored("magic-wrong", b"\x29" + good[1:])
    yield stored("magic-of-version-0.7", b"\x27" + good[1:])
    yield stored("gzip-instead", GZIP)
    yield stored("reserved-bit", hand_frame(300, rle(300), reserved_bit=True))
    yield stored("reserved-block-type", hand_frame(300, rle(299, False) + block(b"\0", True, 3, 1)))
    yield stored("block-longer-than-the-frame", hand_frame(300, block(b"\0" * 10, True, 0, 290)))
    yield stored("dictionary-id-1-byte", hand_frame(300, rle(300), dictionary=b"\x07"))
    yield stored("dictionary-id-4-bytes", hand_frame(300, rle(300), dictionary=b"\x01\x02\x03\x04"))
    yield stored("checksum-wrong", hand_frame(300, rle(300), checksum=b"\x01\x02\x03\x04"))
    yield stored("checksum-missing", hand_frame(300, rle(300), checksum=b""))
    yield stored("checksum-cut-off", zstd_frame(ZEROS, checksum=True)[:-1])
    yield stored("two-frames-in-a-document", half + half, as_document=True)
    yield stored("content-size-one-less-in-a-document", hand_frame(299, rle(300)), as_document=True)
    yield file_of("zstd-second-chunk-garbage", tensor(ENTRY, "U8", (600,), bytes(600), codec=[zstd(), given(b"garbage")], chunk=300), "chunk-invalid")


# begins like gzip
GZIP = bytes.fromhex("1f8b08000000000002ff63601805c30100") + bytes(8)


def plane_chunks():
    data = b"\x10\x20" * 150                                  # U16: plane 0 is 0x10, plane 1 is 0x20; 150 each, 300 raw
    def stored(name, what, code="chunk-invalid", raw_bytes=data):
        assert len(what) < len(raw_bytes), name
        return file_of(f"planes-{name}", tensor(ENTRY, "U16", (len(raw_bytes) // 2,), raw_bytes, codec=given(what, PLANES, SPLIT, 2)), code)
    low, high = (2, b"\x10"), (2, b"\x20")
    frame = zstd_frame(b"\x20" * 150)
    yield stored("header-cut-off-9-bytes", join_planes([low, high])[:9])
    yield stored("header-cut-off-1-byte", b"\1")
    yield stored("header-only", join_planes([low, high])[:10])
    yield stored("payload-cut-off", join_planes([low, high])[:-1])
    yield stored("trailing-byte", join_planes([low, high]) + b"\0")
    yield stored("sum-one-more-than-stored", join_planes([low, (0, b"\x20" * 150)], [1, 151]))
    yield stored("sum-one-less-than-stored", join_planes([low, (0, b"\x20" * 150)], [1, 149]))
    yield stored("length-max", join_planes([low, (1, frame)], [1, 2**32 - 1]))
    yield stored("lengths-wrap-at-2to32", join_planes([low, (1, frame)], [2**32 - 1, len(frame) + 2]))
    yield stored("lengths-exchanged", join_planes([low, (1, frame)], [len(frame), 1]))
    yield stored("mode-3", join_planes([low, (3, b"\x20")]))
    yield stored("mode-255", join_planes([(255, b"\x10"), high]))
    yield stored("constant-of-2-bytes", join_planes([low, (2, b"\x20\x20")]))
    yield stored("constant-of-0-bytes", join_planes([low, (2, b"")]))
    yield stored("constant-of-the-whole-plane", join_planes([low, (2, b"\x20" * 150)]))
    yield stored("raw-plane-one-short", join_planes([low, (0, b"\x20" * 149)]))
    yield stored("raw-plane-one-long", join_planes([low, (0, b"\x20" * 151)]))
    yield stored("raw-plane-empty", join_planes([low, (0, b"")]))
    yield stored("zstd-plane-empty", join_planes([low, (1, b"")]))
    yield stored("zstd-plane-garbage", join_planes([low, (1, noise("g", 40))]))
    yield stored("zstd-plane-trailing-byte", join_planes([low, (1, frame + b"\0")]))
    yield stored("zstd-plane-truncated", join_planes([low, (1, frame[:-1])]))
    yield stored("zstd-plane-two-frames", join_planes([low, (1, zstd_frame(b"\x20" * 75) * 2)]))
    yield stored("zstd-plane-skippable-first", join_planes([low, (1, SKIPPABLE + frame)]))
    yield stored("zstd-plane-of-the-whole-chunk", join_planes([low, (1, zstd_frame(data))]))
    yield stored("zstd-plane-one-short", join_planes([low, (1, zstd_frame(b"\x20" * 149))]))
    yield stored("zstd-plane-without-content-size", join_planes([low, (1, zstd_frame(b"\x20" * 150, content_size=False))]))
    yield stored("zstd-plane-with-dictionary-id", join_planes([low, (1, hand_frame(150, block(b"\x20", True, 1, 150), dictionary=b"\x07"))]))
    few = b"\x20\1\2\3" * 13                                  # U32, 13 elements, 52 raw bytes: a 13-byte frame for a plane of 13
    same = hand_frame(13, block(b"\x20", True, 1, 13))
    assert len(same) == 13
    yield file_of("planes-zstd-plane-as-long-as-raw", tensor(ENTRY, "U32", (13,), few, codec=given(join_planes([(1, same), (2, b"\1"), (2, b"\2"), (2, b"\3")]), PLANES, SPLIT, 4)),
                  "chunk-invalid")
    longer = hand_frame(13, block(b"\x20", True, 1, 13), size_bytes=8)
    yield file_of("planes-zstd-plane-longer-than-raw", tensor(ENTRY, "U32", (13,), few, codec=given(join_planes([(1, longer), (2, b"\1"), (2, b"\2"), (2, b"\3")]), PLANES, SPLIT, 4)),
                  "chunk-invalid")
    blocks = bytes(range(18)) * 40
    scale, quants = b"\0\1" * 40, b"".join([bytes(range(2, 18))] * 40)
    yield file_of("planes-struct-split-fields-exchanged", tensor(ENTRY, Q4_0, (40, 32), blocks, codec=given(join_planes([(1, zstd_frame(quants)), (1, zstd_frame(scale))]), PLANES, STRUCT_SPLIT, 2)),
                  "chunk-invalid")
    yield file_of("planes-struct-split-plane-one-block-short", tensor(ENTRY, Q4_0, (40, 32), blocks, codec=given(
        join_planes([(0, scale[:-2]), (1, zstd_frame(quants))]), PLANES, STRUCT_SPLIT, 2)), "chunk-invalid")
    yield file_of("planes-rotate-split-mode-3", tensor(ENTRY, "BF16", (150,), data, codec=given(join_planes([low, (3, b"\x20")]), PLANES, ROTATE_SPLIT, 2)), "chunk-invalid")


def cards():
    def card(name, data, code="card-invalid", bank="base"):
        image = Image(f"bad-card-{name}")
        data = data.encode() if isinstance(data, str) else data
        image.commit([image.store(Bank(bank, [tensor("w", "U8", (1,))], data, card_json={}))], "create")
        return image.seed, image.data, refused(code, bank)
    head = '"card":1,"kind":"base"'
    yield card("not-json", "card: 1\nkind: base\n")
    yield card("white-space-only", " \n")
    yield card("array", '[{' + head + '}]')
    for name, text in (("text", '"base"'), ("number", "1"), ("null", "null"), ("true", "true")):
        yield card(name, text)
    yield card("truncated", '{' + head)
    yield card("trailing-text", '{' + head + '} x')
    yield card("trailing-nul", '{' + head + '}\0')
    yield card("two-objects", '{' + head + '}{}')
    yield card("two-lines-of-json", '{' + head + '}\n{}\n')
    yield card("duplicate-key", '{' + head + ',"a":1,"a":1}')
    yield card("duplicate-key-of-the-schema", '{' + head + ',"kind":"expert"}')
    yield card("duplicate-key-by-escape", '{' + head + r',"abc":1,"\u0061bc":2}')
    yield card("duplicate-key-by-surrogate-escape", '{' + head + r',"🧪":1,"\ud83e\uddea":2}')
    yield card("duplicate-key-nested", '{' + head + ',"o":{"x":[{"k":1,"k":2}]}}')
    yield card("duplicate-empty-key", '{' + head + ',"":1,"":2}')
    yield card("bom", b"\xef\xbb\xbf{" + head.encode() + b"}")
    yield card("utf-16", ("\ufeff{" + head + "}").encode("utf-16-le"))
    yield card("lone-high-surrogate", '{' + head + r',"t":"\ud83e"}')
    yield card("lone-low-surrogate", '{' + head + r',"t":"\uddea"}')
    yield card("surrogates-the-wrong-way-round", '{' + head + r',"t":"\uddea\ud83e"}')
    yield card("high-surrogate-then-text", '{' + head + r',"t":"\ud83ex"}')
    yield card("high-surrogate-then-other-escape", '{' + head + r',"t":"\ud83e\u0041"}')
    yield card("two-high-surrogates", '{' + head + r',"t":"\ud83e\ud83e\uddea"}')
    yield card("lone-surrogate-in-a-key", '{' + head + r',"\udc00":1}')
    yield card("surrogate-as-utf8", b'{"t":"\xed\xa0\xbe",' + head.encode() + b"}")
    yield card("invalid-utf8-latin-1", b'{"t":"\xe9",' + head.encode() + b"}")
    yield card("invalid-utf8-overlong", b'{"t":"\xc0\xaf",' + head.encode() + b"}")
    yield card("invalid-utf8-in-a-key", b'{"\xff":1,' + head.encode() + b"}")
    yield card("depth-65-arrays", '{' + head + ',"d":' + "[" * 64 + "]" * 64 + "}")
    yield card("depth-65-objects", '{"n":' * 65 + "1" + "}" * 65)
    yield card("depth-20000", '{' + head + ',"d":' + "[" * 20000 + "]" * 20000 + "}")
    for name, text in (("leading-zero", "01"), ("plus", "+1"), ("no-digit-after-point", "1."), ("no-digit-before-point", ".5"), ("no-exponent", "1e"), ("hexadecimal", "0x10"),
                       ("minus-alone", "-"), ("minus-leading-zero", "-01"), ("nan", "NaN"), ("infinity", "Infinity"), ("minus-infinity", "-Infinity"), ("underscore", "1_000")):
        yield card(f"number-{name}", '{' + head + f',"n":{text}}}')
    for name, text in (("true", "True"), ("none", "None"), ("undefined", "undefined"), ("bare-word", "abc"), ("nothing", "")):
        yield card(f"value-{name}", '{' + head + f',"v":{text}}}')
    yield card("comma-at-the-end-of-an-object", '{' + head + ',}')
    yield card("comma-at-the-end-of-an-array", '{' + head + ',"a":[1,]}')
    yield card("comma-missing", '{"card":1 "kind":"base"}')
    yield card("colon-missing", '{"card" 1}')
    yield card("comment", '{' + head + '/* no */}')
    yield card("single-quotes", "{'card':1}")
    yield card("key-without-quotes", '{card:1}')
    yield card("key-is-a-number", '{1:1}')
    yield card("bracket-mismatch", '{' + head + ',"a":[1}')
    yield card("newline-in-text", '{' + head + ',"t":"a\nb"}')
    yield card("tab-in-text", '{' + head + ',"t":"a\tb"}')
    yield card("nul-in-text", '{' + head + ',"t":"a\0b"}')
    yield card("escape-unknown", '{' + head + r',"t":"\x41"}')
    yield card("escape-u-of-3-digits", '{' + head + r',"t":"\u041"}')
    yield card("escape-u-with-sign", '{' + head + r',"t":"\u+041"}')
    yield card("text-not-closed", '{' + head + ',"t":"abc}')
    yield card("white-space-form-feed", '{' + head + ',\f"a":1}')
    yield card("white-space-no-break", '{' + head + ',\u00a0"a":1}')
    yield card("of-an-unknown-kind-not-json", "not json", bank="other/kind")
    yield card("of-an-expert-array", "[]", bank="expert/a")
    image = Image("bad-card-byte-flipped")
    stored = image.store(base(tensor("w", "U8", (1,))))
    image.commit([stored], "create")
    image.data[stored.fields["card_offset"] + 3] ^= 1
    yield image.seed, image.data, refused("card-damaged", "base")


def order():
    """Two defects: the one that a full check comes to first is reported."""
    def two(name, first, second, code, bank, entry=None):
        image = Image(f"bad-order-{name}")
        image.commit([image.store(first), image.store(second)], "create")
        return image.seed, image.data, refused(code, bank, entry)
    damaged_chunk = lambda n: tensor(n, "U8", (300,), ZEROS, codec=given(b"garbage"))
    broken = lambda m: m.head.poke("reserved", 0)
    not_json = b"not json"
    yield two("chunk-of-the-first-bank-before-manifest-of-the-second", Bank("a", [damaged_chunk("x")]), Bank("b", [], on_manifest=broken), "chunk-invalid", "a", "x")
    yield two("card-before-chunks", Bank("a", [damaged_chunk("x")], not_json), Bank("b", []), "card-invalid", "a")
    yield two("manifest-before-card", Bank("a", [], not_json, on_manifest=broken), Bank("b", []), "manifest-invalid", "a")
    yield two("chunk-of-the-first-bank-before-card-of-the-second", Bank("a", [damaged_chunk("x")]), Bank("b", [], not_json), "chunk-invalid", "a", "x")
    yield two("content-of-the-first-entry-before-chunk-of-the-second", Bank("a", [tensor("x", "U8", (3,), content_hash=ident("no")), damaged_chunk("y")]), Bank("b", []),
              "content-mismatch", "a", "x")
    yield two("tensor-before-document", Bank("a", [damaged_chunk("z"), document("a", b"1", content_hash=ident("no"))]), Bank("b", []), "chunk-invalid", "a", "z")
    image = Image("bad-order-agreement-before-card")
    stored = image.store(Bank("a", [tensor("w", "U8", (1,))], not_json, card_json={}))
    image.commit([stored.altered(tensor_count=2)], "create")
    yield image.seed, image.data, refused("manifest-invalid", "a")
    image = Image("bad-order-root-before-manifest")
    image.commit([image.store(Bank("a", [], on_manifest=broken)), image.store(Bank("..", []))], "create")
    yield image.seed, image.data, refused("root-invalid")
