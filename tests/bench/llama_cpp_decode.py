#!/usr/bin/env python3
"""`quench bench decode` beside llama.cpp on a Q4_0 model of the same shape with random weights, one after the other on
the same threads.

    llama_cpp_decode.py --binaries BUILD/bin [--threads 2] [--batches 1 8 32] [--tokens 32] [--arithmetics fp32 bf16] [--scratch DIR]

Needs tests/peers/requirements.txt (tests/peers/llama_cpp.py says why that wheel); `--library` names another libllama.so. Ours has 4 bits in
groups of 128, and activations in fp32 or bf16. Q4_0 has groups of 32, and llama.cpp rounds activations to 8 bits. Embedding aside, all
matrices are 4-bit on both sides, the head too. Median step after the first. Prints JSON lines."""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import gguf
import numpy

sys.path.insert(0, str(Path(__file__).parent.parent / "peers"))
from llama_cpp import Library, Missing, Model  # noqa: E402

SHAPE = {"hidden": 2048, "intermediate": 5632, "layers": 16, "heads": 32, "kv-heads": 8, "vocabulary": 32000}


def write_model(path):
    random = numpy.random.default_rng(1)

    def packed(rows, columns):
        blocks = random.integers(0, 256, (rows, columns // 32, 18), dtype=numpy.uint8)
        blocks[:, :, :2] = numpy.array([0.004], dtype=numpy.float16).view(numpy.uint8)
        return blocks.reshape(rows, -1)

    hidden, intermediate, heads, kv_heads = (SHAPE[k] for k in ("hidden", "intermediate", "heads", "kv-heads"))
    head_dim = hidden // heads
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(4096)
    writer.add_embedding_length(hidden)
    writer.add_block_count(SHAPE["layers"])
    writer.add_feed_forward_length(intermediate)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(head_dim)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(SHAPE["vocabulary"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_tokenizer_model("none")
    q4 = gguf.GGMLQuantizationType.Q4_0
    writer.add_tensor("token_embd.weight", packed(SHAPE["vocabulary"], hidden), raw_dtype=q4)
    writer.add_tensor("output.weight", packed(SHAPE["vocabulary"], hidden), raw_dtype=q4)
    writer.add_tensor("output_norm.weight", numpy.ones(hidden, dtype=numpy.float32))
    for layer in range(SHAPE["layers"]):
        for name, rows, columns in (("attn_q", hidden, hidden), ("attn_k", kv_heads * head_dim, hidden),
                                    ("attn_v", kv_heads * head_dim, hidden), ("attn_output", hidden, hidden),
                                    ("ffn_gate", intermediate, hidden), ("ffn_up", intermediate, hidden),
                                    ("ffn_down", hidden, intermediate)):
            writer.add_tensor(f"blk.{layer}.{name}.weight", packed(rows, columns), raw_dtype=q4)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", numpy.ones(hidden, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def their_rate(loaded, model, batch_size, tokens, threads):
    """Greedy decoding of batch_size sequences side by side, tokens per second."""
    context = loaded.context(model, batch_size * 256, batch_size, threads)
    library = loaded.c
    batch = library.llama_batch_init(batch_size, 0, 1)
    batch.n_tokens = batch_size
    next_tokens = [i + 2 for i in range(batch_size)]
    seconds = []
    for step in range(tokens):
        for i in range(batch_size):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = next_tokens[i], step, 1, i, 1
        start = time.perf_counter()
        status = library.llama_decode(context, batch)
        logits = [numpy.ctypeslib.as_array(library.llama_get_logits_ith(context, i), (SHAPE["vocabulary"],)) for i in range(batch_size)]
        next_tokens = [int(row.argmax()) for row in logits]
        seconds.append(time.perf_counter() - start)
        if status != 0:
            sys.exit(f"llama_decode returned {status}")
    library.llama_free(context)
    return batch_size / statistics.median(seconds[1:])


def our_rates(options, arithmetic):
    command = [f"{options.binaries}/quench", "bench", "decode", "--json", "--threads", str(options.threads), "--tokens",
               str(options.tokens), "--arithmetic", arithmetic, "--batch", *map(str, options.batches)]
    for name, value in SHAPE.items():
        command += [f"--{name}", str(value)]
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode != 0:
        sys.exit(f"{' '.join(command)}\nended with {finished.returncode}: {finished.stderr}")
    return json.loads(finished.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--arithmetics", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--scratch", type=Path, default=Path("."), help="the model is written there once, 480 MB")
    parser.add_argument("--library", type=Path)
    options = parser.parse_args()
    path = options.scratch / "random-q4_0.gguf"
    if not path.exists():
        write_model(path)
    try:
        library = Library(options.library)
    except Missing as missing:
        sys.exit(f"{missing}, or give --library libllama.so")
    model = Model(library, path).handle
    for arithmetic in options.arithmetics:
        ours = our_rates(options, arithmetic)
        for our in ours["batches"]:
            rate = their_rate(library, model, our["batch"], options.tokens, options.threads)
            print(json.dumps({"batch": our["batch"], "threads": options.threads, "parameters": ours["parameters"],
                              "ours_tokens_per_s": round(our["tokens_per_s"], 2), "ours_activations": ours["activations"],
                              "ours_products": ours["products"],
                              "llama_cpp_tokens_per_s": round(rate, 2), "ratio": round(our["tokens_per_s"] / rate, 3),
                              "ours_share_of_bandwidth": round(our["share_of_bandwidth"], 3),
                              "bandwidth_gbytes_per_s": round(ours["bandwidth_gbytes_per_s"], 2), "xllamacpp": library.version,
                              "llama_cpp": library.c.llama_print_system_info().decode()}), flush=True)


if __name__ == "__main__":
    main()
