import { useEffect, useId, useState } from "react";
import type { SteerSpec } from "../api/types";
import { NumberField } from "../components/Field";
import { Failure } from "../components/States";
import { parseUnit } from "../logic/unitname";
import { number } from "../logic/format";
import type { Listed } from "../state/page";
import { useSteer, useStatus } from "../state/queries";
import { addSpec, replaceSpec } from "../state/steering";
import { FoundUnits } from "./FoundUnits";
import { PositionsField } from "./PositionsField";

type Kind = "concept" | "units" | "edits";
const kindOf = (spec: SteerSpec | undefined): Kind => (!spec || "concept" in spec.what ? "concept" : "units" in spec.what ? "units" : "edits");

/** A change, by a concept in plain words or by units; with a live look at what it would touch. */
export function SpecEditor({ listed, onClose }: { listed: Listed | null; onClose: () => void }) {
  const old = listed?.spec, what = old?.what;
  const [kind, setKind] = useState<Kind>(kindOf(old));
  const [text, setText] = useState(what && "concept" in what ? what.concept.text : "");
  const [k, setK] = useState(what && "concept" in what ? what.concept.k : 50);
  const [least, setLeast] = useState<number | null>(what && "concept" in what ? what.concept.score ?? null : null);
  const [units, setUnits] = useState(what && "units" in what ? what.units.join(" ") : "");
  const [change, setChange] = useState<SteerSpec["change"]>(old?.change ?? { strength: 0 });
  const [positions, setPositions] = useState<SteerSpec["positions"] | null>(old?.positions ?? "all");
  const { data: status } = useStatus();
  const id = useId();
  const names = units.split(/[\s,;]+/).filter(Boolean);
  const bad = names.find((name) => parseUnit(name) === null);
  const target: SteerSpec["what"] | null = kind === "edits" ? (what && "edits" in what ? what : null)
    : kind === "concept" ? (text.trim() ? { concept: { text: text.trim(), k, ...(least === null ? {} : { score: least }) } } : null)
      : names.length > 0 && bad === undefined ? { units: names } : null;
  const verb = "strength" in change ? (change.strength === 0 ? "off" : `at ${number(change.strength)}`) : `× ${number(change.scale)}`;
  const spec: SteerSpec | null = target && positions
    ? { name: "edits" in target ? old!.name : "units" in target && old && "units" in old.what ? old.name : `${"concept" in target ? target.concept.text : names.slice(0, 2).join(", ")} ${verb}`, what: target, change, positions }
    : null;
  // What is matched is asked for after a pause in typing.
  const [asked, setAsked] = useState<SteerSpec | null>(null);
  const serial = JSON.stringify(target);
  useEffect(() => {
    const timer = setTimeout(() => setAsked(spec), 300);
    return () => clearTimeout(timer);
  }, [serial]); // eslint-disable-line react-hooks/exhaustive-deps
  const found = useSteer(asked && spec ? [asked] : []);
  const save = () => {
    if (!spec) return;
    if (listed) replaceSpec(listed.id, spec);
    else addSpec(spec);
    onClose();
  };
  const strength = "strength" in change;
  return (
    <form className="spec-editor" data-testid="spec-editor" aria-label={listed ? "Edit this change" : "A new change"} onSubmit={(event) => { event.preventDefault(); save(); }}
      onKeyDown={(event) => { if (event.key === "Escape") { event.stopPropagation(); onClose(); } }}>
      {kind !== "edits" && (
        <div className="segmented" role="group" aria-label="What is changed">
          <button type="button" aria-pressed={kind === "concept"} onClick={() => setKind("concept")}>concept</button>
          <button type="button" aria-pressed={kind === "units"} onClick={() => setKind("units")}>units</button>
        </div>
      )}
      {kind === "concept" && (
        <>
          <div className="field wide"><label htmlFor={`${id}c`}>Concept, in plain words</label>
            <input id={`${id}c`} data-testid="concept-input" autoFocus value={text} placeholder="dates and months" onChange={(event) => setText(event.target.value)} />
          </div>
          {status && !status.atlas && <p className="warn-text">This model has no atlas yet, so no unit has words to search.</p>}
          {status?.atlas && !status.atlas.embeddings && <p className="faint">No search by meaning here: the words themselves must match.</p>}
          <div className="fields">
            <NumberField label="Neurons" testid="concept-k" value={k} min={1} max={1000} onChange={(v) => v && setK(Math.round(v))} />
            <NumberField label="Least score r" value={least} min={-1} max={1} step={0.05} empty="any" onChange={setLeast} />
          </div>
        </>
      )}
      {kind === "units" && (
        <div className="field wide"><label htmlFor={`${id}u`}>Units</label>
          <textarea id={`${id}u`} data-testid="units-input" rows={2} value={units} placeholder="mlp_act.3/1054+  z.5/h2" onChange={(event) => setUnits(event.target.value)} />
          {bad !== undefined && <p className="warn-text">“{bad}” is not the name of a unit.</p>}
        </div>
      )}
      {kind !== "edits" && (
        <div className="field wide">
          <div className="row"><label htmlFor={`${id}s`}>{strength ? "Strength" : "Factor"}</label>
            <select aria-label="How it is changed" value={strength ? "strength" : "scale"} onChange={(event) => setChange(event.target.value === "strength" ? { strength: 0 } : { scale: 0.5 })}>
              <option value="strength">set to a strength</option><option value="scale">multiply what it is</option>
            </select>
          </div>
          <div className="row">
            <input id={`${id}s`} type="range" data-testid="strength" min={0} max={strength ? 2 : 4} step={0.05} value={strength ? change.strength : change.scale}
              onChange={(event) => setChange(strength ? { strength: Number(event.target.value) } : { scale: Number(event.target.value) })} />
            <output className="num">{number(strength ? change.strength : change.scale)}</output>
          </div>
          <p className="faint">{strength ? "0 is off, 1 the unit's own typical strength." : "0 is off, 1 leaves it as it is."}</p>
        </div>
      )}
      {kind !== "edits" && <PositionsField value={positions} onChange={setPositions} />}
      {kind === "edits" && <p className="faint">Edits from a file say themselves where and how.</p>}
      {spec && (found.isError ? <Failure error={found.error} /> : <FoundUnits found={found.data?.specs[0]?.units} edits={found.data?.specs[0]?.edits.length} />)}
      <div className="row end">
        <button type="button" className="button small quiet" onClick={onClose}>Cancel</button>
        <button type="submit" className="button small primary" data-testid="spec-save" disabled={!spec}>{listed ? "Save" : "Add"}</button>
      </div>
    </form>
  );
}
