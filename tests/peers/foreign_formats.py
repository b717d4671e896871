#!/usr/bin/env python3
"""AWQ's and AQLM's formats in the libraries that read them, and what GPTQModel quantizes taken in by `quench artifacts import`:

    awq     transformers with GPTQModel's kernels loads the export: logits against the fp16 export's
    aqlm    the authors' library dequantizes each linear: the fp16 export's weights but for fp16's rounding; and transformers
            loads the directory, its CPU kernel on one thread (on several it races): logits against the fp16 export's
    import  symmetric, asymmetric and act-order checkpoints of GPTQModel: each linear's weights against the library's own, which
            it makes in bf16; the same tokens are the likeliest

    foreign_formats.py --binaries BUILD/bin --fixtures tests/fixtures
"""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

os.environ["NUMBA_NUM_THREADS"] = "1"
# GPTQModel wants more loaders than it makes threads for on a small machine.
os.cpu_count = lambda: 8

from exported import parse_options, prompt_ids, quantized, run  # before the libraries, which it keeps quiet

import torch
from aqlm.utils import _dequantize_weight, unpack_int_data
from gptqmodel import BACKEND, GPTQModel, QuantizeConfig
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

# Of the largest logit or weight: fp16 has 11 bits, bf16 8.
FP16, BF16 = 1e-3, 2.0**-7
RECIPES = [{"name": "gptq", "method": "gptq", "bits": 4, "groupSize": 64},
           {"name": "asymmetric", "method": "gptq", "bits": 4, "groupSize": 64, "symmetric": False},
           {"name": "aqlm", "method": "aqlm", "codebooks": 2, "codebookBits": 8}]
CHECKPOINTS = {"symmetric": {"sym": True}, "asymmetric": {"sym": False}, "act-order": {"desc_act": True}}


def logits(model, ids):
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0].float()


def loaded_logits(directory, ids):
    return logits(AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval(), ids)


def apart(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def main():
    options = parse_options(__doc__, ["awq", "aqlm", "import"])
    options.binaries, options.fixtures = options.binaries.absolute(), options.fixtures.absolute()
    ids = prompt_ids(options.fixtures)
    failed = []

    def judge(what, difference, allowed, same_tokens=True):
        print(f"{what}: {difference:.2e} of the largest, allowed {allowed:.1e}; the same tokens: {same_tokens}", flush=True)
        if not difference <= allowed or not same_tokens:
            failed.append(what)

    # GPTQModel writes logs where it runs.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        scratch = Path(folder)
        store = scratch / "store"
        names = {one["name"]: one["digest"] for one in quantized(options, RECIPES, False, 16, 128, scratch, store)}

        def export(artifact, form):
            to = scratch / f"{artifact.replace('/', '-')}-{form}"
            run(options.binaries / "quench", "artifacts", "export", names.get(artifact, artifact), "--format", form, "--to", to, "--store", store)
            return to

        for artifact in ("gptq", "asymmetric") if "awq" in options.wanted else ():
            theirs, plain = loaded_logits(export(artifact, "awq"), ids), loaded_logits(export(artifact, "fp16"), ids)
            judge(f"awq export of {artifact}", apart(theirs, plain), FP16, torch.equal(theirs.argmax(-1), plain.argmax(-1)))
        if "aqlm" in options.wanted:
            directory, plain = export("aqlm", "aqlm"), export("aqlm", "fp16")
            tensors, reference = load_file(directory / "model.safetensors"), load_file(plain / "model.safetensors")
            stems = [name.removesuffix(".codes") for name in tensors if name.endswith(".codes")]
            worst = max(apart(_dequantize_weight(unpack_int_data(tensors[stem + ".codes"], 8), tensors[stem + ".codebooks"].float(),
                                                 tensors[stem + ".scales"].float()), reference[stem + ".weight"].float()) for stem in stems)
            judge(f"aqlm export, {len(stems)} linears dequantized", worst, FP16)
            theirs, ours = loaded_logits(directory, ids), loaded_logits(plain, ids)
            judge("aqlm export", apart(theirs, ours), FP16, torch.equal(theirs.argmax(-1), ours.argmax(-1)))
        if "import" in options.wanted:
            model = options.fixtures / "tiny_coder"
            text = AutoTokenizer.from_pretrained(model)((options.fixtures / "calibration_python.txt").read_text())["input_ids"]
            windows = [{"input_ids": text[i:i + 128], "attention_mask": [1] * 128} for i in range(0, 32 * 128, 128)]
        for name, settings in CHECKPOINTS.items() if "import" in options.wanted else ():
            directory = scratch / f"gptqmodel-{name}"
            made = GPTQModel.load(str(model), QuantizeConfig(bits=4, group_size=64, **settings), device="cpu")
            made.quantize(windows, batch_size=1)
            made.save(str(directory))
            run(options.binaries / "quench", "artifacts", "import", "--from", directory, "--as", f"elsewhere/{name}", "--store", store)
            plain = export(f"elsewhere/{name}", "fp16")
            theirs = GPTQModel.load(str(directory), device="cpu", backend=BACKEND.TORCH).model
            reference, worst, count = load_file(plain / "model.safetensors"), 0.0, 0
            for stem, module in theirs.named_modules():
                if hasattr(module, "dequantize_weight"):
                    worst = max(worst, apart(reference[stem + ".weight"].float(), module.dequantize_weight().T.float()))
                    count += 1
            judge(f"import of GPTQModel's {name} checkpoint, {count} linears", worst if count else float("nan"), BF16,
                  torch.equal(logits(theirs, ids).argmax(-1), loaded_logits(plain, ids).argmax(-1)))
    if failed:
        sys.exit("too far apart: " + ", ".join(failed))


if __name__ == "__main__":
    main()
