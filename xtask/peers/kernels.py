"""PyTorch's side of `cargo xtask bench --kernels`: the bf16 linear on the same shapes, from bf16 to bf16 and from f32 to f32."""
import argparse
import json
import os
import sys
import time

SHAPES = [[2048, 576, 1536], [2048, 1536, 576], [2048, 576, 576], [1024, 1024, 1024]]


def seconds(runs, work):
    work()
    taken = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return taken


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--runs", type=int, required=True)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    shapes = []
    for rows, inner, outer in SHAPES:
        x = torch.randn(rows, inner)
        rounded, weight = x.bfloat16(), torch.randn(outer, inner).bfloat16()
        linear = torch.nn.functional.linear
        shapes.append({
            "shape": [rows, inner, outer],
            "rounded_seconds": seconds(options.runs, lambda: linear(rounded, weight)),
            "whole_seconds": seconds(options.runs, lambda: linear(x.bfloat16(), weight).float()),
        })
    json.dump({"shapes": shapes, "versions": {"torch": torch.__version__, "python": sys.version.split()[0]}}, sys.stdout)


if __name__ == "__main__":
    main()
