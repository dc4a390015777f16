"""Accepted files: headers, superblocks, generations, tails, damage that costs nothing."""
from __future__ import annotations

from coding import ident, noise
from common import CONFIG, base, expert, expert_card, mixed_entries, single
from image import Image
from writer import COPIES, HEADER, PAGE, SUPERBLOCK, Bank, View, document, tensor

WHOLE = tuple(COPIES)


def cases():
    yield from fields()
    yield from histories()
    yield from copies()
    yield from tails()
    yield from features()


def small(seed: str) -> Bank:
    return base(tensor("w", "F32", (4, 4)), document("files/config.json", CONFIG))


def grown(name: str, generations: int) -> Image:
    """A file of so many generations: each after the first adds an expert."""
    image = Image(name)
    banks = [image.store(small(name))]
    image.commit(banks, "create")
    for number in range(2, generations + 1):
        banks.append(image.store(expert(f"e{number}")))
        image.commit(banks, f"add expert/e{number}")
    return image


def fields():
    yield single("minimal", base(tensor("w", "F32", (1,))))
    for name, hook, minor in (("header-minor-9", None, 9), ("header-created-at-0", lambda v: v.fill(created_ns=0), 0), ("header-created-at-max", lambda v: v.fill(created_ns=2**64 - 1), 0)):
        image = Image(name, on_header=hook, minor=minor)
        image.commit([image.store(small(name))], "create")
        yield name, image.data, image.expect()
    yield single("superblock-writer-64-bytes-without-zero", small(""), writer=b"w" * 64)
    yield single("superblock-writer-garbage", small(""), writer=b"\xff\xfe\0\n\x1b[31m" + noise("writer", 50))
    yield single("superblock-writer-empty", small(""), writer=b"")
    yield single("superblock-live-bytes-0", small(""), on_superblock=lambda v: v.fill(live_bytes=0))
    yield single("superblock-live-bytes-max", small(""), on_superblock=lambda v: v.fill(live_bytes=2**64 - 1))
    for name, stamp in (("commit-ns-0", 0), ("commit-ns-max", 2**64 - 1)):
        yield single(name, small(""), on_superblock=lambda v: v.fill(commit_ns=stamp), on_root=lambda r: r.head.fill(commit_ns=stamp))
    yield single("note-empty", small(""), note="")
    yield single("note-with-line-breaks-and-controls", small(""), note="line 1\r\nline 2\ttab \x1b[0m \0 end \u0085\n")
    yield single("note-non-ascii", small(""), note="añadir expert/数学 🧪 e\u0301")
    yield single("note-70000-bytes", small(""), note="n" * 70000)
    yield single("manifest-offset-multiple-of-8-only", Bank("x", [tensor("w", "U8", (3,))]), Bank("y", [tensor("w", "U8", (9,))]))
    name = "fixed-area-gaps-not-zero"
    image = Image(name)
    image.commit([image.store(small(name))], "create")
    for at in (512, 2047, 2560, 4095, 4096, 0x3FFF, 0x4200, 0x4FFF, 0x5000, 0x8200, 0x8A00, 0xFFFF):
        image.data[at] = 0xA5
    yield name, image.data, image.expect()
    name = "dead-space-between-segments-and-structures"
    image = Image(name)
    image.append(noise("dead", 5000))
    first = image.store(small(name))
    image.append(noise("dead2", 777))
    image.commit([first], "create")
    image.append(noise("dead3", 3 * PAGE + 5))
    second = image.store(expert("a"))
    image.append(noise("dead4", 99))
    image.commit([first, second], "add expert/a")
    yield name, image.data, image.expect()
    yield single("padding-after-the-root-not-zero", small(""), padding=0xEE)
    name = "chunk-ends-where-the-root-begins"
    image = Image(name)
    at = 69632 - 64
    stored = image.store(Bank("x", [tensor("w", "U8", (64,), noise(name, 64))], on_manifest=lambda m: m.chunks[0].fill(offset=at)))
    image.data += bytes(at - len(image.data)) + noise(name, 64)
    assert image.commit([stored], "create")["offset"] == at + 64
    yield name, image.data, image.expect()
    name = "root-ends-on-a-page-boundary"
    image = Image(name)
    first = image.store(small(name))
    image.commit([first], "n" * (PAGE - 16 - 128 - 128 - 4))
    assert image.commits[-1]["length"] == PAGE
    yield name, image.data, image.expect()
    name = "root-one-byte-over-a-page"
    image = Image(name)
    image.commit([image.store(small(name))], "n" * (PAGE - 16 - 128 - 128 - 3))
    yield name, image.data, image.expect()
    name = "header-copies-whole-but-different"
    image = grown(name, 1)
    View(image.data, COPIES["header-b"], HEADER).fill(minor=3, created_ns=5)
    image.seal(View(image.data, COPIES["header-b"], HEADER))
    yield name, image.data, image.expect()
    name = "header-second-copy-whole-but-invalid"
    image = grown(name, 1)
    View(image.data, COPIES["header-b"], HEADER).fill(major=2)
    image.seal(View(image.data, COPIES["header-b"], HEADER))
    yield name, image.data, image.expect()


def histories():
    for count in (2, 3, 5):
        image = grown(f"history-{count}-generations", count)
        yield image.seed, image.data, image.expect()
    name = "history-remove-rename-card-restore"
    image = Image(name)
    root = image.store(base(*mixed_entries()))
    image.commit([root], "create")
    a = image.store(expert("a"))
    image.commit([root, a], "add expert/a")
    b = image.store(expert("b"))
    third = [root, a, b]
    image.commit(third, "add expert/b")
    steps = [("remove", [root, b], "remove expert/a"), ("rename", [root, b.renamed("expert/c")], "rename expert/b expert/c")]
    for step, banks, note in steps:
        image.commit(banks, note)
        yield f"history-{step}", bytes(image.data), image.expect()
    card = expert_card(title="edited")
    edited = image.store(Bank("expert/c", [], card))                # only its card is used
    text = {k: edited.fields[k] for k in ("card_offset", "card_length", "card_hash")}
    edited = b.renamed("expert/c").altered(**text)
    edited.json["card"] = card
    image.commit([root, edited], "card expert/c")
    yield "history-card-edit", bytes(image.data), image.expect()
    image.commit(third, "restore 3")
    yield "history-restore", bytes(image.data), image.expect()
    image.commit([], "remove all")
    yield "history-all-banks-removed", bytes(image.data), image.expect()

    for name, number in (("compacted-to-generation-5", 5), ("compacted-to-generation-8", 8)):
        yield single(name, base(*mixed_entries()), expert("a"), note="compact", generation=number)
    name = "compacted-with-rewritten-parents"
    image = Image(name)
    first = image.store(small(name))
    old = image.commit([first], "create", generation=3, publish=False)
    mid = image.commit([first], "again", generation=6, parent=old, publish=False)
    image.commit([first], "compact", generation=9, parent=mid)
    yield name, image.data, image.expect()
    name = "compacted-and-appended-to"
    image = Image(name)
    first = image.store(small(name))
    image.commit([first], "compact", generation=6)
    image.commit([first, image.store(expert("a"))], "add expert/a")
    yield name, image.data, image.expect()
    yield single("generation-max", small(""), generation=2**64 - 1)
    # there is no next generation, so nothing in the tail is one: not even by wrapping around
    name = "generation-max-with-a-root-in-the-tail"
    image = Image(name)
    image.commit([image.store(small(name))], "last", generation=2**64 - 1)
    image.data += b"LMOERT1\n" + image.uuid + bytes(PAGE - 24)
    yield name, image.data, image.expect()
    name = "generation-max-after-max-minus-1"
    image = Image(name)
    first = image.store(small(name))
    image.commit([first], "last but one", generation=2**64 - 2)
    image.commit([first], "last")
    yield name, image.data, image.expect()

    image = grown("history-parent-root-damaged", 4)
    image.data[image.commits[1]["offset"] + 130] ^= 1
    yield image.seed, image.data, image.expect(generations=[4, 3])
    image = grown("history-first-root-damaged", 3)
    image.data[image.commits[0]["offset"]] ^= 1
    yield image.seed, image.data, image.expect(generations=[3, 2])
    image = grown("history-parent-trailer-damaged", 3)
    image.data[image.commits[1]["offset"] + image.commits[1]["length"] - 1] ^= 1
    yield image.seed, image.data, image.expect(generations=[3])
    image = grown("history-parent-manifest-damaged-does-not-matter", 1)
    second = image.store(expert("gone"))
    image.commit([image.store(small("")), second], "two")
    image.data[second.fields["manifest_offset"] + 9] ^= 1
    image.commit([image.store(small(""))], "remove expert/gone")
    yield image.seed, image.data, image.expect()

    def wrong_parent(name, shown, **fields):
        image = Image(name)
        first = image.store(small(name))
        image.commit([first], "create")
        image.commit([first], "again")
        image.commit([first], "third", on_root=lambda r: r.head.fill(**fields))
        return name, image.data, image.expect(generations=shown)
    yield wrong_parent("history-parent-hash-wrong", [3], parent_hash=ident("no root"))
    yield wrong_parent("history-parent-offset-points-at-no-root", [3], parent_offset=65536)
    yield wrong_parent("history-parent-length-one-short", [3], parent_length=144 + 128 + 4 + 5 - 1)
    name = "history-parent-of-another-uuid"
    image = Image(name)
    first = image.store(small(name))
    stranger = image.commit([first], "of another file", on_root=lambda r: r.head.fill(file_uuid=ident("another")), publish=False)
    image.commit([first], "grandchild", generation=2, parent=stranger)
    yield name, image.data, image.expect(generations=[2])
    name = "history-parent-generation-is-not-the-parents"
    image = Image(name)
    first = image.store(small(name))
    old = image.commit([first], "create", generation=1, publish=False)
    image.commit([first], "later", generation=5, parent=old, on_root=lambda r: r.head.fill(parent_generation=3))
    yield name, image.data, image.expect(generations=[5])
    name = "history-parent-whole-but-invalid"
    image = Image(name)
    first = image.store(small(name))
    old = image.commit([first], "create", generation=1, publish=False, on_root=lambda r: r.head.poke("reserved"))
    image.commit([first], "later", generation=2, parent=old)
    yield name, image.data, image.expect(generations=[2])
    name = "history-generations-skipped"
    image = Image(name)
    first = image.store(small(name))
    old = image.commit([first], "create", generation=2)
    image.commit([first], "later", generation=7)
    yield name, image.data, image.expect()


def copies():
    for copy in WHOLE:
        image = grown(f"damaged-{copy}", 2)
        image.damage(copy)
        yield image.seed, image.data, image.expect(damaged=1)
    image = grown("damaged-one-copy-of-each", 2)
    image.damage("header-a", "slot0-a", "slot1-b")
    yield image.seed, image.data, image.expect(damaged=3)
    image = grown("damaged-both-copies-of-the-older-slot", 2)
    image.damage("slot1-a", "slot1-b")
    yield image.seed, image.data, image.expect(damaged=2)
    image = grown("damaged-all-but-one-of-each", 3)
    image.damage("header-a", "slot0-a", "slot0-b", "slot1-a")
    yield image.seed, image.data, image.expect(damaged=4)
    image = grown("damaged-new-file-one-copy", 1)
    image.damage("slot1-a")
    yield image.seed, image.data, image.expect(damaged=1)
    image = grown("damaged-copy-of-the-empty-slot", 1)
    image.data[COPIES["slot0-a"] + 511] = 1
    yield image.seed, image.data, image.expect(damaged=1)
    image = grown("erased-older-slot", 2)
    image.erase("slot1-a", "slot1-b")
    yield image.seed, image.data, image.expect()
    image = grown("erased-one-copy-of-the-newest", 2)
    image.erase("slot0-a")
    yield image.seed, image.data, image.expect()
    for name, first, second in (("torn-first-copy-new", 3, 1), ("torn-second-copy-new", 1, 3)):
        image = grown(name, 4)                                  # slot 0 holds 4; torn while 4 was written over 2
        image.write_slot(0, image.commits[first]["record"], image.commits[second]["record"])
        yield name, image.data, image.expect()
    image = grown("torn-first-copy-damaged-root-in-tail", 4)
    image.write_slot(0, image.commits[3]["record"], image.commits[1]["record"])
    image.damage("slot0-a")
    yield image.seed, image.data, image.expect(image.commits[2], damaged=1, successor=True)
    image = grown("torn-slot-older-still-in-other-slot", 5)     # slot 1: 5 and 3, slot 0: 4 and 2
    image.write_slot(1, image.commits[4]["record"], image.commits[2]["record"])
    image.write_slot(0, image.commits[3]["record"], image.commits[1]["record"])
    yield image.seed, image.data, image.expect()
    image = grown("older-slot-far-behind", 5)
    image.write_slot(0, image.commits[1]["record"], image.commits[1]["record"])
    yield image.seed, image.data, image.expect()
    image = grown("older-slot-names-a-damaged-root", 3)
    image.data[image.commits[1]["offset"] + 1] ^= 1
    yield image.seed, image.data, image.expect(generations=[3])
    image = grown("older-superblock-committed-end-beyond-the-file", 2)
    record = bytearray(image.commits[0]["record"])
    view = View(record, 0, SUPERBLOCK).fill(root_offset=2**40, committed_end=2**40 + PAGE)
    image.seal(view)
    image.write_slot(1, record, record)
    yield image.seed, image.data, image.expect()


def tails():
    for name, tail in (("tail-garbage", noise("tail", 5001)), ("tail-one-byte", b"x"), ("tail-zeros", bytes(2 * PAGE))):
        image = grown(name, 2)
        image.append(tail)
        yield name, image.data, image.expect()
    image = grown("tail-garbage-in-a-new-file", 1)
    image.append(b"LMOERT1\n" + noise("tail", 3000))
    yield image.seed, image.data, image.expect()

    # a whole superblock pair is lost: the root stands in what is now the tail
    image = grown("lost-superblock-zeroed", 3)
    image.erase("slot1-a", "slot1-b")
    yield image.seed, image.data, image.expect(image.commits[1], successor=True)
    image = grown("lost-superblock-damaged", 3)
    image.damage("slot1-a", "slot1-b")
    yield image.seed, image.data, image.expect(image.commits[1], damaged=2, successor=True)
    image = grown("lost-superblock-of-generation-2", 2)
    image.erase("slot0-a", "slot0-b")
    yield image.seed, image.data, image.expect(image.commits[0], successor=True)
    image = grown("lost-superblock-old-one-back", 4)
    image.write_slot(0, image.commits[1]["record"], image.commits[1]["record"])
    yield image.seed, image.data, image.expect(image.commits[2])            # 3, 3 and 2, 2: nothing tells that there was a 4
    image = grown("lost-superblock-and-its-root-damaged", 3)
    image.erase("slot1-a", "slot1-b")
    image.data[image.commits[2]["offset"] + 200] ^= 1
    yield image.seed, image.data, image.expect(image.commits[1])
    image = grown("lost-superblock-and-its-root-cut-off", 3)
    image.erase("slot1-a", "slot1-b")
    del image.data[image.commits[2]["offset"] + image.commits[2]["length"] - 1:]
    yield image.seed, image.data, image.expect(image.commits[1])
    image = grown("lost-superblock-root-ends-with-the-file", 3)
    image.erase("slot1-a", "slot1-b")
    del image.data[image.commits[2]["offset"] + image.commits[2]["length"]:]
    yield image.seed, image.data, image.expect(image.commits[1], successor=True)
    image = grown("successor-after-garbage", 2)
    image.append(noise("g", 9000))
    image.commit([image.store(expert("late"))], "late", publish=False)
    image.damage("slot1-b")
    yield image.seed, image.data, image.expect(damaged=1, successor=True)
    image = grown("successor-of-a-new-file", 1)
    image.commit([image.store(small(""))], "unpublished", publish=False)
    yield image.seed, image.data, image.expect(successor=True)
    image = grown("successor-not-sought-when-all-is-in-order", 2)
    image.commit([image.store(small(""))], "unpublished", publish=False)
    yield image.seed, image.data, image.expect()
    image = grown("successor-one-damaged-copy-of-the-older-slot", 3)
    image.commit([image.store(small(""))], "unpublished", publish=False)
    image.damage("slot0-b")
    yield image.seed, image.data, image.expect(damaged=1, successor=True)
    image = grown("successor-header-copy-damaged-is-still-in-order", 3)
    image.commit([image.store(small(""))], "unpublished", publish=False)
    image.damage("header-b")
    yield image.seed, image.data, image.expect(damaged=1)
    image = grown("successor-right-at-committed-end", 1)
    image.commit([], "no banks", publish=False)
    yield image.seed, image.data, image.expect(successor=True)
    image = grown("successor-after-two-that-are-none", 1)
    stored = image.store(small(""))
    image.commit([stored], "wrong generation", generation=3, publish=False)
    image.commit([stored], "broken", publish=False, on_trailer=lambda t: ident("no"))
    image.commit([stored], "right", publish=False)
    yield image.seed, image.data, image.expect(successor=True)

    def stranger(name, **commit):
        image = grown(name, 1)
        image.commit([image.store(small(name))], "unpublished", publish=False, **commit)
        return name, image.data, image.expect()
    yield stranger("tail-root-of-generation-1", generation=1)
    yield stranger("tail-root-of-generation-3", generation=3)
    yield stranger("tail-root-of-another-uuid", on_root=lambda r: r.head.fill(file_uuid=ident("another")))
    yield stranger("tail-root-parent-hash-wrong", on_root=lambda r: r.head.fill(parent_hash=ident("another")))
    yield stranger("tail-root-parent-offset-wrong", on_root=lambda r: r.head.fill(parent_offset=65536))
    yield stranger("tail-root-without-parent", parent=None)
    yield stranger("tail-root-trailer-broken", on_trailer=lambda t: t[:-1] + bytes([t[-1] ^ 1]))
    yield stranger("tail-root-magic-wrong", on_root=lambda r: r.head.fill(magic=b"LMOERT2\n"))
    yield stranger("tail-root-not-at-a-multiple-of-4096", root_skew=512)
    yield stranger("tail-root-total-length-too-long", on_root=lambda r: r.head.fill(total_length=2**63))
    yield stranger("tail-root-total-length-143", on_root=lambda r: r.head.fill(total_length=143))
    image = grown("tail-copy-of-the-current-root", 1)
    made = image.commits[0]
    image.append(image.data[made["offset"]:made["offset"] + made["length"]], PAGE)
    yield image.seed, image.data, image.expect()


def features():
    for name, bits in (("feature-compat-bit-0", 1), ("feature-compat-bit-63", 1 << 63), ("feature-compat-all-bits", 2**64 - 1)):
        yield single(name, small(""), features=(bits, 0, 0))
    for name, bits in (("feature-ro-compat-bit-0", 1), ("feature-ro-compat-bit-63", 1 << 63)):
        yield single(name, small(""), features=(0, bits, 0))
    name = "feature-ro-compat-in-the-older-generation-only"
    image = Image(name)
    first = image.store(small(name))
    image.commit([first], "create", features=(0, 2, 0))
    image.commit([first], "again")
    yield name, image.data, image.expect()
    name = "feature-incompat-in-the-older-generation-only"
    image = Image(name)
    first = image.store(small(name))
    image.commit([first], "create", features=(0, 0, 1))
    image.commit([first], "rewritten", parent=None)
    yield name, image.data, image.expect()
    name = "feature-ro-compat-and-successor"
    image = Image(name)
    first = image.store(small(name))
    image.commit([first], "create", features=(0, 4, 0))
    image.commit([first], "unpublished", publish=False)
    yield name, image.data, image.expect(successor=True)
