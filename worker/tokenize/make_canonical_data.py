#!/usr/bin/env python3
"""Writes canonical_data.inc, what NFC needs to know of characters, from Python's unicodedata:

    make_canonical_data.py > canonical_data.inc
"""
import sys
import unicodedata

HANGUL = range(0xAC00, 0xD7A4)  # composed by arithmetic


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
        if mapping and not mapping.startswith("<"):
            parts = [int(part, 16) for part in mapping.split()]
            stays = unicodedata.normalize("NFC", character) == character
            pairs.append("{0x%X, 0x%X, 0x%X, %d}" % (code, parts[0], parts[1] if len(parts) > 1 else 0, stays))
        combining = unicodedata.combining(character)
        if combining:
            if classes and classes[-1][1] == code - 1 and classes[-1][2] == combining:
                classes[-1][1] = code
            else:
                classes.append([code, code, combining])
    print(f"// Unicode {unicodedata.unidata_version}; written by make_canonical_data.py. Included by canonical_form.cc.")
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
