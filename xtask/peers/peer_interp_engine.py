"""The peer interp-engine: its eager backend with its `HookManager` at the point `mlp_act`. See harness.py for the contract.

It reads the weights from safetensors. Its `capture` computes the logits of every position and copies what it keeps, and its
`generate_stream` turns each token into text; its hooks around a call of its model do without, so that is what is timed.
"""
import harness

# The thread count must be in the environment before torch is imported.
harness.prepare_torch()

import torch
from interp_engine import HookManager, load_model
from transformers import DynamicCache
from transformers.utils import logging

logging.disable_progress_bar()
logging.set_verbosity_error()
torch.set_grad_enabled(False)


def load(options):
    dtype = {"f32": "float32", "bf16": "bfloat16"}[options.dtype]
    how = {"backend": "eager", "device": "cpu", "attn_implementation": options.attention}
    return load_model(options.model, dtype=dtype, **how)


def places(model):
    """Where mlp_act of every layer passes: a module and a side of it."""
    return [model.resolve_point("mlp_act", layer) for layer in range(model.n_layers)]


def last_logits(model, rows):
    # (row, pos) -> (row, vocab): the head is applied to the last position alone
    return model.hf_model(rows, use_cache=False, logits_to_keep=1).logits[:, -1]


def capture(model, tokens):
    rows = torch.tensor(tokens["rows"])

    def run():
        kept = []  # one (row, pos, unit) per layer, in the order in which layers run
        with HookManager() as hooks:
            for module, side in places(model):
                hooks.read(module, kept.append, point=side)
            last_logits(model, rows)
        return kept

    return run, lambda kept: [x.double().abs().mean().item() for x in kept]


def attribute(model, tokens):
    row = torch.tensor(tokens["rows"][:1])

    @torch.enable_grad()
    def run():
        kept = []

        def keep(x):
            # The graph starts at the first site, as for the other peers.
            x = x if kept else x.requires_grad_(True)
            kept.append(x)
            return x

        with HookManager() as hooks:
            for module, side in places(model):
                hooks.write(module, keep, point=side)
            logits = last_logits(model, row)[0]
        grads = torch.autograd.grad(logits[tokens["target"]] - logits.mean(), kept)
        return [(x.detach() * g)[0] for x, g in zip(kept, grads)]  # (pos, unit) per layer

    return run, harness.halves


def decode(model, tokens):
    prompt = torch.tensor([tokens["prompt"]])
    units = torch.ones(model.config.intermediate_size, dtype=model.dtype)
    units[harness.EDIT_UNIT] = 0.0
    module, side = places(model)[harness.EDIT_LAYER]

    def run():
        cache, ids, step = DynamicCache(config=model.config), [], prompt
        with HookManager() as hooks:
            hooks.write(module, lambda x: x * units, point=side)
            for _ in range(tokens["new_tokens"]):
                logits = model.hf_model(step, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
                step = logits[:, -1].argmax(-1, keepdim=True)  # (1, 1)
                ids.append(step.item())
        return ids

    return run, lambda ids: ids


if __name__ == "__main__":
    cases = {"capture": capture, "attribute": attribute, "decode": decode}
    harness.main("interp-engine", ["torch", "transformers", "interp-engine"], cases, load)
