#!/usr/bin/env python3
"""Random models of the families beside Llama, quantized by every method through a job, and their exports in the libraries that
read them: the fp16 export and compressed-tensors in transformers, logits against the packed artifact's, straight from the store.

    families.py --binaries BUILD/bin --fixtures tests/fixtures
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from exported import parse_options, prompt_ids, run  # before the libraries, which it keeps quiet

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM, Starcoder2Config, Starcoder2ForCausalLM

ALLOWED = 2e-3  # of the largest logit: weights rounded to fp16, everything else fp32
RECIPES = [
    {"name": "gptq-4", "method": "gptq", "bits": 4, "groupSize": 32},
    {"name": "awq-4", "method": "awq", "bits": 4, "groupSize": 32},
    {"name": "rtn-8", "method": "rtn", "bits": 8, "groupSize": -1},
    {"name": "int8-static", "method": "int8", "activations": "static"},
    {"name": "aqlm", "method": "aqlm", "codebooks": 2, "codebookBits": 6},
]
# An asymmetric checkpoint is not loaded by transformers 5.23 (export_formats.py); codebooks cannot be said.
COMPRESSED = {"gptq-4", "rtn-8", "int8-static"}


def random_models(vocabulary):
    shape = dict(hidden_size=96, intermediate_size=160, num_hidden_layers=2, num_attention_heads=6, vocab_size=vocabulary,
                 max_position_embeddings=512, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
                 initializer_range=0.08, bos_token_id=0, eos_token_id=1)
    yield "qwen2", Qwen2ForCausalLM(Qwen2Config(**shape, num_key_value_heads=2, tie_word_embeddings=True))
    yield "qwen2-own-heads", Qwen2ForCausalLM(Qwen2Config(**shape, num_key_value_heads=6))
    yield "starcoder2", Starcoder2ForCausalLM(Starcoder2Config(**shape, num_key_value_heads=2, sliding_window=9))


def loaded_logits(directory, ids):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0].float()


def main():
    options = parse_options(__doc__, [recipe["name"] for recipe in RECIPES])
    ids = prompt_ids(options.fixtures)
    coder = options.fixtures / "tiny_coder"
    vocabulary = json.loads((coder / "config.json").read_text())["vocab_size"]
    failures = []
    torch.manual_seed(5)
    for family, model in random_models(vocabulary):
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(0.1 * torch.randn_like(parameter))
        with tempfile.TemporaryDirectory() as scratch:
            scratch = Path(scratch)
            model.to(torch.bfloat16).save_pretrained(scratch / "model")
            for name in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copy(coder / name, scratch / "model" / name)
            job = {"name": family, "model": str(scratch / "model"), "baseline": False, "ranks": 2,
                   "quantize": [recipe for recipe in RECIPES if recipe["name"] in options.wanted],
                   "calibration": {"files": [str((options.fixtures / "calibration_python.txt").resolve())], "sequences": 16,
                                   "length": 128, "seed": 0}}
            (scratch / "job.json").write_text(json.dumps(job))
            made = json.loads(run(options.binaries / "quench", "run", scratch / "job.json", "--store", scratch / "store", "--json"))
            (scratch / "ids.txt").write_text(" ".join(map(str, ids)))
            for artifact in made["artifacts"]:
                name, digest = artifact["name"], artifact["digest"]
                run(options.binaries / "packed_probe", scratch / "store", digest, scratch / "ids.txt", 1, scratch / "out.safetensors")
                packed = load_file(scratch / "out.safetensors")["logits"]
                cells = []
                for form in ("fp16", "compressed-tensors"):
                    if (form == "fp16" and name == "int8-static") or (form != "fp16" and name not in COMPRESSED):
                        cells.append("-")
                        continue
                    target = scratch / f"{name}-{form}"
                    run(options.binaries / "quench", "artifacts", "export", digest, "--format", form, "--to", target, "--store",
                        scratch / "store")
                    share = ((packed - loaded_logits(target, ids)).abs().max() / packed.abs().max()).item()
                    cells.append(f"{share:.1e}")
                    if not share <= ALLOWED:
                        failures.append(f"{family} {name} {form}: logits differ by {share:.2e} of the largest, allowed {ALLOWED}")
                print(f"| {family} | {name} | {' | '.join(cells)} |", flush=True)
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
