import { memo } from "react";
import { roleName, visible } from "../logic/tokens";
import type { Role } from "../api/types";

interface Props { position: number; text: string; role: Role | null; target: boolean; foil: boolean; inRange: boolean; changed: boolean }

/** One token, as text that flows. Heat and focus are put on the element from outside (see TokenFlow), so that neither
 *  draws it again. */
export const TokenBox = memo(function TokenBox({ position, text, role, target, foil, inRange, changed }: Props) {
  const marks = [target && "target", foil && "foil", inRange && "in range", changed && "first difference"].filter(Boolean).join(", ");
  const classes = `token${target ? " is-target" : ""}${foil ? " is-foil" : ""}${inRange ? " in-range" : ""}${changed ? " is-changed" : ""}`;
  return (
    <span role="option" id={undefined} tabIndex={-1} className={classes} data-pos={position} data-testid={`token-${position}`}
      aria-selected={target || foil || inRange}
      aria-label={`${visible(text)}, token ${position}, ${roleName(role)}${marks ? `, ${marks}` : ""}`}>
      {shown(text)}
    </span>
  );
});

/** Line ends keep their effect and get a faint sign; tabs and lone spaces become visible. */
function shown(text: string) {
  if (!/[\n\t\r]/.test(text) && !/^ +$/.test(text)) return text === "" ? "\u2205" : text;
  if (/^ +$/.test(text)) return <><span className="ghost">{"\u00b7".repeat(text.length)}</span></>;
  return text.split(/(\n|\t|\r)/).map((part, i) =>
    part === "\n" ? <span key={i}><span className="ghost">⏎</span>{"\n"}</span>
      : part === "\t" ? <span key={i} className="ghost">⇥{"\t"}</span>
        : part === "\r" ? <span key={i} className="ghost">␍</span> : part);
}
