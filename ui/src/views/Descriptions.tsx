import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { describeUnit, voteDescription } from "../api/calls";
import { sentence } from "../api/http";
import type { Side } from "../api/types";
import { IconButton } from "../components/IconButton";
import { interval, percent, two } from "../logic/format";
import { parseUnit } from "../logic/unitname";
import { client } from "../state/client";
import { voter } from "../state/voter";

// Scores that stand in words of their own above.
const SHOWN = new Set(["simulation", "interesting", "single_token"]);

/** Everything anybody has said this side responds to, with how well it predicts. */
export function Descriptions({ unit, base, side }: { unit: string; base: string; side: Side }) {
  const [text, setText] = useState("");
  const refresh = () => client.invalidateQueries({ queryKey: ["unit", base] });
  const add = useMutation({ mutationFn: () => describeUnit({ unit, text: text.trim(), author: voter().name }), onSuccess: async () => { setText(""); await refresh(); } });
  const vote = useMutation({ mutationFn: ({ id, up }: { id: number; up: boolean }) => voteDescription({ id, up, voter: voter().id, dictionary: parseUnit(unit)?.dictionary ?? null }), onSuccess: refresh });
  return (
    <section className="descriptions">
      <h3>Descriptions</h3>
      {side.descriptions.length === 0 && <p className="faint">Nobody has described this side yet.</p>}
      <ul>
        {side.descriptions.map((one) => (
          <li key={one.id} className={one.chosen ? "is-chosen" : ""} data-testid={`description-${one.id}`}>
            <p className={one.text ? "description-text" : "no-words"}>{one.text ?? `No description: ${one.reason ?? "no reason is recorded"}`}{one.chosen && <span className="tag">chosen</span>}{one.interesting === false && <span className="tag">not interesting</span>}</p>
            <p className="faint">
              by {one.explainer}
              {one.score !== null && <> · r <b className="num">{two(one.score)}</b>{one.interval && ` (95%: ${interval(one.interval)})`}</>}
              {one.null !== null && <> · another unit's words: <b className="num">{two(one.null)}</b></>}
              {one.single_token !== null && one.single_token > 0.5 && <> · {percent(one.single_token)} one token</>}
              {one.scores.filter((score) => !SHOWN.has(score.kind)).map((score) => <span key={score.kind}> · {score.kind} {two(score.value)}</span>)}
            </p>
            <span className="votes">
              <IconButton icon="thumb" label="Agree" className="quiet tiny" data-testid={`agree-${one.id}`} onClick={() => vote.mutate({ id: one.id, up: true })} /><span className="num" data-votes="up">{one.up}</span>
              <IconButton icon="thumb" flip label="Disagree" className="quiet tiny" data-testid={`disagree-${one.id}`} onClick={() => vote.mutate({ id: one.id, up: false })} /><span className="num" data-votes="down">{one.down}</span>
            </span>
          </li>
        ))}
      </ul>
      <form className="row" onSubmit={(event) => { event.preventDefault(); if (text.trim()) add.mutate(); }}>
        <input aria-label="Your description" data-testid="describe-input" value={text} placeholder="Say it in your words…" onChange={(event) => setText(event.target.value)} />
        <button type="submit" className="button small" data-testid="describe-send" disabled={!text.trim() || add.isPending}>Add</button>
      </form>
      {(add.error ?? vote.error) && <p className="error-text" role="alert">{sentence(add.error ?? vote.error)}</p>}
    </section>
  );
}
