"""Write tokens-NAME.json: the token ids that every peer is timed on, so that none of them needs a tokenizer to be compared.

    python tokens.py MODEL.gguf NAME

The rows are windows of a public-domain text (declaration.txt), their starts drawn with a fixed seed, after the beginning of text
where the model wants one. The file is committed; run this again only to change the inputs, and then expect other numbers.
"""
import json
import random
import sys
from pathlib import Path

from transformers import AutoTokenizer

HERE = Path(__file__).resolve().parent
ROWS, LENGTH, PROMPT = 8, 256, 16
NEW_TOKENS = 64  # decoded in the case `decode`
WATCHED = [0, 253, 1000, 20000, 49151]  # vocabulary ids whose logits are compared across peers


def main(gguf, name):
    tokenizer = AutoTokenizer.from_pretrained(str(Path(gguf).parent), gguf_file=Path(gguf).name)
    begin = tokenizer("")["input_ids"]  # of Gemma the beginning of text, of SmolLM2 nothing
    ids = tokenizer((HERE / "declaration.txt").read_text(), add_special_tokens=False)["input_ids"]
    length = LENGTH - len(begin)
    rng = random.Random(20260)
    starts = [rng.randrange(len(ids) - length) for _ in range(ROWS)]
    data = {
        "rows": [begin + ids[s : s + length] for s in starts],
        "target": ids[starts[0] + length],  # the token that follows row 0: what `attribute` asks about
        "prompt": (begin + ids)[:PROMPT],
        "new_tokens": NEW_TOKENS,
        "watched": WATCHED,
    }
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in data.items())
    (HERE / f"tokens-{name}.json").write_text("{\n" + lines.replace("], [", "],\n [") + "\n}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
