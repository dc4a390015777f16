"""The texts of bench/claim.py: a fixed split of each domain into train, validation and held-out documents."""

import csv
import hashlib
import json
import pathlib
import re

PARTS = ("train", "validation", "heldout")


def write(directory, domain, split):
    for part in PARTS:
        lines = [json.dumps({"text": text}, ensure_ascii=False) for text in split[part]]
        (directory / f"{domain}.{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(path):
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def embedded(fixtures, directory, domains):
    """Of the training texts every tenth is for validation; the test texts are the held-out part."""
    for domain in domains:
        texts = read(fixtures / "text" / f"{domain}.train.jsonl")
        write(directory, domain, {
            "train": [text for i, text in enumerate(texts) if i % 10 != 9],
            "validation": texts[9::10],
            "heldout": read(fixtures / "text" / f"{domain}.test.jsonl")})


def by_group(documents, limit):
    """Splits (group, text) so that no group is in two parts: 80, 10 and 10 in 100 groups by their hash."""
    split = {part: [] for part in PARTS}
    for group, text in documents:
        share = int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) % 10
        split["heldout" if share == 9 else "validation" if share == 8 else "train"].append(text)
    return {part: cut(texts, limit[part]) for part, texts in split.items()}


def cut(texts, characters):
    """As many evenly spaced texts as have about so many characters."""
    total = sum(map(len, texts))
    step = max(1, round(total / characters))
    return texts[::step]


LIMIT = {"train": 400_000, "validation": 15_000, "heldout": 30_000}


def shakespeare(path):
    """Speeches joined to documents of about 400 characters; groups are runs of fifty documents."""
    documents, current = [], ""
    for speech in (path / "shakespeare" / "input.txt").read_text(encoding="utf-8").split("\n\n"):
        speech = speech[:600]
        if current and len(current) + len(speech) > 400:
            documents.append(current)
            current = ""
        current = f"{current}\n\n{speech}" if current else speech
    documents.append(current)
    return [(f"shakespeare {i // 50}", text) for i, text in enumerate(documents)]


def gsm8k(path):
    """A question and its worked answer; only the file for training is read, each question a group."""
    documents = []
    for line in (path / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        text = f"Question: {record['question']}\nAnswer: {record['answer']}"
        if len(text) <= 600:
            documents.append((record["question"], text))
    return documents


def chess(path):
    """Three variations of one opening a document; the opening (the name before the colon) is the group."""
    openings = {}
    with open(path / "chess" / "openings.tsv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            line = f"{row['eco']} {row['name']}: {row['pgn']}"
            openings.setdefault(row["name"].split(":")[0], []).append(line)
    return [(name, "\n".join(lines[i:i + 3])) for name, lines in openings.items() for i in range(0, len(lines), 3)]


def sql(path):
    """A question and its query; the group is the query without its literals, so that no form is in two parts."""
    text = (path / "sql" / "geography.sql.txt").read_text(encoding="utf-8")
    pairs = [pair.strip() for pair in text.split("\n\n") if pair.strip()]
    return [(re.sub(r'"[^"]*"|\d+', "?", pair.split("\n", 1)[-1]), pair) for pair in pairs if len(pair) <= 800]


def stories(path, directory):
    for read_domain in (shakespeare, gsm8k, chess, sql):
        write(directory, read_domain.__name__, by_group(read_domain(path), LIMIT))
