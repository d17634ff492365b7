#!/usr/bin/env python3
"""Chooses the fragments that messages are packed with, and writes them into src/template.rs.

To be run when many messages have changed; nothing depends on it but the size of the binary.
Each fragment is the one that shortens most what the ones before it left.
"""

import collections
import pathlib
import re

SOURCES = pathlib.Path(__file__).parents[2] / "src"
TEMPLATE = SOURCES / "template.rs"
CODES = 128
LONGEST = 20
# A message, or the words of an error number.
MESSAGE = re.compile(r'(?:msg!\(\s*|^    [A-Z]+ )"((?:[^"\\]|\\.)*)"', re.S | re.M)


def messages():
    for source in sorted(SOURCES.rglob("*.rs")):
        text = source.read_text().split("#[cfg(test)]")[0]
        for message in MESSAGE.findall(text):
            message = re.sub(r"\\\n\s*", "", message)
            # A fragment has no newline: each is a line.
            yield from message.replace('\\"', '"').split("\\n")


def choose(texts):
    for _ in range(CODES):
        counts = collections.Counter()
        for text in texts:
            for piece in text.split("\0"):
                for start in range(len(piece)):
                    for end in range(start + 2, min(len(piece), start + LONGEST) + 1):
                        counts[piece[start:end]] += 1
        often = sorted(counts, key=lambda word: (-counts[word] * (len(word) - 1), word))[:300]
        saved = {word: sum(text.count(word) for text in texts) * (len(word) - 1) - len(word) - 1 for word in often}
        best = max(often, key=lambda word: saved[word])
        if saved[best] <= 0:
            return
        texts = [text.replace(best, "\0") for text in texts]
        yield best


def rows(words):
    """The words, a newline after each, as lines of source."""
    row = ""
    for word in words:
        word = word.replace('"', '\\"') + "\\n"
        if len(row) + len(word) > 90:
            yield f'    "{row}",\n'
            row = ""
        row += word
    yield f'    "{row}",\n'


table = "".join(rows(sorted(choose(list(messages())))))
text, count = re.subn(r"(const FRAGMENTS: &\[u8\] = concat!\(\n).*?(\n\)\n)", lambda old: old[1] + table.rstrip() + old[2],
                      TEMPLATE.read_text(), flags=re.S)
assert count == 1
TEMPLATE.write_text(text)
