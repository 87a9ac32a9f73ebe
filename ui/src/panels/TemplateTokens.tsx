import { TokenSegment } from "../components/TokenSegment";
import type { Heat } from "../logic/heat";
import { count } from "../logic/format";
import type { Segment } from "../logic/tokens";

interface Props {
  segment: Segment; open: boolean; heat: Heat | null; onToggle: () => void;
  chosen: { target: number | null; foilId: number | null; range: [number, number] | null; changedAt: number | null };
}

/** Tokens that nobody wrote: folded to a mark, which still shows when something in them matters. */
export function TemplateTokens({ segment, open, heat, onToggle, chosen }: Props) {
  const most = heat ? Math.max(0, ...heat.values.map(Math.abs)) : 0;
  const inside = heat ? heat.values.slice(segment.from, segment.to).reduce((a, b) => Math.max(a, Math.abs(b)), 0) : 0;
  const hot = most > 0 && inside > most * 0.5;
  return (
    <div className={`template${open ? " is-open" : ""}`}>
      <button type="button" className={`template-mark${hot ? " is-hot" : ""}`} aria-expanded={open} onClick={onToggle}
        aria-label={`${open ? "Fold" : "Show"} ${count(segment.tokens.length, "template token")}${hot ? ", some of them matter here" : ""}`}>
        {open ? "fold" : count(segment.tokens.length, "template token")}{hot && !open ? " · matters" : ""}
      </button>
      {open && <TokenSegment segment={segment} {...chosen} />}
    </div>
  );
}
