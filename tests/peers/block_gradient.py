#!/usr/bin/env python3
"""The gradients of codebook entries, scales and norms, as fine-tuning takes them, against PyTorch's autograd in float64 on
the same numbers: of a block's squared error, and of the divergence of a model of such blocks from the original one, which
transformers computes. Largest difference within 1e-4 of the largest gradient of each tensor. Prints the worst of each kind."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

HEADS, KV_HEADS, HEAD_DIM, EPSILON, THETA = 4, 2, 16, 1e-5, 10000.0
BOUND = 1e-4


def norm(x, weight):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + EPSILON) * weight


def rotate(x):  # [heads, tokens, HEAD_DIM]
    half = HEAD_DIM // 2
    frequencies = THETA ** (-torch.arange(half, dtype=torch.float64) * 2 / HEAD_DIM)
    angles = torch.arange(x.shape[1], dtype=torch.float64)[:, None] * frequencies
    cosine, sine = torch.cos(angles), torch.sin(angles)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine], -1)


def block(data, values, prefix, x):
    """The output for x [tokens, hidden] of the block whose codes have this prefix and whose parameters are `values`."""
    def linear(which, x):
        codes = data[f"{prefix}codes.{which}"].long()
        entries, scales = values[2 * which], values[2 * which + 1]
        groups = sum(entries[m][codes[:, :, m]] for m in range(codes.shape[2]))
        return x @ (groups.reshape(len(codes), -1) * scales[:, None]).T

    tokens = len(x)
    n = norm(x, values[14])
    q, k, v = (linear(i, n).reshape(tokens, -1, HEAD_DIM).transpose(0, 1) for i in range(3))
    q, k = rotate(q), rotate(k)
    k, v = (t.repeat_interleave(HEADS // KV_HEADS, 0) for t in (k, v))
    scores = q @ k.transpose(1, 2) / HEAD_DIM**0.5
    scores = scores.masked_fill(torch.ones(tokens, tokens).triu(1).bool(), float("-inf"))
    attention = (torch.softmax(scores, -1) @ v).transpose(0, 1).reshape(tokens, -1)
    middle = x + linear(3, attention)
    m = norm(middle, values[15])
    return middle + linear(6, torch.nn.functional.silu(linear(4, m)) * linear(5, m))


def parameters(data, prefix):
    return [data[f"value.{prefix}{k}"].double().requires_grad_() for k in range(16)]


def worst_of(data, values, prefix, worst):
    for index in range(16):
        expected, found = values[index].grad, data[f"gradient.{prefix}{index}"].reshape(values[index].shape)
        kind = "norms" if index >= 14 else ("codebooks", "scales")[index % 2]
        worst[kind] = max(worst.get(kind, 0), ((found - expected).abs().max() / expected.abs().max()).item())


def of_block(probe, folder):
    subprocess.run([probe, folder / "gradient.safetensors"], check=True)
    data = load_file(folder / "gradient.safetensors")
    values = parameters(data, "")
    loss = ((block(data, values, "", data["x"].double()) - data["target"].double()) ** 2).sum()
    loss.backward()
    worst = {"error": abs(data["error"].item() - loss.item()) / loss.item()}
    worst_of(data, values, "", worst)
    return worst


def of_model(probe, folder):
    torch.manual_seed(2)
    config = LlamaConfig(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=HEADS,
                         num_key_value_heads=KV_HEADS, vocab_size=50, max_position_embeddings=128, rms_norm_eps=EPSILON,
                         tie_word_embeddings=False, initializer_range=0.15, bos_token_id=0, eos_token_id=1)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.norm.weight.add_(0.2 * torch.randn(64))
    model.save_pretrained(folder / "model")
    subprocess.run([probe, folder / "gradient.safetensors", folder / "model"], check=True)
    data = load_file(folder / "gradient.safetensors")
    model = model.double().eval()
    values = [parameters(data, f"{layer}.") for layer in range(2)]
    divergence = 0
    for tokens in data["tokens"].long():
        with torch.no_grad():
            original = torch.log_softmax(model(input_ids=tokens[None]).logits[0], -1)
            hidden = model.model.embed_tokens(tokens)
        for layer in range(2):
            hidden = block(data, values[layer], f"{layer}.", hidden)
        logits = norm(hidden, model.model.norm.weight.detach()) @ model.lm_head.weight.detach().T
        divergence = divergence + (original.exp() * (original - torch.log_softmax(logits, -1))).sum()
    divergence = divergence / data["tokens"].numel()
    divergence.backward()
    worst = {"divergence": abs(data["divergence"].item() - divergence.item()) / divergence.item()}
    for layer in range(2):
        worst_of(data, values[layer], f"{layer}.", worst)
    return worst


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--fixtures")
    options = parser.parse_args()
    beyond = False
    for what in (of_block, of_model):
        with tempfile.TemporaryDirectory() as folder:
            worst = what(f"{options.binaries}/gradient_probe", Path(folder))
        print(f"torch {torch.__version__}, {what.__name__}: " + ", ".join(f"{kind} {value:.2g}" for kind, value in worst.items()))
        beyond = beyond or not max(worst.values()) <= BOUND
    sys.exit(f"beyond {BOUND}" if beyond else 0)


if __name__ == "__main__":
    main()
