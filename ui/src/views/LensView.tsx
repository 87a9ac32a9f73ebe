// What each layer would say next, at each place: the model making up its mind.
import { keepPreviousData, skipToken, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { lens } from "../api/calls";
import { RunBadge } from "../components/RunBadge";
import { RunSwitch } from "../components/RunSwitch";
import { Empty, Failure, Loading } from "../components/States";
import { IconButton } from "../components/IconButton";
import { type LensColour, window as columnsWindow } from "../logic/lensgrid";
import { allTokens, spaced } from "../logic/tokens";
import { finished, useCurrent, usePage } from "../state/page";
import { basis, nameOf } from "../state/queries";
import { LensCellCard } from "./LensCellCard";
import { LensGrid } from "./LensGrid";

export interface CellAt { row: number; column: number }

export function LensView() {
  const { run } = useCurrent();
  const target = usePage((s) => s.target);
  const tokens = useMemo(() => (finished(run) ? allTokens(run) : []), [run]);
  const [colour, setColour] = useState<LensColour>("probability");
  const [parts, setParts] = useState(false);
  const [end, setEnd] = useState<number | null>(null);
  const [cell, setCell] = useState<CellAt | null>(null);
  const [watched, setWatched] = useState<number | null>(target?.token.id ?? null);
  const [width, setWidth] = useState(globalThis.innerWidth);
  useEffect(() => {
    const read = () => setWidth(globalThis.innerWidth);
    addEventListener("resize", read);
    return () => removeEventListener("resize", read);
  }, []);
  useEffect(() => { setCell(null); setEnd(null); }, [run?.key]);
  const columns = Math.max(3, Math.min(24, Math.floor((width - (width < 900 ? 110 : 440)) / 76)));
  const [from, to] = columnsWindow(tokens.length, columns, end);
  // The same word may stand several times; each is watched once.
  const choices = useMemo(() => [...new Map([...(target ? [target.token] : []), ...tokens.slice(-60)].map((token) => [token.id, token])).values()], [tokens, target]);
  const watch = watched ?? target?.token.id ?? null;
  const reply = useQuery({
    queryKey: ["lens", run && nameOf(run), from, to, watch, parts], placeholderData: keepPreviousData,
    queryFn: finished(run) && to > from
      ? ({ signal }) => lens({ ...basis(run), positions: [from, to], watch: watch === null ? [] : [watch], top: 8, sub_blocks: parts }, signal)
      : skipToken,
  });
  if (!finished(run)) {
    return <main className="page-view" data-testid="lens-view"><h1>Lens</h1><Empty title="Nothing asked yet">The lens reads the last run: <a href="#/">ask something first</a>.</Empty></main>;
  }
  return (
    <main className="page-view lens-view" data-testid="lens-view">
      <header className="view-head">
        <h1>Lens</h1><RunBadge />
        <p className="faint lead">Each cell: what the model would say next if it stopped at that layer. Read upwards.</p>
        <RunSwitch />
      </header>
      <div className="lens-tools">
        <label className="inline-field">colour by
          <select data-testid="lens-colour" value={colour} onChange={(event) => setColour(event.target.value as LensColour)}>
            <option value="probability">probability of the top token</option><option value="rank">rank of a chosen token</option><option value="kl">closeness to the end (KL)</option>
          </select>
        </label>
        <label className="inline-field">token
          <select data-testid="lens-watch" value={watch ?? ""} onChange={(event) => { setWatched(event.target.value === "" ? null : Number(event.target.value)); if (event.target.value) setColour("rank"); }}>
            <option value="">none</option>{choices.map((token) => <option key={token.id} value={token.id}>{spaced(token.text)}</option>)}
          </select>
        </label>
        <label className="check-label"><input type="checkbox" checked={parts} onChange={(event) => setParts(event.target.checked)} /> between attention and MLP too</label>
        <span className="spacer" />
        <span className="lens-pages">
          <IconButton icon="left" label="Earlier tokens" disabled={from === 0} onClick={() => setEnd(Math.max(columns, to - columns))} />
          <span className="num faint">{from}–{to - 1} of {tokens.length}</span>
          <IconButton icon="right" label="Later tokens" disabled={to >= tokens.length} onClick={() => setEnd(to + columns)} />
        </span>
      </div>
      {reply.isError ? <Failure error={reply.error} again={() => void reply.refetch()} />
        : !reply.data ? <Loading what="Reading every layer…" rows={12} /> : (
          <div className="lens-body">
            <LensGrid reply={reply.data} colour={colour} watched={watch !== null} chosen={cell} onChoose={setCell} stale={reply.isPlaceholderData} />
            {cell && reply.data.rows[cell.row]?.cells[cell.column]
              ? <LensCellCard reply={reply.data} at={cell} tokens={tokens} onClose={() => setCell(null)} />
              : <aside className="lens-card is-empty"><p className="faint">Choose a cell: its likeliest tokens, and a way to silence or replace what the model has there.</p></aside>}
          </div>
        )}
    </main>
  );
}
