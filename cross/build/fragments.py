#!/usr/bin/env python3
"""Chooses the fragments that messages are packed with, and writes them into src/template.rs.

To be run when many messages have changed; nothing depends on it but the size of the binary.
Of many fragments those go that shorten the messages least, until a byte can stand for each that
is left. (Rejected: to add one after the other, always the best: a tenth longer. What a fragment
saves depends on those that come after it.)
"""

import collections
import pathlib
import re

SOURCES = pathlib.Path(__file__).parents[2] / "src"
TEMPLATE = SOURCES / "template.rs"
CODES = 128
LONGEST = 24
# How many are chosen from at first, and how many more are tried each time afterwards.
FIRST = 1500
MORE = 40
# A message, or the words of an error number or a verb.
MESSAGE = re.compile(r'(?:msg!\(\s*|^    [A-Z][A-Za-z]* )"((?:[^"\\]|\\.)*)"', re.S | re.M)

# A row of the table of hidden needs, without its reason, and one of the facts.
ROW = re.compile(r'^    \("([^"]*)", "([^"]*)", "', re.M)
FACT = re.compile(r'^    "([^"]*)\\n",', re.M)


def messages():
    for source in sorted(SOURCES.rglob("*.rs")):
        text = source.read_text().split("#[cfg(test)]")[0]
        for row in ROW.findall(text):
            yield "|".join(row)
        if source.name == "facts.rs":
            yield from (re.sub(r"\\\n\s*", "", fact) for fact in FACT.findall(text))
        for message in MESSAGE.findall(text):
            message = re.sub(r"\\\n\s*", "", message)
            # A fragment has no newline: each is a line.
            yield from message.replace('\\"', '"').split("\\n")


def pieces(text, words):
    """A text in as few pieces as there can be: bytes, and words of these."""
    costs, lengths = [0] * (len(text) + 1), [1] * len(text)
    for at in reversed(range(len(text))):
        costs[at] = 1 + costs[at + 1]
        for length in range(2, min(LONGEST, len(text) - at) + 1):
            if costs[at + length] + 1 < costs[at] and text[at:at + length] in words:
                costs[at], lengths[at] = costs[at + length] + 1, length
    at, found = 0, []
    while at < len(text):
        found.append(text[at:at + lengths[at]])
        at += lengths[at]
    return found


def size(texts, words):
    """Of all that is stored."""
    return sum(len(pieces(text, words)) for text in texts) + sum(len(word) + 1 for word in words)


def best(counts):
    """Words by what they would save, if each stood where it is counted."""
    return sorted(counts, key=lambda word: (len(word) + 1 - counts[word], word))


def every_part(texts):
    saved = collections.Counter()
    for text in texts:
        for start in range(len(text)):
            for end in range(start + 2, min(len(text), start + LONGEST) + 1):
                saved[text[start:end]] += end - start - 1
    return saved


def neighbours(texts, words):
    """What two or three pieces make together."""
    saved = collections.Counter()
    for text in texts:
        found = pieces(text, words)
        for count in (2, 3):
            for start in range(len(found) - count + 1):
                word = "".join(found[start:start + count])
                if len(word) <= LONGEST:
                    saved[word] += count - 1
    return saved


def without_worst(texts, words, share):
    """As many words as there are codes; a share of those that are left goes at once."""
    while len(words) > CODES:
        uses = collections.Counter(piece for text in texts for piece in pieces(text, words))
        saved = {word: uses[word] * (len(pieces(word, words - {word})) - 1) - len(word) for word in words}
        going = max(1, min(len(words) - CODES, len(words) // share))
        words = words - set(sorted(words, key=lambda word: (saved[word], word))[:going])
    return words


def choose(texts):
    words = without_worst(texts, set(best(every_part(texts))[:FIRST]), 12)
    while True:
        parts = every_part(words)
        more = best(neighbours(texts, words))[:MORE] + [word for word in best(parts) if parts[word]][:MORE]
        other = without_worst(texts, words.union(more), MORE)
        if size(texts, other) >= size(texts, words):
            return words
        words = other


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
