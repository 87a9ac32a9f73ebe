import { useMutation } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { score } from "../api/calls";
import type { LensReply, Placed, SteerSpec } from "../api/types";
import { ShareBar } from "../components/Bar";
import { IconButton } from "../components/IconButton";
import { Failure } from "../components/States";
import { number, percent } from "../logic/format";
import { ablateCell, patchCell, shownRank } from "../logic/lensgrid";
import { quoted, spaced } from "../logic/tokens";
import { layerOf } from "../logic/unitname";
import { addSpec } from "../state/steering";
import type { CellAt } from "./LensView";

/** One cell: what would be said from there, and what can be done to it. */
export function LensCellCard({ reply, at, tokens, onClose }: { reply: LensReply; at: CellAt; tokens: Placed[]; onClose: () => void }) {
  const row = reply.rows[at.row]!, cell = row.cells[at.column]!, position = reply.positions[at.column]!;
  const text = tokens[position]?.text ?? "";
  const what = `${quoted(text)} (${position})`;
  const [other, setOther] = useState("");
  const [added, setAdded] = useState<string | null>(null);
  const layer = layerOf(row.site);
  // On a phone it opens below the grid.
  const card = useRef<HTMLElement>(null);
  useEffect(() => { card.current?.scrollIntoView({ block: "nearest" }); }, [at]);
  const put = (spec: SteerSpec | null) => { if (spec) { addSpec(spec); setAdded(spec.name); } };
  const patch = useMutation({
    // Reading the other prompt gives its token numbers; its last token is the donor.
    mutationFn: () => score({ text: { prompt: other }, edits: [], top: 1 }),
    onSuccess: (read) => put(patchCell(row.site, position, read.prompt.map((token) => token.id), read.prompt.length - 1, what)),
  });
  return (
    <aside ref={card} className="lens-card" data-testid="lens-card" aria-label="The chosen cell">
      <header><h2>{layer === null ? row.site : `Layer ${layer}`} at {what}</h2><IconButton icon="close" label="Close" className="quiet tiny" onClick={onClose} /></header>
      <p className="faint">entropy <b className="num">{number(cell.entropy)}</b> nats · KL to the end <b className="num">{number(cell.kl)}</b></p>
      {cell.watched.map((token) => <p key={token.id}>{quoted(token.text)}: rank <b className="num">{shownRank(token.rank)}</b>, {percent(token.probability)}</p>)}
      <ul className="alternatives" aria-label="Likeliest from here">
        {cell.top.map((token) => (
          <li key={token.id}><span className="chip-token">{spaced(token.text)}</span><ShareBar share={token.probability} /><span className="num">{percent(token.probability)}</span></li>
        ))}
      </ul>
      {layer === null ? <p className="faint">There is no layer before this one to change.</p> : (
        <div className="stack">
          <h3>Change the run here</h3>
          <button type="button" className="button small" data-testid="lens-ablate" onClick={() => put(ablateCell(row.site, position, what))}>Silence layer {layer} at this token</button>
          <form className="stack" onSubmit={(event) => { event.preventDefault(); if (other.trim()) patch.mutate(); }}>
            <label htmlFor="patch-text" className="faint">Or put in what another text has at its last token:</label>
            <input id="patch-text" data-testid="lens-patch-text" value={other} placeholder="The capital of Italy" onChange={(event) => setOther(event.target.value)} />
            <button type="submit" className="button small" data-testid="lens-patch" disabled={!other.trim() || patch.isPending}>Patch from it</button>
          </form>
          {patch.isError && <Failure error={patch.error} />}
          {added && <p className="good-text" role="status">Added to steering: {added}. <a href="#/">See both answers</a></p>}
        </div>
      )}
    </aside>
  );
}
