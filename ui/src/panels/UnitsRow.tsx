import { memo } from "react";
import { ShareBar, SignedBar } from "../components/Bar";
import { DescriptionWords } from "../components/DescriptionWords";
import { Sparkline } from "../components/Sparkline";
import { number, signed, times } from "../logic/format";
import type { Row } from "../logic/table";
import { parseUnit, shortUnit } from "../logic/unitname";
import type { UnitsTab } from "../state/page";
import { TurnButtons } from "./TurnButtons";

export const UnitsRow = memo(function UnitsRow({ row, kind, most, relative }: { row: Row; kind: UnitsTab; most: number; relative: boolean }) {
  const unit = row.unit === null ? null : parseUnit(row.unit);
  const neuron = row.unit !== null && !unit?.head;
  return (
    <>
      <span role="cell" className="c-unit unit-name" title={row.unit ?? row.site}>
        {unit?.dictionary != null ? `/${unit.index}` : row.unit ? shortUnit(row.unit) : row.site}
        {row.direct && <span className="direct" title="An edit sets this unit itself">edited</span>}
      </span>
      <span role="cell" className="c-value">
        {kind === "activation"
          ? <span className="num" title={row.activation === null ? undefined : `activation ${number(row.activation)}`}>{relative ? times(row.relative) : number(row.value)}</span>
          : <span className={`num ${row.value < 0 ? "minus-text" : "plus-text"}`}>{signed(row.value)}</span>}
        {kind === "activation" ? <ShareBar share={most > 0 ? Math.abs(row.value) / most : 0} className="thin" /> : <SignedBar value={row.value} most={most} />}
        {kind === "attribution" && row.relative !== null && <span className="faint num sub" title={`active at ${times(row.relative)} its typical strength`}>{times(row.relative)}</span>}
      </span>
      <span role="cell" className="c-spark"><Sparkline values={row.byPosition} before={row.before} /></span>
      <span role="cell" className="c-words">{neuron ? <DescriptionWords words={row.words} /> : <span className="no-words">{unit?.head ? `attention head ${unit.index} of layer ${row.layer}` : `layer ${row.layer}`}</span>}</span>
      <span role="cell" className="c-turns"><TurnButtons label={row.unit ? shortUnit(row.unit) : row.site} units={row.unit ? [row.unit] : []} sites={row.unit ? [] : [row.site]} testid={`unit-{}-${row.key}`} /></span>
    </>
  );
});
