import { signed } from "../logic/format";
import { spaced } from "../logic/tokens";

/** Output tokens that a unit writes towards or away from. */
export function TokenChips({ title, tokens, sign }: { title: string; tokens: [string, number][]; sign: "+" | "-" }) {
  return (
    <section className="token-chips">
      <h3>{title}</h3>
      {tokens.length === 0 ? <p className="faint">none</p> : (
        <ul>
          {tokens.slice(0, 12).map(([text, weight], i) => (
            <li key={`${text}/${i}`} className={sign === "+" ? "plus" : "minus"} title={`${signed(weight)} per unit of activation`}><span className="chip-token">{spaced(text)}</span></li>
          ))}
        </ul>
      )}
    </section>
  );
}
