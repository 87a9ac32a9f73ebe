import type { Found } from "../api/types";
import { count, two } from "../logic/format";
import { shortUnit } from "../logic/unitname";
import { page } from "../state/page";

/** The units that a spec stands for, nearest first. */
export function FoundUnits({ found, edits }: { found: Found[] | undefined; edits?: number }) {
  if (!found) return <p className="faint">Looking for units…</p>;
  if (found.length === 0) return <p className="faint">{edits ? `${count(edits, "edit")}, as written.` : "No unit fits."}</p>;
  return (
    <div className="found" data-testid="found-units" tabIndex={0} role="region" aria-label="Units matched">
      <ul>
        {found.map((unit) => (
          <li key={unit.unit}>
            <button type="button" className="member" onClick={() => page.set({ drawer: unit.unit })}>
              <span className="unit-name">{shortUnit(unit.unit)}</span>
              <span className="ellipsis">{unit.description || "no description"}</span>
              <span className="score" title="similarity to the concept; description score">{unit.similarity !== null && `${two(unit.similarity)} · `}r {two(unit.score)}</span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
