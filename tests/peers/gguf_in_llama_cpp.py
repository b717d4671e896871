#!/usr/bin/env python3
"""GGUF exports in the real llama.cpp (llama_cpp.py), beside our engine on the packed artifact, straight from the store:

    models      trained and random ones of every family as F16, Q8_0, Q4_0 and Q4_K: logits of a prompt, and of trained ones
                the tokens that follow it; where a window would matter the file's context ends
    tokenizers  of real vocabularies, in random models of one small block: llama.cpp's own cases and random text, ids
                beside those of the tokenizers library, which are the engine's

    gguf_in_llama_cpp.py --binaries BUILD/bin --fixtures tests/fixtures [--artifacts models,tokenizers]
"""

import json
import random
import shutil
import sys
import tarfile
import tempfile
import unicodedata
from pathlib import Path

from exported import parse_options, prompt_ids, run  # before the libraries, which it keeps quiet

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Starcoder2Config, Starcoder2ForCausalLM

from llama_cpp import Library, Missing, Model

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "worker" / "tokenize"))
from compare_with_peers import CODE, fuzzed  # noqa: E402

SKIPPED = 77
# Of the largest logit. llama.cpp keeps keys and values in fp16, rounds the activations before an F16 linear to fp16 (11 bits)
# and before a quantized one to 8 bits by blocks of 32 (Q8_0, Q4_0) or 256 (Q4_K).
ALLOWED = {"gguf-f16": 3e-3, "gguf-q8_0": 3e-2, "gguf-q4_0": 3e-2, "gguf-q4_k": 3e-2}
GREEDY = 48
TRAINED = [  # artifact, formats
    ({"name": "none"}, ["gguf-f16"]),
    ({"name": "gptq-4", "method": "gptq", "bits": 4, "groupSize": 64}, ["gguf-f16", "gguf-q4_0"]),
    ({"name": "gptq-8", "method": "gptq", "bits": 8, "groupSize": 64}, ["gguf-q8_0"]),
    ({"name": "gptq-4-groups-of-256", "method": "gptq", "bits": 4, "groupSize": 256, "symmetric": False}, ["gguf-f16", "gguf-q4_k"]),
    ({"name": "rtn-3-per-row", "method": "rtn", "bits": 3, "groupSize": -1, "symmetric": False}, ["gguf-q4_k"]),
    ({"name": "awq-4", "method": "awq", "bits": 4, "groupSize": 64}, ["gguf-f16"]),
    ({"name": "aqlm-2x6", "method": "aqlm", "codebooks": 2, "codebookBits": 6}, ["gguf-f16"]),
]
RANDOM = [
    ({"name": "none"}, ["gguf-f16"]),
    ({"name": "rtn-8", "method": "rtn", "bits": 8, "groupSize": 32}, ["gguf-q8_0"]),
    ({"name": "rtn-4", "method": "rtn", "bits": 4, "groupSize": 32}, ["gguf-q4_0"]),
]
ALIKE = {"gpt2", "refact", "wizardcoder"}  # split text as tiny_coder's and starcoder's do
QWEN2_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
                 r"|\s+(?!\S)|\s+")


class Session:
    def __init__(self, options, library):
        self.options, self.library, self.failures = options, library, []

    def want(self, holds, what):
        if not holds:
            self.failures.append(what)

    def quantized(self, model, recipes, scratch):
        job = {"name": "gguf", "model": str(model.resolve()), "baseline": any(r["name"] == "none" for r in recipes), "ranks": 1,
               "quantize": [recipe for recipe in recipes if recipe["name"] != "none"],
               "calibration": {"files": [str((self.options.fixtures / "calibration_python.txt").resolve())], "sequences": 4,
                               "length": 128, "seed": 0}}
        (scratch / "job.json").write_text(json.dumps(job))
        made = json.loads(run(self.options.binaries / "quench", "run", scratch / "job.json", "--store", scratch / "store", "--json"))
        return {artifact["name"]: artifact["digest"] for artifact in made["artifacts"]}

    def exported(self, digest, form, scratch):
        target = scratch / f"{digest[:12]}-{form}"
        run(self.options.binaries / "quench", "artifacts", "export", digest, "--format", form, "--to", target, "--store", scratch / "store")
        return Model(self.library, target / "model.gguf")

    def check_model(self, name, model, wanted, ids, trained, scratch):
        artifacts = self.quantized(model, [recipe for recipe, _ in wanted], scratch)
        (scratch / "ids.txt").write_text(" ".join(map(str, ids)))
        for recipe, forms in wanted:
            digest = artifacts[recipe["name"]]
            run(self.options.binaries / "packed_probe", scratch / "store", digest, scratch / "ids.txt", GREEDY, scratch / "out.safetensors")
            packed = load_file(scratch / "out.safetensors")
            for form in forms:
                theirs = self.exported(digest, form, scratch)
                logits, greedy = theirs.logits(ids, GREEDY if trained else 0)
                theirs.close()
                share = ((packed["logits"] - torch.from_numpy(logits)).abs().max() / packed["logits"].abs().max()).item()
                what = f"{name} {recipe['name']} {form}"
                self.want(share <= ALLOWED[form], f"{what}: logits differ by {share:.2e} of the largest, allowed {ALLOWED[form]}")
                ours = packed["greedy_ids"].tolist()
                same = next((i for i, pair in enumerate(zip(ours, greedy)) if pair[0] != pair[1]), len(greedy))
                if trained and same < GREEDY:
                    self.want(form != "gguf-f16", f"{what}: the same greedy tokens up to {same} of {GREEDY}")
                    self.check_tie(digest, ids + ours[:same], greedy[same], ALLOWED[form], what, scratch)
                print(f"| {name} | {recipe['name']} | {form.removeprefix('gguf-')} | {share:.1e} | "
                      f"{f'{same} of {GREEDY}' if trained else '-'} |", flush=True)

    def check_tie(self, digest, ids, theirs, allowed, what, scratch):
        """Where llama.cpp chose another token, the engine's logits of both are no further apart than both may be off."""
        (scratch / "longer.txt").write_text(" ".join(map(str, ids)))
        run(self.options.binaries / "packed_probe", scratch / "store", digest, scratch / "longer.txt", 1, scratch / "longer.safetensors")
        logits = load_file(scratch / "longer.safetensors")["logits"][-1]
        gap = ((logits.max() - logits[theirs]) / logits.abs().max()).item()
        self.want(gap <= 2 * allowed, f"{what}: token {len(ids)} is another, whose logit is lower by {gap:.2e} of the largest")

    def models(self):
        print("| model | artifact | format | logits | greedy tokens |\n|---|---|---|---|---|", flush=True)
        fixtures = self.options.fixtures
        with tempfile.TemporaryDirectory() as scratch:
            self.check_model("tiny_coder", fixtures / "tiny_coder", TRAINED, prompt_ids(fixtures), True, Path(scratch))
        story = Tokenizer.from_file(str(fixtures / "stories260k" / "tokenizer.json")).encode("Once upon a time there was a").ids
        with tempfile.TemporaryDirectory() as scratch:
            self.check_model("stories260k", fixtures / "stories260k", TRAINED[:1], story, True, Path(scratch))
        vocabulary = json.loads((fixtures / "tiny_coder" / "config.json").read_text())["vocab_size"]
        for name, model in random_models(vocabulary):
            with tempfile.TemporaryDirectory() as scratch:
                scratch = Path(scratch)
                save(model, scratch / "model", fixtures / "tiny_coder")
                self.check_model(name, scratch / "model", RANDOM, prompt_ids(fixtures), False, scratch)
        with tempfile.TemporaryDirectory() as scratch:
            scratch = Path(scratch)
            save(starcoder2(vocabulary, 9), scratch / "model", fixtures / "tiny_coder")
            theirs = self.exported(self.quantized(scratch / "model", [{"name": "none"}], scratch)["none"], "gguf-f16", scratch)
            context = self.library.c.llama_model_n_ctx_train(theirs.handle)
            self.want(context == 9, f"a window of 9 tokens became a context of {context}")

    def check_tokenizer(self, name, folder, texts, expected, sure):
        """`sure` texts, the first, have to be equal; of the others the share that is told."""
        with tempfile.TemporaryDirectory() as scratch:
            scratch = Path(scratch)
            save(one_block(len(expected.names)), scratch / "model", folder)
            theirs = self.exported(self.quantized(scratch / "model", [{"name": "none"}], scratch)["none"], "gguf-f16", scratch)
            other = [i for i, text in enumerate(texts) if theirs.tokens(expected.normalized(text)) != expected.ids(text)]
            adds = bool(self.library.c.llama_vocab_get_add_bos(theirs.vocabulary))
            begin = self.library.c.llama_vocab_bos(theirs.vocabulary)
            theirs.close()
        for i in [i for i in other if i < sure][:3]:
            self.failures.append(f"{name}: {texts[i]!r}: expected {expected.ids(texts[i])[:24]}")
        self.want(adds == expected.adds_begin, f"{name}: llama.cpp {'puts' if adds else 'does not put'} <s> first")
        self.want(not adds or begin == expected.begin, f"{name}: begins with {begin}, expected {expected.begin}")
        rest = len(texts) - sure
        share = sum(i >= sure for i in other) / rest if rest else 0
        self.want(share <= 0.05, f"{name}: {share:.1%} of random strings have other ids")
        print(f"| {name} | {sure - sum(i < sure for i in other)} of {sure} | {rest - sum(i >= sure for i in other)} of {rest} |", flush=True)

    def tokenizers(self, strings):
        print("| vocabulary | llama.cpp's cases and code | random strings |\n|---|---|---|", flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            scratch = Path(scratch)
            for archive in sorted((self.options.fixtures / "tokenizers").glob("*.tar.xz")):
                with tarfile.open(archive) as packed:
                    packed.extractall(scratch, filter="data")
            made_of_gpt2(scratch)
            cases = (scratch / "gpt2" / "cases.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
            texts = cases + [CODE] + CODE.splitlines()
            for folder in [self.options.fixtures / "tiny_coder", self.options.fixtures / "stories260k", *sorted(scratch.iterdir())]:
                if folder.name in ALIKE:
                    continue
                expected = Expected(folder, scratch)
                names = [name for name in expected.names if name.startswith("<")][:20]
                self.check_tokenizer(folder.name, folder, texts + list(fuzzed(strings, 7, names)), expected, len(texts))


class Expected:
    """What the tokenizers library makes of a text; of tokenizer.model, the vocabulary of the same tokens."""

    def __init__(self, folder, archives):
        json_folder = folder if (folder / "tokenizer.json").exists() else archives / "llama-spm"
        self.tokenizer = Tokenizer.from_file(str(json_folder / "tokenizer.json"))
        document = json.loads((json_folder / "tokenizer.json").read_text(encoding="utf-8"))
        self.nfc = (document["normalizer"] or {}).get("type") == "NFC"
        settings = json.loads((json_folder / "tokenizer_config.json").read_text())
        self.adds_begin = settings.get("add_bos_token", False)
        self.begin = self.tokenizer.token_to_id(settings["bos_token"])
        self.names = [self.tokenizer.id_to_token(i) for i in range(self.tokenizer.get_vocab_size())]

    def normalized(self, text):
        """As the tokenizer has it before it splits, which llama.cpp leaves to its caller."""
        return unicodedata.normalize("NFC", text) if self.nfc else text

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids


def made_of_gpt2(scratch):
    """Qwen2's and Llama 3's ways of splitting text, with GPT-2's tokens: their own are not among the fixtures."""
    for name, pattern, changes in (("qwen2", QWEN2_PATTERN, {"normalizer": {"type": "NFC"}}),
                                   ("llama3", QWEN2_PATTERN.replace(r"|\p{N}|", r"|\p{N}{1,3}|"), {})):
        shutil.copytree(scratch / "gpt2", scratch / name)
        document = json.loads((scratch / "gpt2" / "tokenizer.json").read_text(encoding="utf-8"))
        document.update(changes)
        document["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}]}
        document["model"]["type"] = "BPE"
        document["model"]["ignore_merges"] = name == "llama3"
        (scratch / name / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")


def shape_of(vocabulary):
    return dict(hidden_size=96, intermediate_size=160, num_hidden_layers=2, num_attention_heads=6, vocab_size=vocabulary,
                max_position_embeddings=512, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
                initializer_range=0.08, bos_token_id=0, eos_token_id=1)


def starcoder2(vocabulary, window):
    return Starcoder2ForCausalLM(Starcoder2Config(**shape_of(vocabulary), num_key_value_heads=2, sliding_window=window))


def random_models(vocabulary):
    torch.manual_seed(5)
    yield "qwen2, tied", Qwen2ForCausalLM(Qwen2Config(**shape_of(vocabulary), num_key_value_heads=2, tie_word_embeddings=True))
    yield "qwen2", Qwen2ForCausalLM(Qwen2Config(**shape_of(vocabulary), num_key_value_heads=6, tie_word_embeddings=False))
    yield "starcoder2", starcoder2(vocabulary, 512)
    yield "llama, linear rope", LlamaForCausalLM(LlamaConfig(**{**shape_of(vocabulary), "rope_parameters": {
        "rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}}, num_key_value_heads=2, tie_word_embeddings=False))


def one_block(vocabulary):
    return LlamaForCausalLM(LlamaConfig(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
                                        vocab_size=vocabulary, max_position_embeddings=64, tie_word_embeddings=True,
                                        bos_token_id=1, eos_token_id=2))


def save(model, directory, tokenizer):
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.to(torch.bfloat16).save_pretrained(directory)
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"):
        if (tokenizer / name).exists():
            shutil.copy(tokenizer / name, directory / name)


def main():
    options = parse_options(__doc__, ["models", "tokenizers"])
    random.seed(0)
    try:
        session = Session(options, Library())
    except Missing as missing:
        print(f"skipped: {missing}")
        sys.exit(SKIPPED)
    if "models" in options.wanted:
        session.models()
    if "tokenizers" in options.wanted:
        session.tokenizers(300)
    if session.failures:
        sys.exit("\n".join(session.failures))


if __name__ == "__main__":
    main()
