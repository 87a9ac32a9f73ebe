import { memo } from "react";
import type { Side } from "../api/types";
import { number, times } from "../logic/format";
import { visible } from "../logic/tokens";

/** A text window; heat against the unit's own typical strength, so that windows can be compared. */
export const Exemplar = memo(function Exemplar({ exemplar, scale, polarity }: { exemplar: Side["exemplars"][number]; scale: number; polarity: "+" | "-" }) {
  const most = Math.max(scale, Math.abs(exemplar.value)) || 1;
  return (
    <p className="exemplar">
      <span className="exemplar-value num" title={`activation ${number(exemplar.value)}, ${exemplar.split} split`}>{scale > 0 ? times(Math.abs(exemplar.value) / scale) : number(exemplar.value)}</span>
      <span className="tokens sample">
        {exemplar.tokens.map((token, i) => {
          const mine = polarity === "+" ? token.activation : -token.activation;
          const heat = mine > 0 ? Math.sqrt(Math.min(1, mine / most)) : 0;
          return (
            <span key={i} className={`token still${token.counted ? "" : " uncounted"}`} title={`${visible(token.text)}: ${number(token.activation)}${token.counted ? "" : " (not counted)"}`}
              data-sign={heat > 0.1 ? "amount" : undefined} style={heat > 0.1 ? ({ "--heat": heat.toFixed(2) } as React.CSSProperties) : undefined}>{token.text.replace(/\n/g, "⏎")}</span>
          );
        })}
      </span>
    </p>
  );
});
