#!/usr/bin/env python3
"""Quantizes a trained model, exports it in every format but GPTQ's (export_gptq.py), and holds the exports against the
libraries that read them and against our engine:

    plain               transformers loads fp16 and bf16; logits against the packed artifact's, straight from the store
    compressed-tensors  the library decompresses each linear: the fp16 export's weights, to the bit; and transformers
                        loads the directory: logits against the packed artifact's
    integer activations refused by every other format
    GGUF                the gguf package reads it: every tensor the fp16 export's, to the bit, its rows put back into
                        Hugging Face's order; the tokenizer's tokens; what Q8_0, Q4_0 and Q4_K cannot hold is refused

    export_formats.py --binaries BUILD/bin --fixtures tests/fixtures
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from exported import parse_options, prompt_ids, quantized, run  # before the libraries, which it keeps quiet

import gguf
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationConfig
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

# int8 with integer activations: only compressed-tensors can say it.
INTEGER_RECIPES = [
    {"name": "int8-dynamic", "method": "int8", "activations": "dynamic"},
    {"name": "int8-static", "method": "int8", "activations": "static"},
]
# Of the largest logit. compressed-tensors takes the largest value of a token over 127.5 where vLLM's kernels and ours take
# 127, so its steps are others; a static scale is in the file.
INTEGERS_ALLOWED = {"int8-dynamic": 3e-2, "int8-static": 3e-3}
# Of the largest logit. Weights rounded to fp16 (11 bits) or bf16 (8 bits), everything else fp32.
ALLOWED = {"fp16": 1e-3, "bf16": 1e-2}

RECIPES = [
    {"name": "gptq-4", "method": "gptq", "bits": 4, "groupSize": 64},
    {"name": "gptq-4-asymmetric", "method": "gptq", "bits": 4, "groupSize": 64, "symmetric": False},
    {"name": "gptq-8", "method": "gptq", "bits": 8, "groupSize": 64},
    {"name": "gptq-8-asymmetric", "method": "gptq", "bits": 8, "groupSize": 128, "symmetric": False},
    {"name": "gptq-4-per-row", "method": "gptq", "bits": 4, "groupSize": -1},
    {"name": "gptq-4-row-order", "method": "gptq", "bits": 4, "groupSize": -1, "symmetric": False, "actOrder": True},
    {"name": "rtn-4", "method": "rtn", "bits": 4, "groupSize": 64},
    {"name": "int8", "method": "int8"},
    {"name": "gptq-4-act-order", "method": "gptq", "bits": 4, "groupSize": 64, "actOrder": True},
    {"name": "rtn-3-asymmetric", "method": "rtn", "bits": 3, "groupSize": 64, "symmetric": False},
    {"name": "aqlm-2x4", "method": "aqlm", "codebooks": 2, "codebookBits": 4},
]
# Why an artifact is refused, where it is.
REFUSED = {
    "gguf-q8_0": {"gptq-8-asymmetric": "its codes run from", "gptq-4-act-order": "actOrder", "aqlm-2x4": "codebook",
                  "none": "not quantized"},
    "gguf-q4_0": {"gptq-4-asymmetric": "its codes run from", "gptq-8": "its codes run from -128 to 127",
                  "gptq-8-asymmetric": "its codes run from", "gptq-4-row-order": "its codes run from",
                  "int8": "its codes run from", "gptq-4-act-order": "actOrder",
                  "aqlm-2x4": "codebook", "none": "not quantized"},
    "gguf-q4_k": {"gptq-4": "not multiples of one", "gptq-4-asymmetric": "not multiples of one", "rtn-4": "not multiples of one",
                  "rtn-3-asymmetric": "not multiples of one", "gptq-4-act-order": "actOrder", "gptq-8": "its codes have 8 bits",
                  "gptq-8-asymmetric": "its codes have 8 bits", "int8": "its codes have 8 bits",
                  "aqlm-2x4": "codebook", "none": "not quantized"},
}
GGUF_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
              "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
              "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
              "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
ASYMMETRIC = {recipe["name"] for recipe in RECIPES if not recipe.get("symmetric", True)}
PLAIN_ONLY = {"gptq-4-act-order", "rtn-3-asymmetric", "aqlm-2x4", "none"}


def same_bits(ours, theirs):
    return ours.dtype == theirs.dtype and ours.shape == theirs.shape and torch.equal(ours.view(torch.int16), theirs.view(torch.int16))


def decompressed_weights(directory):
    """The weights that the library's own code makes of each compressed linear, and how many there were."""
    config = json.loads((directory / "config.json").read_text())["quantization_config"]
    quantization = QuantizationConfig(**config)
    scheme = quantization.config_groups["group_0"]
    compressor = BaseCompressor.get_value_from_registry(quantization.format)
    tensors = load_file(directory / "model.safetensors")
    weights, count = {}, 0
    for name in tensors:
        if not name.endswith(".weight_scale"):
            continue
        stem = name.removesuffix("weight_scale")
        state = {key.removeprefix(stem): value for key, value in tensors.items() if key.startswith(stem)}
        if not set(state) >= set(compressor.compression_param_names(scheme)):
            sys.exit(f"{stem}: has {sorted(state)}, the library wants {compressor.compression_param_names(scheme)}")
        plain = compressor.decompress(state, scheme)
        weights[stem + "weight"] = plain["weight"]
        if "weight_zero_point" in state and not torch.equal(compressor.compress(plain, scheme)["weight_zero_point"],
                                                            state["weight_zero_point"]):
            sys.exit(f"{stem}: the library packs these zero points otherwise")
        count += 1
    return weights, count


def gguf_name(name):
    stem = name.removesuffix(".weight")
    if stem.startswith("model.layers."):
        layer, _, part = stem.removeprefix("model.layers.").partition(".")
        return f"blk.{layer}.{GGUF_NAMES[part]}.weight"
    return f"{GGUF_NAMES[stem]}.weight"


def equal_gguf_tensors(file, reference, config):
    """How many tensors of the GGUF file are the reference's, to the bit in fp16."""
    reader = gguf.GGUFReader(file)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    equal = 0
    for name, expected in reference.items():
        tensor = tensors.pop(gguf_name(name))
        weight = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy()).reshape(expected.shape)
        heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}.get(name.split(".")[-2], 0)
        if heads:
            weight = weight.reshape(heads, -1, 2, expected.shape[1]).swapaxes(1, 2).reshape(expected.shape)
        # The sign of a zero is not kept by whole numbers.
        equal += torch.equal(weight.to(torch.float16) + 0, expected + 0)
    if tensors:
        sys.exit(f"{file}: has {sorted(tensors)} besides")
    return equal


def loaded_logits(directory, ids):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    with torch.inference_mode():
        return model.eval()(input_ids=torch.tensor([ids])).logits[0].float()


def dynamic_logits(source, directory, ids):
    """The source in PyTorch with the exported whole numbers as weights and each token's inputs rounded by its largest over 127."""
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    tensors = load_file(directory / "model.safetensors")

    def rounded(module, inputs):
        scale = inputs[0].abs().amax(-1, keepdim=True) / 127
        return (torch.round(inputs[0] / scale).clamp(-127, 127) * scale,)

    for name, module in model.named_modules():
        if f"{name}.weight_scale" not in tensors:
            continue
        module.weight.data = tensors[f"{name}.weight"].float() * tensors[f"{name}.weight_scale"].float()
        module.register_forward_pre_hook(rounded)
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0].float()


class Session:
    def __init__(self, options, scratch, ids):
        self.fixtures = options.fixtures
        self.binaries, self.scratch, self.store, self.ids = options.binaries, scratch, scratch / "store", ids
        self.failures = []

    def export(self, name, digest, form):
        directory = self.scratch / f"{name}-{form}"
        run(self.binaries / "quench", "artifacts", "export", digest, "--format", form, "--to", directory, "--store", self.store)
        return directory

    def packed_logits(self, digest):
        ids_file, out = self.scratch / "ids.txt", self.scratch / "out.safetensors"
        ids_file.write_text(" ".join(map(str, self.ids)))
        run(self.binaries / "packed_probe", self.store, digest, ids_file, 1, out)
        return load_file(out)["logits"]

    def want(self, holds, what):
        if not holds:
            self.failures.append(what)

    def difference(self, packed, directory, allowed, what):
        share = ((packed - loaded_logits(directory, self.ids)).abs().max() / packed.abs().max()).item()
        self.want(share <= allowed, f"{what}: logits differ by {share:.2e} of the largest, allowed {allowed}")
        return f"{share:.1e}"

    def check(self, name, digest):
        packed = self.packed_logits(digest)
        plain = self.export(name, digest, "fp16")
        cells = [self.difference(packed, plain, ALLOWED["fp16"], f"{name} fp16"),
                 self.difference(packed, self.export(name, digest, "bf16"), ALLOWED["bf16"], f"{name} bf16")]
        reference = load_file(plain / "model.safetensors")
        if name in PLAIN_ONLY:
            cells += ["-", "-"]
        else:
            directory = self.export(name, digest, "compressed-tensors")
            weights, count = decompressed_weights(directory)
            equal = sum(same_bits(reference[key], weight) for key, weight in weights.items())
            self.want(equal == count == 42, f"{name}: {equal} of {count} decompressed linears have the plain export's bits; 42 are there")
            # transformers 5.23 prepares a model for zero points that are not packed, and so loads no asymmetric
            # checkpoint that compressed-tensors 0.20 writes, either.
            cells += [f"{equal} of {count}", "-" if name in ASYMMETRIC else
                      self.difference(packed, directory, ALLOWED["fp16"], f"{name} compressed-tensors")]
        for form in ("gguf-f16", "gguf-q8_0", "gguf-q4_0", "gguf-q4_k"):
            cells.append(self.check_gguf(name, digest, form, reference, plain))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)

    def check_integers(self, name, digest):
        for form in ("fp16", "bf16", "gptq", "gguf-f16", "gguf-q8_0"):
            target = self.scratch / "refused"
            finished = subprocess.run([self.binaries / "quench", "artifacts", "export", digest, "--format", form, "--to", target,
                                       "--store", self.store], capture_output=True, text=True)
            self.want(finished.returncode == 2 and "choose --format compressed-tensors" in finished.stderr and not target.exists(),
                      f"{name} as {form}: ended with {finished.returncode}: {finished.stderr}")
        packed = self.packed_logits(digest)
        directory = self.export(name, digest, "compressed-tensors")
        difference = self.difference(packed, directory, INTEGERS_ALLOWED[name], f"{name} compressed-tensors")
        if name == "int8-dynamic":
            reference = dynamic_logits(self.fixtures / "tiny_coder", directory, self.ids)
            # A last bit of PyTorch's sums that turns one input from x.4999 to x.5 is a step, and all behind it noise: tokens
            # before the first such step must be equal.
            shares = (packed - reference).abs().amax(-1) / packed.abs().max()
            equal = int((shares > 1e-5).int().argmax())
            self.want(equal > 0 and shares.max() <= INTEGERS_ALLOWED[name], f"{name}: {shares.tolist()} of the largest logit from PyTorch")
            difference += (f", from PyTorch with our scales by {shares[:equal].max():.1e} in the first {equal} of {len(shares)} tokens, "
                           f"{shares.max():.1e} behind them,")
        print(f"{name}: refused by all formats but compressed-tensors, where logits differ by {difference} of the largest", flush=True)

    def check_gguf(self, name, digest, form, reference, plain):
        if name in REFUSED.get(form, {}):
            target = self.scratch / "refused"
            finished = subprocess.run([self.binaries / "quench", "artifacts", "export", digest, "--format", form, "--to", target,
                                       "--store", self.store], capture_output=True, text=True)
            self.want(finished.returncode == 2 and REFUSED[form][name] in finished.stderr and "choose --format gguf-" in finished.stderr
                      and not target.exists(), f"{name} as {form}: ended with {finished.returncode}: {finished.stderr}")
            return "refused"
        file = self.export(name, digest, form) / "model.gguf"
        equal = equal_gguf_tensors(file, reference, json.loads((plain / "config.json").read_text()))
        self.want(equal == len(reference), f"{name} as {form}: {equal} of {len(reference)} tensors equal")
        fields = gguf.GGUFReader(file).fields
        tokens = fields["tokenizer.ggml.tokens"].contents()
        tokenizer = AutoTokenizer.from_pretrained(plain)
        self.want(tokens == tokenizer.convert_ids_to_tokens(list(range(len(tokens)))), f"{name} as {form}: other tokens")
        merges = json.loads((plain / "tokenizer.json").read_text())["model"]["merges"]
        self.want(fields["tokenizer.ggml.merges"].contents() == [m if isinstance(m, str) else " ".join(m) for m in merges],
                  f"{name} as {form}: other merges")
        return f"{equal} of {len(reference)}"


def main():
    options = parse_options(__doc__, ["none"] + [recipe["name"] for recipe in RECIPES + INTEGER_RECIPES])
    ids = prompt_ids(options.fixtures)
    with tempfile.TemporaryDirectory() as directory:
        session = Session(options, Path(directory), ids)
        recipes = [recipe for recipe in RECIPES + INTEGER_RECIPES if recipe["name"] in options.wanted]
        made = quantized(options, recipes, True, 4, 128, session.scratch, session.store)
        artifacts = {artifact["name"]: artifact["digest"] for artifact in made}
        if set(artifacts) != set(options.wanted) | {"none"}:
            sys.exit(f"made {sorted(artifacts)}, wanted {sorted(options.wanted)}")
        print("| artifact | fp16 in transformers | bf16 in transformers | equal linears | compressed-tensors in transformers | F16 | Q8_0 | Q4_0 | Q4_K |")
        print("|---|---|---|---|---|---|---|---|---|", flush=True)
        for name in options.wanted:
            (session.check_integers if name in INTEGERS_ALLOWED else session.check)(name, artifacts[name])
    if session.failures:
        sys.exit("\n".join(session.failures))


if __name__ == "__main__":
    main()
