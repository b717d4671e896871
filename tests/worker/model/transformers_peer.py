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
from transformers import (AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Starcoder2Config,
                          Starcoder2ForCausalLM)

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
    # Eager attention: the fused one sums in another order.
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
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


def other_family(generator, directory, dtype, family):
    """Heads of hidden_size / heads, as these families have them; biases and norms are drawn too, which start as 0 and 1."""
    kv_heads = generator.choice([1, 2, 3])
    heads = kv_heads * generator.choice([1, 2, 4])
    shape = dict(
        hidden_size=heads * generator.choice([8, 14, 22]), intermediate_size=generator.choice([52, 100, 172]),
        num_hidden_layers=generator.choice([1, 2, 3]), num_attention_heads=heads, num_key_value_heads=kv_heads,
        vocab_size=generator.choice([97, 515]), max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": generator.choice([10000.0, 1000000.0])},
        tie_word_embeddings=generator.random() < 0.5, initializer_range=0.15, bos_token_id=0, eos_token_id=0)
    if family == "qwen2":
        config, kind = Qwen2Config(**shape, rms_norm_eps=generator.choice([1e-5, 1e-6])), Qwen2ForCausalLM
    else:
        config = Starcoder2Config(**shape, norm_epsilon=1e-5, use_bias=generator.random() < 0.8,
                                  sliding_window=generator.choice([None, 1, 9, 32, 400]))
        kind = Starcoder2ForCausalLM
    torch.manual_seed(generator.randrange(1 << 30))
    model = kind(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.to(dtype).save_pretrained(directory, max_shard_size=generator.choice(["60KB", "1GB"]))
    print(json.dumps({"family": family, **shape, "sliding_window": getattr(config, "sliding_window", None), "dtype": str(dtype)}),
          flush=True)
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
    for family in ("qwen2", "starcoder2"):
        for dtype in (torch.float32, torch.float16, torch.bfloat16) * 2:
            with tempfile.TemporaryDirectory() as directory:
                ids = other_family(generator, directory, dtype, family)
                compare(f"random {family}", options.probe, directory, ids)


if __name__ == "__main__":
    main()
