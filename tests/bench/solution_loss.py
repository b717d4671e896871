#!/usr/bin/env python3
"""How well model directories predict HumanEval's solutions as tests/fixtures/tiny_coder learned them: each problem from
position 0, prompt and solution tokenized separately, the end-of-text token last.

`quench perplexity` cuts windows anywhere in a text. For a model that has memorised problems from their start that is text
it never saw, of which it is wrongly sure: there noise can lower perplexity, and methods cannot be ranked by it.

    quench artifacts export NAME --format fp16 --to DIR
    solution_loss.py DIR...

Prints a JSON line for each: nats a token of prompts and of solutions, and the solutions whose every token is the likeliest,
which are those that greedy decoding writes. Needs torch, transformers and tokenizers.
"""

import argparse
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

PROBLEMS = Path(__file__).resolve().parents[2] / "worker/evaluate/data/HumanEval.jsonl"
END_OF_TEXT = "<|end_of_text|>"


@torch.inference_mode()
def measure(directory, problems):
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    model = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    nats, tokens, exact = {"prompt": 0.0, "solution": 0.0}, {"prompt": 0, "solution": 0}, 0
    for problem in problems:
        prompt = tokenizer.encode(problem["prompt"]).ids
        solution = tokenizer.encode(problem["canonical_solution"]).ids + [tokenizer.token_to_id(END_OF_TEXT)]
        ids = torch.tensor([prompt + solution])
        scores = model(input_ids=ids, use_cache=False).logits[0, :-1].log_softmax(-1)
        targets, first = ids[0, 1:], len(prompt) - 1
        losses = -scores.gather(1, targets[:, None])[:, 0]
        for part, of_part in (("prompt", losses[:first]), ("solution", losses[first:])):
            nats[part] += of_part.sum().item()
            tokens[part] += len(of_part)
        exact += bool((scores[first:].argmax(-1) == targets[first:]).all())
    return {"model": str(directory), "prompt_nats": nats["prompt"] / tokens["prompt"],
            "solution_nats": nats["solution"] / tokens["solution"], "exact_solutions": exact, "problems": len(problems)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="+", type=Path)
    options = parser.parse_args()
    problems = [json.loads(line) for line in PROBLEMS.read_text(encoding="utf-8").splitlines()]
    for directory in options.directories:
        print(json.dumps(measure(directory, problems)), flush=True)


if __name__ == "__main__":
    main()
