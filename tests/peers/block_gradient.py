#!/usr/bin/env python3
"""The gradient of a block of codebook entries, as fine-tuning takes it, against PyTorch's autograd in float64 on the same
numbers: largest difference within 1e-4 of the largest gradient of each tensor. Prints the worst of each kind."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--fixtures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "gradient.safetensors"
        subprocess.run([f"{options.binaries}/gradient_probe", out], check=True)
        data = load_file(out)
    values = [data[f"value.{k}"].double().requires_grad_() for k in range(16)]

    def linear(which, x):
        codes = data[f"codes.{which}"].long()
        entries, scales = values[2 * which], values[2 * which + 1]
        groups = sum(entries[m][codes[:, :, m]] for m in range(codes.shape[2]))
        return x @ (groups.reshape(len(codes), -1) * scales[:, None]).T

    x, target = data["x"].double(), data["target"].double()
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
    result = middle + linear(6, torch.nn.functional.silu(linear(4, m)) * linear(5, m))
    loss = ((result - target) ** 2).sum()
    loss.backward()

    worst = {"error": abs(data["error"].item() - loss.item()) / loss.item()}
    for index in range(16):
        expected, found = values[index].grad, data[f"gradient.{index}"].reshape(values[index].shape)
        kind = "norms" if index >= 14 else ("codebooks", "scales")[index % 2]
        worst[kind] = max(worst.get(kind, 0), ((found - expected).abs().max() / expected.abs().max()).item())
    print(f"torch {torch.__version__}: " + ", ".join(f"{kind} {value:.2g}" for kind, value in worst.items()))
    sys.exit(0 if max(worst.values()) <= BOUND else f"beyond {BOUND}")


if __name__ == "__main__":
    main()
