"""OpenAI's own client library against the server: every endpoint, streaming and not, and the extra field `edits`."""

import math
import sys

from openai import BadRequestError, NotFoundError, OpenAI

client = OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=2)
model = client.models.list().data[0].id
assert client.models.retrieve(model).id == model

question = [{"role": "user", "content": "What is the capital of Poland?"}]
plain = client.chat.completions.create(
    model=model, messages=question, max_tokens=24, temperature=0, logprobs=True, top_logprobs=3, seed=1
)
choice = plain.choices[0]
assert "Warsaw" in choice.message.content, choice.message.content
assert plain.usage.total_tokens == plain.usage.prompt_tokens + plain.usage.completion_tokens
tokens = choice.logprobs.content
assert len(tokens) == plain.usage.completion_tokens and all(len(t.top_logprobs) == 3 for t in tokens)
assert all(t.logprob <= 0 and t.logprob == t.top_logprobs[0].logprob for t in tokens), "greedy takes the likeliest"
assert all(sum(math.exp(a.logprob) for a in t.top_logprobs) <= 1.0001 for t in tokens)

pieces = client.chat.completions.create(
    model=model, messages=question, max_tokens=24, temperature=0, stream=True, stream_options={"include_usage": True}
)
text, usage, finish = "", None, None
for chunk in pieces:
    usage = chunk.usage or usage
    for c in chunk.choices:
        text += c.delta.content or ""
        finish = c.finish_reason or finish
assert text == choice.message.content, (text, choice.message.content)
assert usage.completion_tokens == plain.usage.completion_tokens and finish == choice.finish_reason

off = [{"site": "resid_post.10", "op": {"scale": 0.0}}]
edited = client.chat.completions.create(
    model=model, messages=question, max_tokens=24, temperature=0, extra_body={"edits": off}
)
assert edited.choices[0].message.content != choice.message.content, "an edit changes the answer"

drawn = [
    client.chat.completions.create(model=model, messages=question, max_tokens=12, temperature=1.2, seed=s)
    for s in (5, 5, 6)
]
drawn = [d.choices[0].message.content for d in drawn]
assert drawn[0] == drawn[1], "one seed, one answer"

stopped = client.chat.completions.create(model=model, messages=question, max_tokens=24, temperature=0, stop=["Pol"])
assert "Pol" not in stopped.choices[0].message.content and stopped.choices[0].finish_reason == "stop"

done = client.completions.create(
    model=model, prompt="The capital of France is", max_tokens=4, temperature=0, logprobs=2
).choices[0]
assert "Paris" in done.text and len(done.logprobs.tokens) == len(done.logprobs.token_logprobs)
streamed = client.completions.create(
    model=model, prompt="The capital of France is", max_tokens=4, temperature=0, stream=True
)
assert "".join(c.text for part in streamed for c in part.choices) == done.text

near = client.embeddings.create(model="minilm", input=["a dog barks", "a puppy yelps", "the stock market fell"])
a, b, c = (e.embedding for e in near.data)
dot = lambda x, y: sum(p * q for p, q in zip(x, y))
assert len(a) == 384 and abs(dot(a, a) - 1) < 1e-3 and dot(a, b) > dot(a, c)

for wrong, kind in [
    (dict(model="other", messages=question), NotFoundError),
    (dict(model=model, messages=question, n=2), BadRequestError),
    (dict(model=model, messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]), BadRequestError),
    (dict(model=model, messages=question, extra_body={"edits": [{"site": "mlp_act.99", "op": "zero"}]}), BadRequestError),
    (dict(model=model, messages=question, tools=[{"type": "function", "function": {"name": "f"}}]), BadRequestError),
]:
    try:
        client.chat.completions.create(**wrong)
    except kind as error:
        assert error.body and error.body.get("message"), error
    else:
        raise AssertionError(f"{wrong} was accepted")
print("models, chat, completions, streams, seeds, stops, edits, embeddings and refusals: as the library expects")
