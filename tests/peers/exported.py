"""What the checks of exports share: the quiet of the libraries, one trained model quantized by a job, and `quench`."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # GPTQModel compiles its kernels, which takes longer than they run

import torch  # noqa: E402
import transformers  # noqa: E402

PROMPT = "def median(l: list):\n    \"\"\"Return median of elements in the list l.\"\"\"\n"


def run(*command):
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if finished.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nended with {finished.returncode}\n{finished.stdout}{finished.stderr}")
    return finished.stdout


def parse_options(description, names):
    """--binaries, --fixtures, and in `wanted` the names of --artifacts or all of `names`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", required=True, type=Path)
    parser.add_argument("--fixtures", required=True, type=Path)
    parser.add_argument("--artifacts", default="", help="names, separated by commas; default: all")
    options = parser.parse_args()
    options.wanted = options.artifacts.split(",") if options.artifacts else names
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    return options


def prompt_ids(fixtures):
    return transformers.AutoTokenizer.from_pretrained(fixtures / "tiny_coder")(PROMPT, add_special_tokens=False)["input_ids"]


def quantized(options, recipes, baseline, sequences, length, scratch, store):
    """The artifacts of a job over these recipes, as its report lists them."""
    job = {"name": "export", "model": str((options.fixtures / "tiny_coder").resolve()), "baseline": baseline,
           "quantize": recipes, "ranks": 1,
           "calibration": {"files": [str((options.fixtures / "calibration_python.txt").resolve())], "sequences": sequences,
                           "length": length, "seed": 0}}
    (scratch / "job.json").write_text(json.dumps(job))
    return json.loads(run(options.binaries / "quench", "run", scratch / "job.json", "--store", store, "--json"))["artifacts"]
