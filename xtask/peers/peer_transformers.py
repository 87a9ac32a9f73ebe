"""The peer `transformers`: hooks on the modules' inputs. See harness.py for the contract.

`load` is timed on the GGUF, as ours is. The other cases read the same weights from safetensors, which takes a tenth of the time
and less memory.
"""
from pathlib import Path

import harness

# The thread count must be in the environment before torch is imported.
harness.prepare_torch()

import torch
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.utils import logging

logging.disable_progress_bar()
logging.set_verbosity_error()
torch.set_grad_enabled(False)


def load(options):
    how = {"dtype": torch.bfloat16 if options.dtype == "bf16" else torch.float32, "attn_implementation": options.attention}
    if options.case == "load":
        gguf = Path(options.gguf)
        model = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, **how)
    else:
        model = AutoModelForCausalLM.from_pretrained(options.model, **how)
    return model.eval().requires_grad_(False)


def downs(model):
    """The down projections: what goes in is mlp_act."""
    return [layer.mlp.down_proj for layer in model.model.layers]


def last_logits(model, rows):
    # (row, pos) -> (row, vocab): the head is applied to the last position alone
    return model(rows, use_cache=False, logits_to_keep=1).logits[:, -1]


def forward(model, tokens):
    rows = torch.tensor(tokens["rows"])
    return lambda: last_logits(model, rows), lambda logits: logits[:, tokens["watched"]].float().flatten().tolist()


def row(model, tokens):
    return forward(model, tokens | {"rows": tokens["rows"][:1]})


def capture(model, tokens):
    rows = torch.tensor(tokens["rows"])

    def run():
        kept = []  # one (row, pos, unit) per layer, in the order in which layers run
        hooks = [d.register_forward_pre_hook(lambda _, args: kept.append(args[0])) for d in downs(model)]
        try:
            last_logits(model, rows)
        finally:
            for hook in hooks:
                hook.remove()
        return kept

    return run, lambda kept: [x.double().abs().mean().item() for x in kept]


def attribute(model, tokens):
    row = torch.tensor(tokens["rows"][:1])

    @torch.enable_grad()
    def run():
        kept = []

        def keep(_, args):
            # Nothing below the first site needs a gradient, so the graph starts there: the cheapest honest way.
            x = args[0] if kept else args[0].requires_grad_(True)
            kept.append(x)
            return (x,)

        hooks = [d.register_forward_pre_hook(keep) for d in downs(model)]
        try:
            logits = last_logits(model, row)[0]
        finally:
            for hook in hooks:
                hook.remove()
        grads = torch.autograd.grad(logits[tokens["target"]] - logits.mean(), kept)
        return [(x.detach() * g)[0] for x, g in zip(kept, grads)]  # (pos, unit) per layer

    return run, harness.halves


def decode(model, tokens):
    prompt = torch.tensor([tokens["prompt"]])
    units = torch.ones(model.config.intermediate_size, dtype=model.dtype)
    units[harness.EDIT_UNIT] = 0.0

    def run():
        # A bare greedy loop, not `generate`: it does the same work with less around it, so it is the stronger peer.
        edit = downs(model)[harness.EDIT_LAYER].register_forward_pre_hook(lambda _, args: (args[0] * units,))
        cache, ids, step = DynamicCache(config=model.config), [], prompt
        try:
            for _ in range(tokens["new_tokens"]):
                logits = model(step, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
                step = logits[:, -1].argmax(-1, keepdim=True)  # (1, 1)
                ids.append(step.item())
        finally:
            edit.remove()
        return ids

    return run, lambda ids: ids


if __name__ == "__main__":
    cases = {"forward": forward, "capture": capture, "row": row, "attribute": attribute, "decode": decode}
    harness.main("transformers", ["torch", "transformers", "gguf"], cases, load)
