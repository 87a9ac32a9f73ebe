"""Write a GGUF's weights as a safetensors directory in f32 or bf16, for peers that read no GGUF, or read it slowly.

    python dequantise.py MODEL.gguf FOLDER f32|bf16

The folder appears whole or not at all: it is written beside its place and renamed.
"""
import shutil
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(gguf, folder, dtype):
    path, folder = Path(gguf), Path(folder)
    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    read = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    # transformers refuses to save a model that it read from a GGUF, f32 or not; a fresh one with the same weights it saves.
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = type(read)(config)
    plain.load_state_dict(read.state_dict())
    plain.to({"f32": torch.float32, "bf16": torch.bfloat16}[dtype]).save_pretrained(part)
    AutoTokenizer.from_pretrained(**source).save_pretrained(part)  # the peer refuses a folder without one
    part.rename(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
