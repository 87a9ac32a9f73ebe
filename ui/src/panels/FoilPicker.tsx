import type { Token } from "../api/types";
import { percent } from "../logic/format";
import { spaced } from "../logic/tokens";
import { chooseFoil } from "../state/choosing";
import type { Run, Target } from "../state/page";
import { useScore } from "../state/queries";

/** "Why X and not Y": Y out of what was likely at that place. The way for keys; shift-click is the way for a mouse. */
export function FoilPicker({ run, target, foil }: { run: Run; target: Target; foil: Token | null }) {
  const said = run.generated.find((token) => token.position === target.at);
  const score = useScore(run, said === undefined);
  const top = (said?.top ?? score.data?.tokens[target.at - 1]?.next ?? []).filter((token) => token.id !== target.token.id);
  if (top.length === 0) return null;
  const listed = foil && !top.some((token) => token.id === foil.id);
  return (
    <label className="foil-picker">
      <span className="faint">and not</span>
      <select data-testid="foil-picker" value={foil ? String(foil.id) : ""} aria-label="Foil: the token it is compared with"
        onChange={(event) => chooseFoil(top.find((token) => String(token.id) === event.target.value) ?? null)}>
        <option value="">any other</option>
        {listed && <option value={foil.id}>{spaced(foil.text)}</option>}
        {top.map((token) => <option key={token.id} value={token.id}>{spaced(token.text)} ({percent(token.probability)})</option>)}
      </select>
    </label>
  );
}
