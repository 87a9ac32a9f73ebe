import { lazy, Suspense, useMemo } from "react";
import type { Side } from "../api/types";
import { number, two } from "../logic/format";
import { unitAddress } from "../logic/route";
import { shortUnit } from "../logic/unitname";
import { Descriptions } from "./Descriptions";
import { Exemplar } from "./Exemplar";

const Histogram = lazy(() => import("./Histogram"));

const heading = (kind: string): string => {
  if (kind === "top") return "Strongest";
  if (kind === "random") return "Random texts";
  const band = /^band ([\d.]+)-([\d.]+)$/.exec(kind);
  return band ? `Between its ${number(Number(band[1]) * 100)}% and ${number(Number(band[2]) * 100)}% quantile` : kind;
};

export function UnitSide({ unit, base, side }: { unit: string; base: string; side: Side }) {
  const groups = useMemo(() => {
    const map = new Map<string, Side["exemplars"]>();
    for (const exemplar of side.exemplars) map.set(exemplar.kind, [...(map.get(exemplar.kind) ?? []), exemplar]);
    const rank = (kind: string) => (kind === "top" ? -1e9 : kind === "random" ? 1e9 : -Number(/([\d.]+)$/.exec(kind)?.[1] ?? 0));
    return [...map].sort(([a], [b]) => rank(a) - rank(b));
  }, [side]);
  return (
    <div className="unit-side">
      <div className="unit-columns">
        <Descriptions unit={unit} base={base} side={side} />
        <section>
          <h3>How strong, how often</h3>
          <Suspense fallback={<div className="bone" style={{ height: 140 }} />}><Histogram bins={side.histogram} scale={side.scale} /></Suspense>
          <h3>Nearest units</h3>
          {side.nearest.length === 0 ? <p className="faint">none</p> : (
            <ul className="nearest">
              {side.nearest.map((near) => (
                <li key={near.unit}><a href={unitAddress(near.unit)} className="unit-name">{shortUnit(near.unit)}</a> <span className="ellipsis">{near.description}</span> <span className="score">{two(near.similarity)}</span></li>
              ))}
            </ul>
          )}
        </section>
      </div>
      <section>
        <h3>Examples</h3>
        {groups.length === 0 && <p className="faint">No examples are kept for this side.</p>}
        {groups.map(([kind, exemplars]) => (
          <div key={kind} className="exemplars" data-testid={`exemplars-${kind.split(" ")[0]}`}>
            <h4>{heading(kind)}</h4>
            {exemplars.map((exemplar, i) => <Exemplar key={i} exemplar={exemplar} scale={side.scale} polarity={side.polarity} />)}
          </div>
        ))}
      </section>
    </div>
  );
}
