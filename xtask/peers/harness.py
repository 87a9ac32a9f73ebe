"""What the peers share: the command line, the clock, the memory, and the one line of JSON that `cargo xtask bench` reads.

    python PEER.py CASE --model PATH --gguf FILE --tokens TOKENS.json --runs N --threads T [--attention …] [--dtype …]

PATH is what the peer reads best: a folder with the GGUF's weights as safetensors, or a GGUF. A peer gives a function for each
case that it has; each returns the numbers by which the peers are compared. Every case runs in a fresh process, once to warm up
and then `runs` times. Only the returned closure is timed; `check` is computed outside the clock.

    load       the model from its file to the first moment it could run
    start      the same, and the first greedy token after the prompt                check: its id
    forward    8 rows of 256 tokens, logits of the last position only               check: the watched logits of every row
    capture    the same, keeping mlp_act (down projection's input) of all layers    check: mean |mlp_act| of every layer
    row        256 tokens (row 0), logits of the last position only                 check: the watched logits
    attribute  mlp_act * d(logit[target] - mean(logits)) / d(mlp_act), row 0        check: of every layer the sum of its units' positive
                                                                                    effects, and that of their negative ones
    decode     64 greedy tokens after the prompt, with a KV cache, while unit 100
               of mlp_act.15 is zero at every step                                  check: the ids
"""
import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

CASES = ["load", "start", "forward", "capture", "row", "attribute", "decode"]
EDIT_LAYER, EDIT_UNIT = 15, 100


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--model", required=True)
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--tokens", required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--attention", default="sdpa", choices=["eager", "sdpa"])
    parser.add_argument("--dtype", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--edited", help="llama.cpp: the copy of the GGUF in which a neuron is silent")
    parser.add_argument("--plain-buffers", action="store_true", help="llama.cpp: weights as they lie in the file")
    return parser.parse_args()


def use_threads():
    """Must come before the first import of whatever computes: OpenMP reads its environment once."""
    count = sys.argv[sys.argv.index("--threads") + 1]
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = count
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    return int(count)


def prepare_torch():
    """`use_threads` for a peer that runs on PyTorch; gradients are off until a case asks for them."""
    count = use_threads()
    import torch

    torch.set_num_threads(count)
    torch.set_num_interop_threads(1)
    torch.set_grad_enabled(False)


def memory(field):
    """Bytes of one field of /proc/self/status; None where the system has no such file."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def peak_memory():
    """The kernel's high-water mark of this process alone, or getrusage's (bytes on macOS, KiB elsewhere)."""
    peak = memory("VmHWM")
    if peak is None:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return peak


def halves(effects):
    """Of each layer's (pos, unit): the sum of what units add to the metric, and of what they take. The sum of both is a small
    difference of large numbers, which says more of rounding than of whether two programs compute the same."""
    units = [e.double().sum(0) for e in effects]
    return [half.sum().item() for u in units for half in (u.clamp(min=0), u.clamp(max=0))]


def sample(run, runs):
    """Seconds of each run after one warm-up, and what the last one returned."""
    seconds, result = [], None
    for index in range(runs + 1):
        result = None  # the last run's tensors must not be counted in this run's memory
        start = time.perf_counter()
        result = run()
        if index > 0:
            seconds.append(time.perf_counter() - start)
    return seconds, result


def versions(*packages):
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def report(peer, case, seconds, check, idle, packages):
    line = {
        "peer": peer,
        "case": case,
        "seconds": seconds,
        "peak_rss_bytes": peak_memory(),
        "idle_rss_bytes": idle,  # after the imports, before the model: what the libraries themselves cost
        "check": check,
        "versions": versions(*packages),
    }
    print(json.dumps(line), flush=True)


def main(peer, packages, cases, load):
    """Runs one case: `load(options)` makes the model, `cases[name](model, tokens)` gives (what is timed, what is checked)."""
    options = arguments()
    tokens = json.loads(Path(options.tokens).read_text())
    idle = memory("VmRSS")
    if options.case == "load":
        seconds, _ = sample(lambda: load(options), options.runs)
        check = []
    elif options.case == "start":
        one = tokens | {"new_tokens": 1}
        seconds, check = sample(lambda: cases["decode"](load(options), one)[0](), options.runs)
    else:
        run, digest = cases[options.case](load(options), tokens)
        seconds, result = sample(run, options.runs)
        check = digest(result)
    report(peer, options.case, seconds, check, idle, packages)
