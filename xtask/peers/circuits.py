"""Edge scores by EAP-IG's own code, on the CPU: the model, its items and the timing for `cargo xtask bench --circuits DIR`.

    circuits.py make FOLDER TINY     a randomly initialised model of GPT-2 small's shape with TINY's tokenizer, and items.jsonl
    circuits.py score FOLDER CLONE STEPS RUNS THREADS OUT
                                     scores of every edge by CLONE's code, and the seconds of each run

CLONE is a checkout of hannamw/EAP-IG. Its code asks for a GPU by name; that word is replaced as it is imported, and nothing else.
"""
import importlib.util
import json
import os
import sys
import time

# the peer keeps an activation for every edge and item; with more of them it does not end on two cores
ITEMS = 12


def make(folder, tiny):
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    os.makedirs(folder, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=128, n_embd=768, n_layer=12, n_head=12, initializer_range=0.08)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    letter = lambda i: chr(ord("a") + i % 20)
    length = lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])
    lengths = None
    # the program finds circuits on every second item; the others are not scored
    wanted, tried = 2 * ITEMS, 0
    with open(os.path.join(folder, "items.jsonl"), "w") as out:
        while wanted:
            i, tried = tried, tried + 1
            item = {
                "prompt": f"the {letter(i)} cat {letter(i // 20)} x",
                "counterfactual": f"the {letter(i + 7 + i // 20)} cat {letter(i // 20)} z",
                "right": [letter(i)],
                "wrong": [letter(i + 1)],
            }
            here = length(item["prompt"])
            lengths = lengths or here
            # one length for all, since the peer takes a batch of one length
            if here == lengths == length(item["counterfactual"]):
                out.write(json.dumps(item) + "\n")
                wanted -= 1
            if tried > 100 * ITEMS:
                sys.exit("too few prompts of one length with this tokenizer")


def clone(folder):
    """The package `eap` from a checkout, with "cuda" read as "cpu"."""
    root = os.path.join(folder, "src", "eap")

    class OnCpu(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
        def __init__(self):
            pass

        def find_spec(self, name, path=None, target=None):
            if name != "eap" and not name.startswith("eap."):
                return None
            file = os.path.join(root, "__init__.py" if name == "eap" else name.split(".", 1)[1] + ".py")
            loader = importlib.machinery.SourceFileLoader(name, file)
            plain = loader.get_data
            loader.get_data = lambda path: plain(path).replace(b"'cuda'", b"'cpu'") if path.endswith(".py") else plain(path)
            loader.path_stats = lambda path: (_ for _ in ()).throw(OSError())  # no compiled file of other text
            where = [root] if name == "eap" else None
            return importlib.util.spec_from_file_location(name, file, loader=loader, submodule_search_locations=where)

    sys.meta_path.insert(0, OnCpu())


def score(folder, checkout, steps, runs, threads, out):
    os.environ["OMP_NUM_THREADS"] = threads
    sys.dont_write_bytecode = True
    import torch

    torch.set_num_threads(int(threads))
    import transformer_lens
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
    from transformers import AutoTokenizer, GPT2LMHeadModel

    clone(checkout)
    import eap.attribute
    from eap.graph import Graph

    hf = GPT2LMHeadModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    c = hf.config
    config = HookedTransformerConfig(
        n_layers=c.n_layer, d_model=c.n_embd, n_ctx=c.n_positions, d_head=c.n_embd // c.n_head, n_heads=c.n_head,
        d_mlp=4 * c.n_embd, d_vocab=c.vocab_size, act_fn="gelu_new", normalization_type="LN", eps=c.layer_norm_epsilon,
        model_name="gpt2", device="cpu",
    )
    model = HookedTransformer(config)
    model.load_state_dict(convert_gpt2_weights(hf, config), strict=False)
    for name in ("use_attn_result", "use_split_qkv_input", "use_hook_mlp_in"):
        setattr(model.cfg, name, True)
    with open(os.path.join(folder, "items.jsonl")) as lines:
        items = [json.loads(line) for line in lines][::2]
    ids = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
    rows = {text: ids(text) for i in items for text in (i["prompt"], i["counterfactual"])}

    def tokenize(_, texts, max_length=None):
        tokens = torch.tensor([rows[text] for text in texts])
        mask = torch.ones_like(tokens)
        return tokens, mask, mask.sum(1), tokens.shape[1]

    eap.attribute.tokenize_plus = tokenize
    answer = lambda side: torch.tensor([ids(i[side][0])[0] for i in items])
    labels = torch.stack([answer("right"), answer("wrong")], 1)
    batch = [([i["prompt"] for i in items], [i["counterfactual"] for i in items], labels)]

    def loss(logits, clean, lengths, labels):
        last = logits[torch.arange(len(lengths)), lengths - 1]
        picked = last.gather(1, labels)
        return -(picked[:, 0] - picked[:, 1]).sum()

    seconds = []
    for _ in range(1 + int(runs)):
        graph = Graph.from_model(model)
        began = time.perf_counter()
        eap.attribute.attribute(model, graph, batch, loss, "EAP-IG-inputs", ig_steps=int(steps), quiet=True)
        seconds.append(time.perf_counter() - began)
    found = {name: edge.score.item() for name, edge in graph.edges.items()}
    with open(out, "w") as file:
        versions = {"torch": torch.__version__, "transformer-lens": transformer_lens.__version__ if hasattr(transformer_lens, "__version__") else "4.3.0"}
        json.dump({"seconds": seconds[1:], "scores": found, "versions": versions}, file)


if __name__ == "__main__":
    {"make": make, "score": score}[sys.argv[1]](*sys.argv[2:])
