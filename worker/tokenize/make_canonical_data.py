#!/usr/bin/env python3
"""Writes canonical_data.inc, what NFC needs to know of characters, from Python's unicodedata:

    make_canonical_data.py > canonical_data.inc

Ids must be those of the tokenizers library (0.23), whose NFC is Unicode 9's: of what Python knows, only that is written which
the library does too.
"""
import sys
import unicodedata

from tokenizers.normalizers import NFC

LIBRARY = NFC()

HANGUL = range(0xAC00, 0xD7A4)  # composed by arithmetic


def agrees(text):
    return LIBRARY.normalize_str(text) == unicodedata.normalize("NFC", text)


def rows(entries, per_row):
    for begin in range(0, len(entries), per_row):
        yield "  " + ", ".join(entries[begin:begin + per_row]) + ","


def main():
    pairs, classes = [], []
    for code in range(sys.maxunicode + 1):
        if 0xD800 <= code < 0xE000 or code in HANGUL:
            continue
        character = chr(code)
        mapping = unicodedata.decomposition(character)
        parts = [int(part, 16) for part in mapping.split()] if not mapping.startswith("<") else []
        if parts and agrees("".join(map(chr, parts))):
            stays = unicodedata.normalize("NFC", character) == character
            pairs.append("{0x%X, 0x%X, 0x%X, %d}" % (code, parts[0], parts[1] if len(parts) > 1 else 0, stays))
        combining = unicodedata.combining(character)
        # One of class 1 behind it shows whether the library reorders it.
        if combining and (combining == 1 or agrees("a" + character + "\u0334")):
            if classes and classes[-1][1] == code - 1 and classes[-1][2] == combining:
                classes[-1][1] = code
            else:
                classes.append([code, code, combining])
    print("// Unicode 9, as the tokenizers library has it; written by make_canonical_data.py. Included by canonical_form.cc.")
    print("// A character, what it decomposes into (once), and whether it is composed of that again.")
    print("constexpr Decomposition kDecompositions[] = {")
    print("\n".join(rows(pairs, 5)))
    print("};")
    print("// Ranges of characters and their combining class; all others have class 0.")
    print("constexpr CombiningRange kCombiningRanges[] = {")
    print("\n".join(rows(["{0x%X, 0x%X, %d}" % tuple(one) for one in classes], 6)))
    print("};")


if __name__ == "__main__":
    main()
