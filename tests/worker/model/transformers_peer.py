#!/usr/bin/env python3
"""Holds our engine against transformers in fp32, live: a trained model of the fixtures, and random models of odd shape
that are made anew each time, of each dtype and with each way to say how they rotate.

    transformers_peer.py --probe BUILD/bin/model_probe --fixtures tests/fixtures [--seed N]

Logits must be within 1e-3 and greedy tokens equal, save where the two best
tokens are closer than the difference that is allowed.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

GREEDY_TOKENS = 64
transformers.utils.logging.disable_progress_bar()


def run_ours(probe, directory, ids):
    with tempfile.TemporaryDirectory() as scratch:
        ids_file, out = Path(scratch) / "ids.txt", Path(scratch) / "out.safetensors"
        ids_file.write_text(" ".join(map(str, ids)))
        subprocess.run([probe, str(directory), str(ids_file), str(GREEDY_TOKENS), str(out)], check=True)
        tensors = load_file(out)
    return tensors["logits"], tensors["greedy_ids"].tolist()


def compare(name, probe, directory, ids):
    model = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    ours, our_tokens = run_ours(probe, directory, ids)
    with torch.inference_mode():
        theirs = model(input_ids=torch.tensor([ids])).logits[0]
    allowed = 1e-3
    worst = (ours - theirs).abs().max().item()
    equal = 0
    text = list(ids)
    for token in our_tokens:
        with torch.inference_mode():
            last = model(input_ids=torch.tensor([text])).logits[0, -1]
        best, second = last.topk(2).values.tolist()
        if last.argmax().item() != token:
            if best - last[token].item() > allowed:
                sys.exit(f"{name}: token {len(text)} is {token}, transformers chooses {last.argmax().item()}")
            break
        equal += 1
        text.append(token)
    print(f"{name}: logits differ by at most {worst:.2e} (allowed {allowed:.2e}), {equal} greedy tokens equal", flush=True)
    if not worst < allowed:
        sys.exit(f"{name}: logits differ by {worst}")


def random_model(generator, directory, dtype):
    kv_heads = generator.choice([1, 2, 3])
    rotation = generator.choice([
        {"rope_type": "default", "rope_theta": 10000.0},
        {"rope_type": "default", "rope_theta": 1000000.0},
        {"rope_type": "linear", "factor": 4.0, "rope_theta": 100000.0}])
    heads = kv_heads * generator.choice([1, 2, 5])
    # transformers 5 wants the hidden size to be a multiple of the heads, though the head size is its own.
    config = LlamaConfig(
        hidden_size=heads * generator.choice([5, 14, 22]), intermediate_size=generator.choice([52, 100, 172]),
        num_hidden_layers=generator.choice([1, 2, 3]), num_attention_heads=heads,
        num_key_value_heads=kv_heads, head_dim=generator.choice([6, 16, 40, 66]), vocab_size=generator.choice([97, 515]),
        max_position_embeddings=512, rms_norm_eps=generator.choice([1e-5, 1e-6]), rope_parameters=rotation,
        tie_word_embeddings=generator.random() < 0.5, initializer_range=0.15)
    torch.manual_seed(generator.randrange(1 << 30))
    model = LlamaForCausalLM(config).to(dtype)
    model.save_pretrained(directory, max_shard_size=generator.choice(["60KB", "1GB"]))
    # save_pretrained may leave the head's dtype or tie to the config alone: say what was made.
    shape = {key: getattr(config, key) for key in ("hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim",
                                                   "vocab_size", "tie_word_embeddings")}
    print(json.dumps({**shape, **rotation, "dtype": str(dtype)}), flush=True)
    return [generator.randrange(config.vocab_size) for _ in range(generator.choice([1, 17, 90]))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probe", required=True)
    parser.add_argument("--fixtures", required=True, type=Path)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    torch.set_num_threads(2)
    seed = options.seed if options.seed is not None else random.randrange(1 << 30)
    print(f"seed {seed}")
    generator = random.Random(seed)
    for fixture in ("tiny_coder", "stories260k", "odd_llama"):
        vocabulary = json.loads((options.fixtures / fixture / "config.json").read_text())["vocab_size"]
        compare(fixture, options.probe, options.fixtures / fixture, [generator.randrange(vocabulary) for _ in range(60)])
    for dtype in (torch.float32, torch.float16, torch.bfloat16) * 2:
        with tempfile.TemporaryDirectory() as directory:
            ids = random_model(generator, directory, dtype)
            compare("random model", options.probe, directory, ids)


if __name__ == "__main__":
    main()
