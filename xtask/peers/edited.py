"""Write a copy of a GGUF in which one neuron is silent, for a peer that cannot edit while it runs.

    python edited.py MODEL.gguf COPY.gguf LAYER UNIT

The row of the up projection that makes the neuron is set to zero bytes, which every block format reads as zeros; so the neuron's
activation, gate times up, is zero at every token. The copy appears whole or not at all.
"""
import shutil
import sys
from pathlib import Path

from gguf import GGUFReader


def main(gguf, copy, layer, unit):
    copy = Path(copy)
    part = copy.with_name(copy.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(gguf, part)
    reader = GGUFReader(part, "r+")
    [up] = [tensor for tensor in reader.tensors if tensor.name == f"blk.{layer}.ffn_up.weight"]
    up.data[int(unit)] = 0  # one row of the matrix, as the bytes of its blocks
    reader.data.flush()
    part.rename(copy)


if __name__ == "__main__":
    main(*sys.argv[1:])
