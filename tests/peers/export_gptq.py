#!/usr/bin/env python3
"""Quantizes a trained model, exports it to the GPTQ format, and holds three readings of one artifact against each other:

    packed    our engine, straight from the packed artifact (packed_probe, and `quench generate`)
    library   GPTQModel, from the exported directory
    formula   the exported files dequantized here by the format's definition, run by transformers

    export_gptq.py --binaries BUILD/bin --fixtures tests/fixtures [--artifacts NAME,NAME]
"""

import json
import sys
import tempfile
from pathlib import Path

from exported import PROMPT, parse_options, prompt_ids, quantized, run  # before the libraries, which it keeps quiet

import numpy
import torch
from gptqmodel import BACKEND, GPTQModel
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

GREEDY_TOKENS = 64
# All three compute in fp32 from the same codes and fp16 scales; only the order of their sums differs.
ALLOWED = 1e-4

RECIPES = [
    {"name": "gptq-4", "method": "gptq", "bits": 4, "groupSize": 64},
    {"name": "gptq-3", "method": "gptq", "bits": 3, "groupSize": 64},
    {"name": "gptq-8", "method": "gptq", "bits": 8, "groupSize": 64},
    {"name": "gptq-2", "method": "gptq", "bits": 2, "groupSize": 64},
    {"name": "gptq-4-asymmetric", "method": "gptq", "bits": 4, "groupSize": 64, "symmetric": False},
    {"name": "gptq-3-asymmetric", "method": "gptq", "bits": 3, "groupSize": 32, "symmetric": False},
    {"name": "gptq-4-act-order", "method": "gptq", "bits": 4, "groupSize": 64, "actOrder": True},
    {"name": "gptq-4-per-row", "method": "gptq", "bits": 4, "groupSize": -1},
    {"name": "rtn-4", "method": "rtn", "bits": 4, "groupSize": 64},
    {"name": "int8", "method": "int8"},
]


def unpack(words, bits, count):
    """`count` codes of `bits` bits from the rows of int32 `words` [W, N]: low bits first, no padding. [count, N]."""
    little = words.astype(numpy.int64) & 0xFFFFFFFF
    stream = ((little[:, None, :] >> numpy.arange(32)[None, :, None]) & 1).reshape(-1, words.shape[1])
    weights = 1 << numpy.arange(bits)
    return (stream[: count * bits].reshape(count, bits, -1) * weights[None, :, None]).sum(1)


def dequantized(directory):
    """State dict of a plain model, from the definition of the format."""
    config = json.loads((directory / "config.json").read_text())["quantization_config"]
    bits, minus_one = config["bits"], config["checkpoint_format"] == "gptq"
    tensors = load_file(directory / "model.safetensors")
    state = {}
    for name, tensor in tensors.items():
        stem, _, part = name.rpartition(".")
        if part in ("qzeros", "scales", "g_idx"):
            continue
        if part != "qweight":
            state[name] = tensor.float()
            continue
        scales = tensors[f"{stem}.scales"].numpy().astype(numpy.float32)
        groups = tensors[f"{stem}.g_idx"].numpy()
        if tensors[f"{stem}.scales"].dtype != torch.float16 or groups.min() != 0 or groups.max() != len(scales) - 1:
            sys.exit(f"{stem}: scales are not fp16, or g_idx does not name every group")
        codes = unpack(tensor.numpy(), bits, len(groups))
        zeros = unpack(tensors[f"{stem}.qzeros"].numpy().T, bits, scales.shape[1]).T
        if minus_one:
            zeros = (zeros + 1) % (1 << bits)
        weights = (codes - zeros[groups]).astype(numpy.float32) * scales[groups]
        state[f"{stem}.weight"] = torch.from_numpy(weights.T.copy())
    return state


def check_greedy(what, tokens, logits):
    """`logits` of another engine after each prefix of the greedy path `tokens`: its arg-max is the next token, save where
    its best two are nearer than twice the difference that is allowed. Returns how many places agree."""
    equal = 0
    for place, (token, row) in enumerate(zip(tokens, logits)):
        lead = (row.max() - row[token]).item()
        if lead > 2 * ALLOWED:
            sys.exit(f"{what}: greedy token {place} is {token}, theirs {row.argmax().item()} by a lead of {lead:.2e}")
        equal += row.argmax().item() == token
    return equal


def check(name, digest, options, store, scratch, ids):
    directory = scratch / name
    run(options.binaries / "quench", "artifacts", "export", digest, "--format", "gptq", "--to", directory, "--store", store)

    ids_file, out = scratch / "ids.txt", scratch / "out.safetensors"
    ids_file.write_text(" ".join(map(str, ids)))
    run(options.binaries / "packed_probe", store, digest, ids_file, GREEDY_TOKENS, out)
    probed = load_file(out)
    packed, packed_tokens = probed["logits"], probed["greedy_ids"].tolist()
    generated = json.loads(run(options.binaries / "quench", "generate", digest, "--prompt", PROMPT, "--max-tokens",
                               GREEDY_TOKENS, "--temperature", 0, "--json", "--store", store))

    # Its kernel is chosen for fp16 only; widened afterwards (weights, and its fp16 scales), it computes in fp32.
    library = GPTQModel.load(str(directory), backend=BACKEND.GPTQ_TORCH, device="cpu", dtype=torch.float16)
    library.model.float().eval()
    config = LlamaConfig.from_pretrained(directory)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    formula = LlamaForCausalLM(config).float().eval()
    missing, unexpected = formula.load_state_dict(dequantized(directory), strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        sys.exit(f"{name}: missing {missing}, unexpected {unexpected}")
    formula.tie_weights()

    # One pass over the prompt and our greedy path: the other engine takes the same path when its arg-max after each
    # prefix is our next token.
    said = generated["tokens"]
    if said != packed_tokens[: len(said)] or not said:
        sys.exit(f"{name}: quench generate says {said}, the probe {packed_tokens}")
    path = torch.tensor([ids + packed_tokens])
    with torch.inference_mode():
        library_logits = library.model(input_ids=path).logits[0].float()
        formula_logits = formula(input_ids=path).logits[0]
    to_library = (packed - library_logits[: len(ids)]).abs().max().item()
    to_formula = (packed - formula_logits[: len(ids)]).abs().max().item()
    same = check_greedy(f"{name} in GPTQModel", packed_tokens, library_logits[len(ids) - 1:])
    check_greedy(f"{name} by the formula", packed_tokens, formula_logits[len(ids) - 1:])
    largest = packed.abs().max().item()
    print(f"| {name} | {largest:.1f} | {to_library:.2e} | {to_formula:.2e} | {same} of {GREEDY_TOKENS} |", flush=True)
    if not (to_library <= ALLOWED and to_formula <= ALLOWED):
        return f"{name}: logits differ by {to_library} (GPTQModel) and {to_formula} (formula), allowed {ALLOWED}"
    return None


def main():
    options = parse_options(__doc__, [recipe["name"] for recipe in RECIPES])
    recipes = [recipe for recipe in RECIPES if recipe["name"] in options.wanted]
    ids = prompt_ids(options.fixtures)
    failures = []
    with tempfile.TemporaryDirectory() as directory:
        scratch, store = Path(directory), Path(directory) / "store"
        artifacts = quantized(options, recipes, False, 8, 256, scratch, store)
        print("| artifact | largest logit | packed to GPTQModel | packed to formula | same greedy tokens |")
        print("|---|---|---|---|---|", flush=True)
        if len(artifacts) != len(recipes):
            sys.exit(f"{len(recipes)} artifacts ordered, {len(artifacts)} made")
        for recipe, artifact in zip(recipes, artifacts):
            failure = check(recipe["name"], artifact["digest"], options, store, scratch, ids)
            failures += [failure] if failure else []
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
