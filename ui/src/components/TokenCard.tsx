// What else could have stood where a token stands.
import { Popover } from "radix-ui";
import { useRef } from "react";
import type { Placed } from "../api/types";
import { percent, signed, number } from "../logic/format";
import type { Heat } from "../logic/heat";
import { spaced } from "../logic/tokens";
import { chooseBoth } from "../state/choosing";
import { page, type Run } from "../state/page";
import { useScore } from "../state/queries";
import { ShareBar } from "./Bar";

interface Props { run: Run; tokens: Placed[]; at: number; element: HTMLElement; heat: Heat | null; onHold: () => void; onLeave: () => void }

export function TokenCard({ run, tokens, at, element, heat, onHold, onLeave }: Props) {
  const token = tokens[at];
  const said = run.generated.find((other) => other.position === at);
  const inPrompt = token !== undefined && said === undefined;
  const score = useScore(run, inPrompt && at > 0);
  const anchor = useRef<HTMLElement>(element);
  anchor.current = element;
  if (!token) return null;
  const top = said?.top ?? score.data?.tokens[at - 1]?.next ?? [];
  const logProb = said?.log_prob ?? score.data?.tokens[at]?.log_prob ?? null;
  const warmth = heat?.values[at];
  return (
    <Popover.Root open>
      <Popover.Anchor virtualRef={anchor as React.RefObject<HTMLElement>} />
      <Popover.Portal>
        <Popover.Content className="token-card" side="bottom" align="start" sideOffset={6} collisionPadding={8} data-testid="token-card"
          aria-label={`What could stand at token ${at}`} onOpenAutoFocus={(event) => event.preventDefault()}
          onCloseAutoFocus={(event) => event.preventDefault()} onPointerEnter={onHold} onPointerLeave={onLeave}>
          <div className="token-card-head">
            <span className="chip-token">{spaced(token.text)}</span>
            <span className="faint">token {at}</span>
            {logProb !== null && <span className="strong">{percent(Math.exp(logProb))}</span>}
          </div>
          {warmth !== undefined && warmth !== 0 && (
            <p className="faint">{heat!.label}: {heat!.kind === "signed" ? signed(warmth) : number(warmth)}</p>
          )}
          {at === 0 ? <p className="faint">The first token: nothing stands before it.</p>
            : top.length > 0 ? (
              <ul className="alternatives" aria-label="Likeliest here">
                {top.slice(0, 6).map((other) => (
                  <li key={other.id} className={other.id === token.id ? "is-said" : ""}>
                    <span className="chip-token">{spaced(other.text)}</span>
                    <ShareBar share={other.probability} />
                    <span className="num">{percent(other.probability)}</span>
                    {other.id === token.id ? <span className="faint said">said</span> : (
                      <button type="button" className="link" tabIndex={-1} onClick={() => chooseBoth(at, token, other)}>why not?</button>
                    )}
                  </li>
                ))}
              </ul>
            ) : score.isError ? <p className="faint">What else was likely could not be read.</p>
              : score.isFetching ? <p className="faint">Reading what was likely…</p> : null}
          <p className="card-keys">{page.get().target ? "click: explain · shift-click: foil · drag: range" : "click to explain this token"}</p>
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}
