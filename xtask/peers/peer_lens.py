"""The peer TransformerLens: its TransformerBridge on a folder that dequantise.py wrote. See harness.py for the contract.

Its `load` therefore reads safetensors, which is less work than a GGUF. It runs eager attention, as it must to show patterns.
"""
import harness

# The thread count must be in the environment before torch is imported.
harness.prepare_torch()

import torch
from transformer_lens.model_bridge import TransformerBridge

torch.set_grad_enabled(False)


def load(options):
    dtype = torch.bfloat16 if options.dtype == "bf16" else torch.float32
    model = TransformerBridge.boot_transformers(options.model, device="cpu", dtype=dtype)
    return model.eval().requires_grad_(False)


def acts(model):
    """mlp_act of every layer, in TransformerLens' words."""
    return [f"blocks.{layer}.mlp.hook_post" for layer in range(model.cfg.n_layers)]


def last_logits(model, rows, hooks=()):
    # (row, pos) -> (row, vocab): the head is applied to the last position alone
    return model.run_with_hooks(rows, fwd_hooks=list(hooks), logits_to_keep=1, use_cache=False)[:, -1]


def forward(model, tokens):
    rows = torch.tensor(tokens["rows"])
    run = lambda: model(rows, logits_to_keep=1, use_cache=False)[:, -1]
    return run, lambda logits: logits[:, tokens["watched"]].flatten().tolist()


def capture(model, tokens):
    rows = torch.tensor(tokens["rows"])

    def run():
        kept = []  # one (row, pos, unit) per layer

        def keep(x, hook):
            kept.append(x)

        last_logits(model, rows, [(name, keep) for name in acts(model)])
        return kept

    return run, lambda kept: [x.double().abs().mean().item() for x in kept]


def attribute(model, tokens):
    row = torch.tensor(tokens["rows"][:1])

    @torch.enable_grad()
    def run():
        kept = []

        def keep(x, hook):
            # The graph starts at the first site, as for the other peer.
            x = x if kept else x.requires_grad_(True)
            kept.append(x)
            return x

        logits = last_logits(model, row, [(name, keep) for name in acts(model)])[0]
        grads = torch.autograd.grad(logits[tokens["target"]] - logits.mean(), kept)
        return [(x.detach() * g)[0] for x, g in zip(kept, grads)]  # (pos, unit) per layer

    return run, harness.halves


def decode(model, tokens):
    prompt = torch.tensor([tokens["prompt"]])
    units = torch.ones(model.cfg.d_mlp, dtype=model.cfg.dtype)
    units[harness.EDIT_UNIT] = 0.0
    edits = [(acts(model)[harness.EDIT_LAYER], lambda x, hook: x * units)]

    def run():
        cache, ids, step = None, [], prompt
        with model.hooks(fwd_hooks=edits):
            for _ in range(tokens["new_tokens"]):
                logits, cache = model(
                    step, return_type="logits_and_cache", past_key_values=cache, use_past_kv_cache=True, logits_to_keep=1
                )
                step = logits[:, -1].argmax(-1, keepdim=True)  # (1, 1)
                ids.append(step.item())
        return ids

    return run, lambda ids: ids


if __name__ == "__main__":
    cases = {"forward": forward, "capture": capture, "attribute": attribute, "decode": decode}
    harness.main("transformer-lens", ["torch", "transformers", "transformer-lens"], cases, load)
