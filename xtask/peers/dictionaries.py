"""The peers of `cargo xtask bench --dictionaries`: dictionary_learning's and SAELens's own trainers, one step after the other.

    python dictionaries.py PEER --file FILE --begin FILE --d N --train N --latents N --k N --batch N --steps N --warm N --segments N --rate LR
                           --seed N --precision exact|fast --recipe unit|free --threads N --out FOLDER

FILE holds f32 rows; batch i is the rows from (i · batch) mod TRAIN on. A TopK autoencoder is trained with a constant learning rate and Adam
(0.9, 0.999); the decoder's rows and the encoder's begin as those of the file `begin`, (latents, d). `fast` is autocast to bf16. The first `warm`
steps are not timed; the rest are cut into segments. The recipe (whether decoder rows keep norm 1) is the library's own. The result is written in SAELens's format, and one line of JSON is printed. Whatever a
library does beside (clipping gradients, counting, its threshold) it does here too: only its own functions are called.
"""
import argparse
import contextlib
import json
import time
from pathlib import Path

import harness

# The thread count must be in the environment before torch is imported.
harness.prepare_torch()

import numpy as np
import torch

torch.set_grad_enabled(True)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=PEERS)
    for name in ("d", "train", "latents", "k", "batch", "steps", "warm", "segments", "seed", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("file", "begin", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--recipe", choices=["unit", "free"], required=True)
    parser.add_argument("--precision", choices=["exact", "fast"], required=True)
    return parser.parse_args()


def beginning(o):
    """Directions, (latents, d)."""
    return torch.from_numpy(np.fromfile(o.begin, dtype=np.float32).reshape(o.latents, o.d))


def dictionary_learning(o):
    """A step and a save: TopKTrainer.update, under autocast where asked."""
    from dictionary_learning.trainers.top_k import TopKTrainer

    trainer = TopKTrainer(
        steps=o.steps, activation_dim=o.d, dict_size=o.latents, k=o.k, layer=0, lm_name="none", lr=o.rate,
        warmup_steps=0, seed=o.seed, device="cpu",
    )
    with torch.no_grad():
        trainer.ae.decoder.weight.copy_(beginning(o).T)
        trainer.ae.encoder.weight.copy_(beginning(o))
    cast = torch.autocast("cpu", torch.bfloat16) if o.precision == "fast" else contextlib.nullcontext()

    def step(index, x):
        with cast:
            trainer.update(index, x)

    def save(folder):
        from safetensors.torch import save_file

        ae = trainer.ae
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            "W_enc": ae.encoder.weight.T, "b_enc": ae.encoder.bias, "W_dec": ae.decoder.weight.T, "b_dec": ae.b_dec,
        }
        save_file({name: t.detach().contiguous() for name, t in tensors.items()}, folder / "sae_weights.safetensors")
        config = {"architecture": "topk", "k": o.k, "d_in": o.d, "d_sae": o.latents, "apply_b_dec_to_input": True}
        (folder / "cfg.json").write_text(json.dumps(config))

    return step, save


def sae_lens(o):
    """A step and a save: SAETrainer.step as its `fit` calls it. Without the rescaling by decoder norms, which only costs time here."""
    from sae_lens.config import SAETrainerConfig
    from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.training.sae_trainer import SAETrainer

    torch.manual_seed(o.seed)
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(
        d_in=o.d, d_sae=o.latents, k=o.k, decoder_init_norm=1.0, rescale_acts_by_decoder_norm=False,
        apply_b_dec_to_input=True, dtype="float32", device="cpu",
    ))
    with torch.no_grad():
        sae.W_dec.copy_(beginning(o))
        sae.W_enc.copy_(beginning(o).T)
    config = SAETrainerConfig(
        total_training_samples=o.steps * o.batch, train_batch_size_samples=o.batch, lr=o.rate, lr_end=o.rate,
        device="cpu", autocast=o.precision == "fast",
    )
    trainer = SAETrainer(cfg=config, sae=sae, data_provider=iter(()))

    def step(index, x):
        trainer.step(x)
        trainer.n_training_steps += 1

    def save(folder):
        sae.save_inference_model(folder)

    return step, save


PEERS = {
    "dictionary-learning": (dictionary_learning, ["torch", "dictionary-learning"]),
    "sae-lens": (sae_lens, ["torch", "sae-lens"]),
}


def main():
    o = arguments()
    make, packages = PEERS[o.peer]
    step, save = make(o)
    idle = harness.memory("VmRSS")
    rows = torch.from_numpy(np.fromfile(o.file, dtype=np.float32, count=o.train * o.d).reshape(o.train, o.d))
    batches = o.train // o.batch

    def steps(first, count):
        for index in range(first, first + count):
            at = index % batches * o.batch
            step(index, rows[at : at + o.batch])

    each = (o.steps - o.warm) // o.segments
    steps(0, o.warm)
    seconds = []
    for segment in range(o.segments):
        start = time.perf_counter()
        steps(o.warm + segment * each, each)
        seconds.append(time.perf_counter() - start)
    peak = harness.peak_memory()
    save(o.out)
    line = {"seconds": seconds, "peak_rss_bytes": peak, "idle_rss_bytes": idle, "versions": harness.versions(*packages)}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
