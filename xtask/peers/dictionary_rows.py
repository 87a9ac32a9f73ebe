"""dictionary_learning on the rows of a real model: its TopK trainer as it comes, on what `pellucid dict train --rows` wrote.

    python dictionary_rows.py --file ROWS.f32 --latents N --k N --seed N --threads N [--rate LR] --out FOLDER

The file's .json says how many rows there are, how wide, how many a step, and what they were scaled by. The term for dead latents, the decoder's
norm and, where none is said, the learning rate are the library's own; the rate rises and falls over the same shares of the steps as ours does. At the end the
scale is worked into the weights by the library's own function, and `pellucid dict eval FOLDER` judges the result in its own format (ae.pt).
"""
import argparse
import json
import time
from pathlib import Path

import harness

# The thread count must be in the environment before torch is imported.
harness.prepare_torch()

import numpy as np
import torch
from dictionary_learning.trainers.top_k import TopKTrainer


def main():
    parser = argparse.ArgumentParser()
    for name in ("latents", "k", "seed", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--rate", type=float)
    for name in ("file", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    o = parser.parse_args()
    card = json.loads(o.file.with_suffix(".json").read_text())
    rows = np.memmap(o.file, dtype=np.float32, mode="r").reshape(card["rows"], card["width"])
    batch = card["batch"]
    steps = card["rows"] // batch
    torch.set_grad_enabled(True)
    trainer = TopKTrainer(
        steps=steps, activation_dim=card["width"], dict_size=o.latents, k=o.k, layer=0, lm_name="none", lr=o.rate,
        warmup_steps=min(steps // 20, 1000), decay_start=steps - steps // 5, seed=o.seed, device="cpu",
    )
    start = time.perf_counter()
    for step in range(steps):
        trainer.update(step, torch.from_numpy(np.array(rows[step * batch : (step + 1) * batch])))
        if step % 20 == 0:
            print(f"step {step} of {steps}, {time.perf_counter() - start:.0f} s", flush=True)
    seconds = time.perf_counter() - start
    trainer.ae.scale_biases(1.0 / card["scale"])
    o.out.mkdir(parents=True, exist_ok=True)
    torch.save({name: tensor.cpu() for name, tensor in trainer.ae.state_dict().items()}, o.out / "ae.pt")
    config = dict(trainer.config)
    config["submodule_name"] = None
    (o.out / "config.json").write_text(json.dumps({"trainer": config}, default=str))
    line = {"seconds": seconds, "rows": steps * batch, "versions": harness.versions("torch", "dictionary-learning")}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
