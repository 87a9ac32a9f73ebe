"""The peer nnsight: a transformers model in `NNsight`, read and changed inside `trace`. See harness.py for the contract.

It reads the weights from safetensors, and decodes in a loop of traces, which is what an edit at every step comes to.
"""
import harness

# The thread count must be in the environment before torch is imported.
harness.prepare_torch()

import torch
from nnsight import NNsight, save
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.utils import logging

logging.disable_progress_bar()
logging.set_verbosity_error()
torch.set_grad_enabled(False)

PLAIN = {"use_cache": False, "logits_to_keep": 1}


def load(options):
    dtype = torch.bfloat16 if options.dtype == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype, attn_implementation=options.attention)
    return NNsight(model.eval().requires_grad_(False))


def downs(model):
    """The down projections: what goes in is mlp_act."""
    return [layer.mlp.down_proj for layer in model.model.layers]


def capture(model, tokens):
    rows = torch.tensor(tokens["rows"])

    def run():
        with model.trace(rows, **PLAIN):
            kept = save([down.input for down in downs(model)])  # one (row, pos, unit) per layer
        return kept

    return run, lambda kept: [x.double().abs().mean().item() for x in kept]


def attribute(model, tokens):
    row, target = torch.tensor(tokens["rows"][:1]), tokens["target"]

    @torch.enable_grad()
    def run():
        with model.trace(row, **PLAIN):
            # The graph starts at the first site, as for the other peers.
            kept = [downs(model)[0].input.requires_grad_(True)]
            kept += [down.input for down in downs(model)[1:]]
            logits = model.output.logits[0, -1]
            grads = torch.autograd.grad(logits[target] - logits.mean(), kept)
            effects = save([(x.detach() * g)[0] for x, g in zip(kept, grads)])  # (pos, unit) per layer
        return effects

    return run, harness.halves


def decode(model, tokens):
    prompt = torch.tensor([tokens["prompt"]])
    down = downs(model)[harness.EDIT_LAYER]

    def run():
        cache, ids, step = DynamicCache(config=model.config), [], prompt
        for _ in range(tokens["new_tokens"]):
            with model.trace(step, past_key_values=cache, use_cache=True, logits_to_keep=1):
                down.input[..., harness.EDIT_UNIT] = 0.0
                logits = save(model.output.logits)
            step = logits[:, -1].argmax(-1, keepdim=True)  # (1, 1)
            ids.append(step.item())
        return ids

    return run, lambda ids: ids


if __name__ == "__main__":
    cases = {"capture": capture, "attribute": attribute, "decode": decode}
    harness.main("nnsight", ["torch", "transformers", "nnsight"], cases, load)
