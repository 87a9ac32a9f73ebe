import { memo } from "react";
import { roleName, type Segment } from "../logic/tokens";
import { TokenBox } from "./TokenBox";

interface Props { segment: Segment; target: number | null; foilId: number | null; range: [number, number] | null; changedAt: number | null; label?: string }

const inside = (segment: Segment, at: number | null) => (at !== null && at >= segment.from && at < segment.to ? at : null);

/** The tokens of one writer: a list box, since each can be chosen. */
export const TokenSegment = memo(function TokenSegment({ segment, target, foilId, range, changedAt, label }: Props) {
  const at = inside(segment, target), changed = inside(segment, changedAt);
  return (
    <span role="listbox" aria-multiselectable="true" aria-orientation="horizontal" className="tokens"
      aria-label={`${label ?? roleName(segment.role)}, ${segment.tokens.length} tokens`}>
      {segment.tokens.map((token) => (
        <TokenBox key={token.position} position={token.position} text={token.text} role={segment.role} target={token.position === at}
          foil={foilId !== null && token.id === foilId && target !== null && token.position !== target}
          inRange={range !== null && token.position >= range[0] && token.position < range[1]} changed={token.position === changed} />
      ))}
    </span>
  );
});
