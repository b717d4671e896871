"""Compares Quench's tokenizers with the Hugging Face tokenizers library, string by string.

    compare_with_peers.py TOKENIZE_LINES FIXTURES… [--strings 10000] [--seed 20250101] [--only NAME]

TOKENIZE_LINES is the test program of that name, FIXTURES folders with one folder per tokenizer. Runs under the Python
that QUENCH_PEERS_PYTHON names (it needs the package tokenizers); without it the test is skipped (exit status 77). Every
tokenizer gets the same number of seeded random strings of all kinds, and each Unicode character once between a
digit and a letter. With --variants ROOT, tokenizers that use every option (peer_variants.py, made from the fixtures below
ROOT) get a tenth of the strings. Compared are the ids, the ids with special tokens, and both decodings. Exit status 1 on a difference.
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

import peer_variants

SKIPPED = 77
CODE = '''def quick_sort(arr: list[int]) -> list[int]:
    """Sort it."""
    if len(arr) <= 1:\n\t\treturn arr
    pivot = arr[len(arr) // 2]  # 0x1F, 1_000_000, 3.14e-10
    return [x for x in arr if x < pivot] + ["don't", 'I\\'ll', f"{pivot!r}"]

#include <vector>\r\ntemplate <typename T> struct S { T* p = nullptr; int operator()(const T& t) const { return t->x << 3 | 0b11; } };\r
public static void main(String[] args) { System.out.println("a\\tb" + args[0]); } // TODO(bob): we've it's they're
SELECT * FROM t WHERE a <> 'x' AND b >= 10;  <div class="x">&nbsp;</div>  {"k": [1, null, true]}  ``` $$x^{2}_{i}$$ ~~~
'''
WHITE_SPACE = [" ", "  ", "    ", "\t", "\n", "\n\n", "\r\n", "\r", "\v", "\f", "\x85", "\xa0", "\u1680", "\u2003", "\u2028",
               "\u2029", "\u202f", "\u205f", "\u3000", "\u180e", "\u200b", "\ufeff"]
EMOJI = ["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "👍🏽", "✈️", "1️⃣", "🦙", "☕", "©", "™"]
WORDS = ["it's", "I'LL", "we've", "don't", "naïve", "Führer", "ÿ÷Áõ", "straße", "İstanbul", "Ελλάδα", "Привет", "שלום", "مرحبا", "हिन्दी",
         "ไทย", "한국어", "中文字符", "日本語テスト", "ภาษา", "ﬁne", "ſ", "'ſ", "K", "½", "Ⅻ", "²³", "٣٤٥", "１２３", "。「」", "…", "—", "<0x0A>",
         "▁", "▁▁the", "Ġthe", "Ċ", "ĉ", "<0xff>", "\ufffd", "\x00", "\x7f", "\x1b[0m", "e\u0301\u0323", "\u0301", "a\u0308\u0308"]


def scalar(source):
    while True:
        value = source.randrange(0x110000)
        if not 0xD800 <= value < 0xE000:
            return chr(value)


def assigned(source):
    while True:
        character = scalar(source)
        if unicodedata.category(character) not in ("Cn", "Co"):
            return character


def one_part(source, names):
    kind = source.randrange(14)
    if kind == 0:
        return "".join(scalar(source) for _ in range(source.randint(1, 12)))
    if kind == 1:
        return "".join(assigned(source) for _ in range(source.randint(1, 12)))
    if kind == 2:
        start = source.randrange(len(CODE))
        return CODE[start:start + source.randint(1, 80)]
    if kind == 3:
        return "".join(source.choice(WHITE_SPACE) for _ in range(source.randint(1, 10)))
    if kind == 4:
        return "".join(chr(source.randrange(32)) for _ in range(source.randint(1, 6)))
    if kind == 5:
        return source.choice("aeoun ") + "".join(chr(source.randrange(0x300, 0x370)) for _ in range(source.randint(1, 5)))
    if kind == 6:
        return "".join(source.choice(EMOJI) for _ in range(source.randint(1, 4)))
    if kind == 7 and names:
        name = source.choice(names)
        return source.choice([name, " " + name, name + " ", name + name, name[:-1], name + "\n"])
    if kind == 8:
        return "".join(source.choice("0123456789.,_ ") for _ in range(source.randint(1, 20)))
    if kind == 9:
        return "".join(chr(source.randrange(0x3000, 0xA000)) for _ in range(source.randint(1, 10)))
    if kind == 10:
        return "".join(chr(source.randrange(0x20, 0x7F)) for _ in range(source.randint(1, 30)))
    if kind == 11:
        return source.choice(["a", " ", "\n", "=", "0", "ab", "é", "中", "\r\n", "\t ", "'s", "😀", "_"]) * source.randint(2, 60)
    if kind == 12:
        return "".join(chr(source.randrange(0x80, 0x2000)) for _ in range(source.randint(1, 10)))
    return source.choice(WORDS)


def fuzzed(count, seed, names):
    source = random.Random(seed)
    yield ""
    for index in range(count - 1):
        if index % 1000 == 500:  # a very long run
            yield source.choice(["x", " ", "\n", "ab", "ß", "漢", "0", "-"]) * source.randint(4000, 16000)
            continue
        separator = source.choice(["", "", " "])
        yield separator.join(one_part(source, names) for _ in range(source.randint(1, 8)))


def every_character():
    characters = [chr(value) for value in range(0x110000) if not 0xD800 <= value < 0xE000]
    for start in range(0, len(characters), 256):
        block = characters[start:start + 256]
        # A letter joins the a after it, a digit the 1 before it, and anything else neither.
        yield "".join(character + "a1" for character in block)


def expected(tokenizer, settings, texts):
    add_bos = settings.get("add_bos_token")
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if add_bos is None:
            with_special = tokenizer.encode(text, add_special_tokens=True).ids
        else:
            with_special = [tokenizer.token_to_id(settings["bos_token"])] * add_bos + ids
        yield {"ids": ids, "with_special": with_special, "text": tokenizer.decode(ids, skip_special_tokens=True),
               "all_text": tokenizer.decode(ids, skip_special_tokens=False)}


def compare(program, folder, count, seed, characters):
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    document = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    settings_path = folder / "tokenizer_config.json"
    settings = json.loads(settings_path.read_text(encoding="utf-8")) if settings_path.exists() else {}
    added = {token["id"]: token["content"] for token in document["added_tokens"]}
    # The library reads DeepSeek's added token ü as a letter of the byte alphabet and decodes it to an ill-formed byte; Quench
    # gives the text back. Such strings must decode to themselves instead.
    unlike = {index for index, content in added.items() if not content.isascii() and
              (document.get("decoder") or {}).get("type") == "ByteLevel"}
    # It also forgets that a token is special when the normalizer changes its name; Quench leaves it out as asked.
    renamed = {token["id"] for token in document["added_tokens"] if token["special"] and token["normalized"] and
               tokenizer.normalizer and tokenizer.normalizer.normalize_str(token["content"]) != token["content"]}
    texts = [*fuzzed(count, seed, list(added.values())), *(every_character() if characters else [])]
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    run = subprocess.run([program, str(folder)], input=lines.encode(), capture_output=True, check=True)
    answers = [json.loads(line) for line in run.stdout.split(b"\n") if line]
    if len(answers) != len(texts):
        raise SystemExit(f"{folder.name}: {len(answers)} answers to {len(texts)} strings")
    differences, restored, tokens = 0, 0, 0
    for text, answer, want in zip(texts, answers, expected(tokenizer, settings, texts)):
        tokens += len(want["ids"])
        if unlike.intersection(want["ids"]):
            restored += 1
            want["all_text"] = text
            want["text"] = answer["text"]
        if renamed.intersection(want["ids"]):
            want["text"] = answer["text"]
        if answer != want:
            differences += 1
            if differences <= 5:
                print(f"{folder.name}: {text!r:.400}\n  library {want!r:.400}\n  quench  {answer!r:.400}")
    print(f"{folder.name}: {count} fuzzed strings and {len(texts) - count} of every character, {tokens} tokens, "
          f"{differences} differences ({restored} with tokens that only Quench decodes)")
    return differences


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("fixtures", type=pathlib.Path, nargs="+")
    parser.add_argument("--strings", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=20250101)
    parser.add_argument("--only")
    parser.add_argument("--variants", type=pathlib.Path)
    options = parser.parse_args()
    python = os.environ.get("QUENCH_PEERS_PYTHON")
    if not python:
        print("SKIPPED: QUENCH_PEERS_PYTHON is not set; it names a Python that has the package tokenizers")
        sys.exit(SKIPPED)
    if os.path.abspath(python) != os.path.abspath(sys.executable):
        os.execv(python, [python, *sys.argv])
    folders = sorted(path.parent for root in options.fixtures for path in root.glob("*/tokenizer.json"))
    folders = [folder for folder in folders if options.only in (None, folder.name)]
    if not folders:
        sys.exit("no tokenizer.json in a folder below " + ", ".join(map(str, options.fixtures)))
    differences = sum(compare(options.program, folder, options.strings, options.seed, True) for folder in folders)
    if options.variants and not options.only:
        for name, document in peer_variants.variants(options.variants):
            with tempfile.TemporaryDirectory() as scratch:
                folder = pathlib.Path(scratch) / name
                folder.mkdir()
                (folder / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
                differences += compare(options.program, folder, options.strings // 10, options.seed, False)
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
