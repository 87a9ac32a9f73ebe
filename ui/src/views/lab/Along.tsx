// A text that somebody types, laid along the direction: token by token, layer by layer.
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useMemo, useRef, useState } from "react";
import { readAlong } from "../../api/lab";
import type { Reading } from "../../api/labtypes";
import { Failure, Loading } from "../../components/States";
import { useTokenHeat } from "../../components/useTokenHeat";
import { signed } from "../../logic/format";
import { spaced } from "../../logic/tokens";
import type { Heat } from "../../logic/heat";

export function Along({ vector, layer, to, from }: { vector: number[]; layer: number; to: string; from: string }) {
  const [text, setText] = useState("The keys near the old cabinet are here, and the book is on the tables.");
  const [asked, setAsked] = useState(text);
  const reply = useQuery({ queryKey: ["lab-read", vector, asked], placeholderData: keepPreviousData, enabled: asked.trim() !== "", queryFn: ({ signal }) => readAlong({ text: asked, direction: vector }, signal) });
  return (
    <section className="lab-card" aria-labelledby="lab-along-title" data-testid="lab-along">
      <h2 id="lab-along-title">A text along the direction</h2>
      <form className="row wrap" onSubmit={(event) => { event.preventDefault(); setAsked(text); }}>
        <input className="lab-read" data-testid="lab-read" aria-label="A text to read" value={text} maxLength={1000} onChange={(event) => setText(event.target.value)} />
        <button type="submit" className="button" data-testid="lab-read-send" disabled={text.trim() === ""}>Read it</button>
      </form>
      <p className="faint">Blue, solid line: towards <b>{to}</b>; orange, dotted line: towards <b>{from}</b>. Each layer is measured from its own mean over the text, and shaded by its own largest value; the first token is left out, since it is far from all others in any direction.</p>
      {reply.isError ? <Failure error={reply.error} again={() => void reply.refetch()} /> : !reply.data ? <Loading what="Reading the text…" rows={4} /> : <Read reading={reply.data} layer={layer} />}
    </section>
  );
}

const CELL = 11, LEFT = 34, HEAD = 74;

function Read({ reading, layer }: { reading: Reading; layer: number }) {
  const box = useRef<HTMLParagraphElement>(null);
  const [row, setRow] = useState(Math.min(layer, reading.projections.length - 1));
  const values = useMemo(() => reading.projections[row] ?? [], [reading, row]);
  const heat = useMemo((): Heat => ({ kind: "signed", values, label: "along the direction" }), [values]);
  useTokenHeat(box, heat, reading);
  const columns = reading.tokens.length, wide = Math.max(CELL, Math.min(34, 760 / columns));
  const height = HEAD + reading.projections.length * CELL + 4;
  return (
    <>
      <label className="inline-field">layer <input type="range" min={0} max={reading.projections.length - 1} value={row} data-testid="lab-read-layer" onChange={(event) => setRow(Number(event.target.value))} /><b className="num">{row}</b>{row === layer && <span className="faint">the tested one</span>}</label>
      <p ref={box} className="tokens sample" data-testid="lab-read-tokens">{reading.tokens.map((token, i) => <span key={i} className="token still" data-pos={i} title={i === 0 ? "left out" : signed(values[i])}>{token}</span>)}</p>
      <div className="lab-scroll" tabIndex={0} role="group" aria-label="Every layer">
        <svg className="lab-heat" width={LEFT + columns * wide + 4} height={height} role="img" aria-label="Each token along the direction, after each layer; the last layer on top" data-testid="lab-read-strip">
          {reading.tokens.map((token, i) => <text key={i} className="head" transform={`translate(${LEFT + (i + 0.5) * wide + 4} ${HEAD - 6}) rotate(-55)`}>{spaced(token).slice(0, 10)}</text>)}
          {reading.projections.map((along, l) => {
            const y = height - 4 - (l + 1) * CELL, most = Math.max(...along.map(Math.abs)) || 1;
            return (
              <g key={l}>
                {(l % 5 === 0 || l === row) && <text x={LEFT - 6} y={y + CELL - 2} textAnchor="end" className={l === row ? "is-chosen" : ""}>{l}</text>}
                {along.map((value, i) => <rect key={i} x={LEFT + i * wide} y={y} width={wide - 1} height={CELL - 1} className={i === 0 ? "none" : value >= 0 ? "plus" : "minus"} style={i === 0 ? undefined : { fillOpacity: 0.06 + 0.94 * Math.sqrt(Math.abs(value) / most) }} onClick={() => setRow(l)}><title>{`${reading.tokens[i]} after layer ${l}: ${i === 0 ? "left out" : signed(value)}`}</title></rect>)}
                {l === row && <rect x={LEFT - 1} y={y - 1} width={columns * wide + 1} height={CELL + 1} className="frame" />}
              </g>
            );
          })}
        </svg>
      </div>
    </>
  );
}
