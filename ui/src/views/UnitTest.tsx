import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";
import { testUnit } from "../api/calls";
import { Failure } from "../components/States";
import { useTokenHeat } from "../components/useTokenHeat";
import type { Heat } from "../logic/heat";
import { number, times } from "../logic/format";
import { spaced, visible } from "../logic/tokens";

/** A unit on somebody's own text, as it is typed. */
export function UnitTest({ unit, side }: { unit: string; side: "+" | "-" }) {
  const [text, setText] = useState("");
  const [asked, setAsked] = useState("");
  useEffect(() => {
    const timer = setTimeout(() => setAsked(text), 250);
    return () => clearTimeout(timer);
  }, [text]);
  const reply = useQuery({
    queryKey: ["unit-test", unit, asked], enabled: asked.trim() !== "", placeholderData: keepPreviousData,
    queryFn: ({ signal }) => testUnit({ unit, text: { prompt: asked } }, signal),
  });
  const box = useRef<HTMLParagraphElement>(null);
  const data = asked.trim() === "" ? undefined : reply.data;
  const scale = data?.scale?.[side] ?? null;
  // Against its typical strength: a faint activation must look faint. Memoised, since the shades follow the object.
  const heat = useMemo((): Heat | null => data ? { kind: "signed", values: data.values, label: "activation", full: scale ?? 0 } : null, [data, scale]);
  useTokenHeat(box, heat, data);
  const top = data ? data.values.reduce((best, value, i) => ((side === "+" ? value : -value) > (side === "+" ? data.values[best]! : -data.values[best]!) ? i : best), 0) : -1;
  return (
    <section className="unit-test">
      <label htmlFor="unit-test-text"><h3>Test it on your text</h3></label>
      <textarea id="unit-test-text" data-testid="unit-test" rows={2} value={text} placeholder="Type anything: the activation follows as you write" onChange={(event) => setText(event.target.value)} />
      {reply.isError && <Failure error={reply.error} again={() => void reply.refetch()} />}
      {data && (
        <div data-testid="unit-test-result">
          <p ref={box} className="tokens sample">{data.prompt.map((token, i) => <span key={i} className="token still" data-pos={i} title={`${visible(token.text)}: ${number(data.values[i])}`}>{token.text}</span>)}</p>
          {top >= 0 && data.prompt[top] && <p className="faint">Strongest at <span className="chip-token">{spaced(data.prompt[top].text)}</span>: {number(data.values[top])}{scale ? `, ${times(Math.abs(data.values[top]!) / scale)} its typical strength` : ""}.</p>}
        </div>
      )}
    </section>
  );
}
