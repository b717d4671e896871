"""Layers to quantize with two programs: weights W [N, K] and calibration inputs X [T, K], fp32."""

import numpy
import torch
from transformers import AutoTokenizer, LlamaForCausalLM


def synthetic_layer(rows, columns, tokens, dead_columns, seed):
    """What a linear of a language model sees: inputs that share a falling spectrum of directions, a few outlier channels
    that are tens of times larger, `dead_columns` that are always zero; weights with a spread of row sizes."""
    random = numpy.random.default_rng(seed)
    directions = numpy.linalg.qr(random.standard_normal((columns, columns)))[0]
    strengths = numpy.arange(1, columns + 1) ** -0.6
    inputs = random.standard_normal((tokens, columns)) * strengths @ directions
    inputs += 0.02 * random.standard_normal((tokens, columns))
    outliers = random.choice(columns, 6, replace=False)
    inputs[:, outliers] *= random.uniform(15, 60, 6)
    inputs[:, outliers[:2]] += 5.0
    inputs[:, random.choice(columns, dead_columns, replace=False)] = 0.0
    # GPTQModel writes ones on the dead diagonal before it sorts and damps; among large values they come last, as ours.
    inputs *= 100.0
    weights = random.standard_t(6, (rows, columns)) * random.uniform(0.01, 0.05, (rows, 1))
    return weights.astype(numpy.float32), inputs.astype(numpy.float32)


def captured_layers(model_directory, text_file, names, tokens, length=256):
    """Linears of a trained model by name, each with the inputs it gets while the model reads `text_file`."""
    tokenizer = AutoTokenizer.from_pretrained(model_directory)
    model = LlamaForCausalLM.from_pretrained(model_directory, dtype=torch.float32).eval()
    ids = tokenizer(text_file.read_text()[: tokens * 12], add_special_tokens=False)["input_ids"][:tokens]
    if len(ids) < tokens:
        raise SystemExit(f"{text_file}: {len(ids)} tokens, {tokens} are needed")
    seen = {name: [] for name in names}
    hooks = [model.get_submodule(name).register_forward_pre_hook(
        lambda _, inputs, name=name: seen[name].append(inputs[0].reshape(-1, inputs[0].shape[-1]).clone())) for name in names]
    with torch.inference_mode():
        model(input_ids=torch.tensor(ids).reshape(-1, length))
    for hook in hooks:
        hook.remove()
    return {name: (model.get_submodule(name).weight.detach().numpy().copy(), torch.cat(seen[name]).numpy())
            for name in names}
