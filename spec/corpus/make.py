#!/usr/bin/env python3
"""Makes the conformance corpus: NAME.lmoe.zst and NAME.json beside this file (README.md says what they are).

    make.py            write all pairs, remove pairs that are no longer made
    make.py --check    compare with what lies here; exit status 1 on any difference

Needs Python 3.11, xxhash and zstandard 0.25 (zstd 1.5.7; another zstd gives equally valid frames of other bytes).
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import zstandard  # noqa: E402

import bad_bytes  # noqa: E402
import bad_manifest  # noqa: E402
import bad_outer  # noqa: E402
import good_banks  # noqa: E402
import good_file  # noqa: E402


def cases() -> dict:
    made = {}
    for module in (good_banks, good_file, bad_outer, bad_manifest, bad_bytes):
        for name, data, expected in module.cases():
            assert name not in made, f"two cases are called {name}"
            assert all(c.isascii() and (c.isalnum() or c in "-_.") for c in name), name
            made[name] = (bytes(data), (json.dumps(expected, indent=1, ensure_ascii=True) + "\n").encode())
    return made


def main() -> int:
    check = "--check" in sys.argv[1:]
    made, differences = cases(), []
    compressor = zstandard.ZstdCompressor(level=19)
    wanted = {}
    for name, (data, expected) in made.items():
        wanted[name + ".lmoe.zst"], wanted[name + ".json"] = compressor.compress(data), expected
    for path in sorted(HERE.iterdir()):
        if path.suffix in (".lmoe", ".zst", ".json") and path.name not in wanted:
            differences.append(path.name)
            if not check:
                path.unlink()
    for file, content in wanted.items():
        path = HERE / file
        if not path.exists() or path.read_bytes() != content:
            differences.append(file)
            if not check:
                path.write_bytes(content)
    good = sum(b'"ok": true' in expected[:20] for _, expected in made.values())
    print(f"{len(made)} pairs: {good} accepted, {len(made) - good} refused; {len(differences)} files differed")
    return 1 if check and differences else 0


if __name__ == "__main__":
    sys.exit(main())
