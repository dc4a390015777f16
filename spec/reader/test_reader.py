"""The reader against the conformance corpus, and against damaged copies of it.

    python -m unittest test_reader      (in this directory)
"""

import json
import random
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import zstandard

import lmoe_reader
from lmoe_reader import Number, hash64, hash128

HERE = Path(__file__).resolve().parent
CORPUS = HERE.parent / "corpus"
SUFFIX = ".lmoe.zst"
NAMES = sorted(path.name.removesuffix(SUFFIX) for path in CORPUS.glob("*" + SUFFIX))
MINIMUM = 260

CODES = set("""
    not-lmoe truncated header-damaged header-invalid unsupported-version
    superblocks-damaged superblock-invalid unsupported-feature root-damaged root-invalid
    manifest-damaged manifest-invalid unsupported-dtype card-damaged card-invalid
    chunk-damaged chunk-invalid content-mismatch""".split())


def contents(name):
    compressed = (CORPUS / (name + SUFFIX)).read_bytes()
    return zstandard.ZstdDecompressor().decompressobj().decompress(compressed)


def expected(name):
    text = (CORPUS / (name + ".json")).read_text(encoding="utf-8")
    return json.loads(text, parse_int=Number, parse_float=Number)


def canonical(report):
    """Equal texts for equal reports: numbers by value, and true is not 1."""
    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        if isinstance(value, int) and not isinstance(value, bool):
            value = Number(str(value))
        if isinstance(value, Number):
            sign, digits, power = value.value()
            return {"number": f"{sign}{digits}e{power}"}
        return value
    return json.dumps(plain(report), sort_keys=True, indent=1)


class Corpus(unittest.TestCase):
    maxDiff = None

    def test_enough_files(self):
        self.assertGreaterEqual(len(NAMES), MINIMUM)

    def test_every_file_has_its_json_and_the_reverse(self):
        self.assertEqual(set(NAMES), {path.name.removesuffix(".json")
                                      for path in CORPUS.glob("*.json")})

    def test_every_file(self):
        for name in NAMES:
            with self.subTest(name):
                self.assertEqual(canonical(lmoe_reader.check_bytes(contents(name))),
                                 canonical(expected(name)))

    def test_command_line(self):
        wanted = {"card-numbers": 0}    # and the first file accepted, the first refused
        for status in (0, 1):
            wanted[next(name for name in NAMES if expected(name)["ok"] == (not status))] = status
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "file.lmoe"
            for name, status in wanted.items():
                with self.subTest(name):
                    path.write_bytes(contents(name))
                    done = subprocess.run([sys.executable, HERE / "lmoe_reader.py", path],
                                          capture_output=True, text=True)
                    self.assertEqual(done.returncode, status, done.stderr)
                    report = json.loads(done.stdout, parse_int=Number, parse_float=Number)
                    self.assertEqual(canonical(report), canonical(expected(name)))
                    self.assertEqual(canonical(lmoe_reader.check(path)), canonical(report))


class Numbers(unittest.TestCase):
    def test_by_value(self):
        for one, other in (("1", "1.0"), ("100", "1e2"), ("1.5e3", "15E+2"), ("-0.25", "-25e-2"),
                           ("0", "-0.0e7"), ("1e1000000", "10E999999"),
                           ("1e" + "9" * 5000, "0.1e1" + "0" * 5000)):
            self.assertEqual(Number(one), Number(other))
        for one, other in (("1", "-1"), ("1", "10"), ("1e999", "1e1000"), ("1e400", "2e400"),
                           ("9007199254740993", "9007199254740992"), ("0.1", "0.10000000000000001")):
            self.assertNotEqual(Number(one), Number(other))

    def test_of_any_size(self):
        long = "-" + "7" * 100000
        for text in (long, "1e400", "-1E-99999999999999999999999", "0." + "3" * 5000):
            card = lmoe_reader.parse_card(f'{{"n": {text}}}'.encode())
            self.assertEqual(lmoe_reader.to_json(card), f'{{\n "n": {text}\n}}')


def sound_files(generator, count):
    """Some of the sound files of the corpus, with what is to be said of them."""
    names = [name for name in NAMES if expected(name)["ok"]
             and expected(name)["damaged_copies"] == Number("0")]
    return [(name, contents(name)) for name in generator.sample(names, min(count, len(names)))]


class Damage(unittest.TestCase):
    """A good file, damaged, is refused or says the same. Damage is a burst of at most 16
    bytes, which never reaches both copies of a record, or a cut."""

    SEED = 20240229
    FILES = 24
    ROUNDS = 60

    def setUp(self):
        self.random = random.Random(self.SEED)
        self.good = sound_files(self.random, self.FILES)
        self.assertTrue(self.good)

    def check(self, name, data, what):
        with self.subTest(f"{name}: {what}"):
            report = lmoe_reader.check_bytes(data)
            if report["ok"]:
                original = expected(name)
                for key in ("file_uuid", "generation", "note", "banks"):
                    self.assertEqual(canonical(report[key]), canonical(original[key]))
                # A parent's root may have been hit: then the history ends before it.
                kept = len(report["generations"])
                self.assertEqual(canonical(report["generations"]),
                                 canonical(original["generations"][:kept]))
            else:
                self.assertIn(report["error"], CODES)
            return report

    def test_bursts(self):
        for name, data in self.good:
            full = [at for at, byte in enumerate(data) if byte]
            for turn in range(self.ROUNDS):
                # Most of a small file is padding: aim at what is not, three times of four.
                at = self.random.choice(full) if turn % 4 else self.random.randrange(len(data))
                length = min(self.random.choice((1, 1, 2, 16)), len(data) - at)
                damaged = bytearray(data)
                for i in range(at, at + length):
                    damaged[i] ^= self.random.randrange(1, 256)
                self.check(name, damaged, f"{length} bytes changed at {at}")

    def test_cuts(self):
        for name, data in self.good:
            cuts = [0, 7, 8, 65535, 65536, len(data) - 1]
            cuts += [self.random.randrange(len(data)) for _ in range(self.ROUNDS // 4)]
            for length in cuts:
                report = self.check(name, data[:length], f"cut to {length}")
                if length < 65536:
                    self.assertEqual(report["error"],
                                     "truncated" if length >= 8 else "not-lmoe")


class Forgery(unittest.TestCase):
    """A good file, changed on purpose with all hashes above the change made right again: it
    may be accepted or refused, but the reader answers."""

    SEED = 20240301
    FILES = 24
    ROUNDS = 60
    VALUES = (0, 1, 2, 7, 8, 63, 64, 255, 4096, 65535, 65536, 1 << 24, (1 << 31) - 1, (1 << 32) - 1,
              1 << 32, 1 << 40, 1 << 46, 1 << 47, (1 << 63) - 1, 1 << 63, (1 << 64) - 4096, (1 << 64) - 1)

    def test_forgeries(self):
        generator = random.Random(self.SEED)
        for name, data in sound_files(generator, self.FILES):
            for turn in range(self.ROUNDS):
                forged = self.forge(generator, bytearray(data))
                with self.subTest(f"{name}, turn {turn}"):
                    report = lmoe_reader.check_bytes(forged)
                    if not report["ok"]:
                        self.assertIn(report["error"], CODES)
                    json.loads(lmoe_reader.to_json(report))

    def change(self, generator, data, start, length):
        """One to three changes within a structure: a byte, or a whole integer."""
        for _ in range(generator.choice((1, 1, 2, 3))):
            width = generator.choice([w for w in (1, 2, 4, 8) if w <= length])
            at = start + generator.randrange((length - width) // width + 1) * width
            old = int.from_bytes(data[at:at + width], "little")
            new = generator.choice((generator.choice(self.VALUES), old + 1, old - 1, old * 2,
                                    old ^ 1 << generator.randrange(8 * width),
                                    generator.getrandbits(8 * width)))
            data[at:at + width] = (new % (1 << 8 * width)).to_bytes(width, "little")

    def forge(self, generator, data):
        # The newest superblock, by its generation; its place and its root's.
        places = [at for at in (16384, 18432, 32768, 34816) if any(data[at:at + 512])]
        generations = {at: struct.unpack_from("<Q", data, at + 24)[0] for at in places}
        newest = [at for at in places if generations[at] == max(generations.values())]
        root, root_length = struct.unpack_from("<QQ", data, newest[0] + 64)
        banks = [root + 128 + 128 * i
                 for i in range(struct.unpack_from("<I", data, root + 112)[0])]

        kinds = ["header", "superblock", "root"] + 8 * ["bank"] * bool(banks)
        kind = generator.choice(kinds)
        if kind == "header":
            self.change(generator, data, 0, 504)
            data[504:512] = hash64(bytes(data[:504])).to_bytes(8, "little")
        elif kind == "root":
            self.change(generator, data, root, generator.choice((128, root_length - 16)))
        elif kind == "bank":
            self.forge_bank(generator, data, generator.choice(banks))
        if kind in ("root", "bank"):
            trailer = hash128(bytes(data[root:root + root_length - 16]))
            data[root + root_length - 16:root + root_length] = trailer
            for at in newest:
                data[at + 80:at + 96] = trailer
        elif kind == "superblock":
            at = generator.choice(newest)
            self.change(generator, data, at, generator.choice((128, 504)))
            if generator.randrange(2):
                for other in newest:
                    data[other:other + 504] = data[at:at + 504]
        for at in places:
            data[at + 504:at + 512] = hash64(bytes(data[at:at + 504])).to_bytes(8, "little")
        return data

    def forge_bank(self, generator, data, bank):
        manifest, length = struct.unpack_from("<QQ", data, bank + 24)
        card, card_length = struct.unpack_from("<QQ", data, bank + 56)
        entry_count, chunk_count, dim_count, geometry_count = struct.unpack_from(
            "<IIII", data, manifest + 16)
        chunks = manifest + 64 + 64 * entry_count
        dims = chunks + 32 * chunk_count
        tables = [(manifest, 64), (manifest + 64, 64 * entry_count), (chunks, 32 * chunk_count),
                  (dims, 8 * dim_count), (dims + 8 * dim_count, 40 * geometry_count),
                  (manifest, length)]
        what = generator.choice(["manifest", "card", "chunk"])
        if what == "card" and card:
            self.change(generator, data, card, card_length)
            data[bank + 72:bank + 88] = hash128(bytes(data[card:card + card_length]))
        elif what == "chunk" and chunk_count:
            at = chunks + 32 * generator.randrange(chunk_count)
            offset, stored, _raw = struct.unpack_from("<QII", data, at)
            self.change(generator, data, offset, generator.choice((min(stored, 16), stored)))
            digest = hash64(bytes(data[offset:offset + stored])).to_bytes(8, "little")
            for other in range(chunks, dims, 32):
                if struct.unpack_from("<QI", data, other) == (offset, stored):
                    data[other + 16:other + 24] = digest
        else:
            self.change(generator, data, *generator.choice([t for t in tables if t[1]]))
        data[bank + 40:bank + 56] = hash128(bytes(data[manifest:manifest + length]))


class Rubbish(unittest.TestCase):
    def test_no_file_at_all(self):
        generator = random.Random(1)
        for data in (b"", b"\x89LMOE", bytes(65536), bytes(70000),
                     generator.randbytes(65536), generator.randbytes(200000)):
            self.assertEqual(lmoe_reader.check_bytes(data),
                             {"ok": False, "error": "not-lmoe", "bank": None, "entry": None})


if __name__ == "__main__":
    unittest.main()
