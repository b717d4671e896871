"""Tokenizers that use what the known models leave unused: every option that Quench reads, on small real vocabularies.

`variants(root)` gives (name, tokenizer.json as a dict) made from the fixtures stories260k (SentencePiece-style) and tiny_coder
(byte-level) below `root`. compare_with_peers.py asks the library and Quench about each.
"""
import copy
import json

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def pre(*parts):
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [*parts]}}


def metaspace(scheme, cut):
    part = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}
    return {"normalizer": None, "pre_tokenizer": part, "decoder": part}


def with_token_flags(document, **flags):
    document = copy.deepcopy(document)
    for token in document["added_tokens"]:
        token.update(flags)
    first = max(document["model"]["vocab"].values()) + 1 + len(document["added_tokens"])
    names = ["<s>x", " y", "ab", "é", "\n\n"]
    document["added_tokens"] += [
        {"id": first + index, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": index % 2 == 0, **flags} for index, name in enumerate(names) if name not in document["model"]["vocab"]]
    # The library numbers them without gaps.
    for index, token in enumerate(token for token in document["added_tokens"]
                                  if token["content"] not in document["model"]["vocab"]):
        token["id"] = max(document["model"]["vocab"].values()) + 1 + index
    return document


def variants(root):
    llama = json.loads((root / "stories260k" / "tokenizer.json").read_text(encoding="utf-8"))
    coder = json.loads((root / "tiny_coder" / "tokenizer.json").read_text(encoding="utf-8"))
    for scheme in ("always", "first", "never"):
        for cut in (True, False):
            yield f"metaspace-{scheme}-{'split' if cut else 'whole'}", {**llama, **metaspace(scheme, cut)}
    yield "metaspace-old", {**llama, "normalizer": None, "decoder": {"type": "Metaspace", "replacement": "▁",
                                                                      "add_prefix_space": True},
                            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}}
    yield "no-decoder", {**llama, "decoder": None}
    for name, changes in {
            "unknown-each": {"byte_fallback": False, "fuse_unk": False}, "unknown-fused": {"byte_fallback": False, "fuse_unk": True},
            "unknown-dropped": {"byte_fallback": False, "unk_token": None}, "whole-words": {"ignore_merges": True}}.items():
        yield name, {**llama, "model": {**llama["model"], **changes}}
    partial = {token: index for token, index in llama["model"]["vocab"].items() if token not in ("<0xC3>", "<0xE6>", "<0xF0>")}
    yield "some-bytes", {**llama, "model": {**llama["model"], "vocab": partial}}
    for flags in ({"lstrip": True}, {"rstrip": True}, {"lstrip": True, "rstrip": True}, {"single_word": True},
                  {"normalized": True}, {"normalized": True, "rstrip": True, "single_word": True}):
        name = "-".join(flags)
        yield f"added-{name}-llama", with_token_flags(llama, **flags)
        yield f"added-{name}-coder", with_token_flags(coder, **flags)
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            parts = split({"Regex": r"[aeiou\s]"}, behavior, invert), split({"String": "st"}, behavior, not invert)
            yield f"split-{behavior}-{'not-' if invert else ''}match", {**coder, **pre(*parts, BYTE_LEVEL)}
    yield "llama-3", {**coder, **pre(split({"Regex": LLAMA3}), BYTE_LEVEL)}
    yield "qwen-2", {**coder, "normalizer": {"type": "NFC"}, **pre(split({"Regex": QWEN2}), BYTE_LEVEL)}
    yield "empty-matches", {**coder, **pre(split({"Regex": r"\d*"}), split({"Regex": "(?=[A-Z])"}), BYTE_LEVEL)}
    yield "lines", {**coder, **pre(split({"Regex": r"^\s+|\s+$"}), split({"Regex": r"(?<=\n).|.$"}, "Contiguous"), BYTE_LEVEL)}
    yield "digits-together", {**coder, **pre({"type": "Digits", "individual_digits": False}, {**BYTE_LEVEL, "use_regex": True})}
    yield "prefix-space", {**coder, "pre_tokenizer": {**BYTE_LEVEL, "add_prefix_space": True, "use_regex": True}}
    replace = {"type": "Replace", "pattern": {"Regex": r"\s+|\p{Lu}"}, "content": " "}
    yield "replace", {**coder, "normalizer": {"type": "Sequence", "normalizers": [replace, {"type": "Prepend", "prepend": "x"}]}}
