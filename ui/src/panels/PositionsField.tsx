import { useId, useState } from "react";
import type { Positions, Role } from "../api/types";
import { positionsFromRanges, rangesFromPositions } from "../logic/specs";
import { parseRanges, showRanges } from "../logic/tokens";
import { usePage } from "../state/page";

const ROLES: { value: Role; label: string }[] = [
  { value: "system", label: "the system prompt" }, { value: "user", label: "your turns" }, { value: "assistant", label: "earlier answers" }, { value: "generated", label: "the answer" },
];

/** Where a change applies. Null while what is typed is no list of places. */
export function PositionsField({ value, onChange }: { value: Positions | null; onChange: (value: Positions | null) => void }) {
  const id = useId();
  const chosen = usePage((s) => s.range);
  const [text, setText] = useState(() => { const ranges = value ? rangesFromPositions(value) : null; return ranges ? showRanges(ranges) : ""; });
  const kind = value === "all" ? "all" : value && "role" in value ? value.role : "at";
  const read = (next: string) => {
    setText(next);
    const ranges = parseRanges(next);
    onChange(ranges && positionsFromRanges(ranges));
  };
  const pick = (next: string) => {
    if (next === "all") onChange("all");
    else if (next === "at") read(text || (chosen ? showRanges([chosen]) : "0-"));
    else onChange({ role: next as Role });
  };
  return (
    <div className="field wide">
      <label htmlFor={id}>Where</label>
      <div className="row">
        <select id={id} data-testid="positions" value={kind} onChange={(event) => pick(event.target.value)}>
          <option value="all">everywhere</option>
          {ROLES.map((role) => <option key={role.value} value={role.value}>{role.label}</option>)}
          <option value="at">tokens…</option>
        </select>
        {kind === "at" && <input aria-label="Token ranges" data-testid="positions-ranges" value={text} placeholder="3, 5-8, 12-" aria-invalid={value === null} onChange={(event) => read(event.target.value)} />}
      </div>
      {kind === "at" && value === null && <p className="warn-text">Places like 3, 5-8 or 12- (an open end must stand alone).</p>}
      {kind === "at" && chosen && <button type="button" className="link" onClick={() => read(showRanges([chosen]))}>take the chosen range</button>}
    </div>
  );
}
