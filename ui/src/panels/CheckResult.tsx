import type { AblateReply } from "../api/types";
import { ShareBar } from "../components/Bar";
import { percent, signed } from "../logic/format";
import { quoted } from "../logic/tokens";
import { verdict } from "../logic/verdict";

/** Done and looked at: plain, without the group, and without random groups of its size. */
export function CheckResult({ reply, effect, size, target, index }: { reply: AblateReply; effect: number; size: number; target: string; index: number }) {
  const judged = verdict(reply, effect, size, target);
  const rows = [
    { name: "plain", outcome: reply.plain, kind: "plain" }, { name: "without", outcome: reply.without, kind: "without" },
    ...reply.random.map((outcome, i) => ({ name: `random ${i + 1}`, outcome, kind: "random" })),
  ];
  return (
    <div className={`check ${judged.holds ? "holds" : "fails"}`} data-testid={`cluster-result-${index}`} role="status">
      <p className="check-sentence"><strong aria-hidden="true">{judged.holds ? "✓" : "✗"}</strong> {judged.sentence}</p>
      <table className="check-table">
        <caption className="visually-hidden">Probability of {quoted(target)} and change of the metric</caption>
        <thead className="visually-hidden"><tr><th scope="col">run</th><th scope="col">share</th><th scope="col">probability</th><th scope="col">change</th></tr></thead>
        <tbody>
          {rows.map(({ name, outcome, kind }) => (
            <tr key={name} className={kind}>
              <th scope="row">{name}</th>
              <td className="wide"><ShareBar share={outcome.probability} className={kind} /></td>
              <td className="num">{percent(outcome.probability)}</td>
              <td className="num">{kind === "plain" ? "" : signed(outcome.value - reply.plain.value)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p className="faint">Predicted change {signed(reply.predicted)}. {reply.without.top[0] && <>Without it, the likeliest word is {quoted(reply.without.top[0].text)} ({percent(reply.without.top[0].probability)}).</>}</p>
    </div>
  );
}
