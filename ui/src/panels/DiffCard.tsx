import { useMemo, useState } from "react";
import { Icon } from "../components/Icon";
import { Failure } from "../components/States";
import { Working } from "../components/Working";
import { shifts } from "../logic/diff";
import { percent, signed } from "../logic/format";
import { spaced } from "../logic/tokens";
import { shine, showUnits } from "../state/choosing";
import { type Run, useCurrent } from "../state/page";
import { lengthOf, useCompare } from "../state/queries";
import { ShareBar } from "../components/Bar";

/** The steered answer under both runs: which of its words the plain model would not have said. */
export function DiffCard({ sentence, steered }: { sentence: string; steered: Run }) {
  const current = useCurrent();
  const [open, setOpen] = useState(false);
  const { query: compare, name } = useCompare(current);
  const list = useMemo(() => (compare.data ? shifts(compare.data.plain, compare.data.edited, steered.prompt.length) : []), [compare.data, steered.prompt.length]);
  return (
    <div className="diff-card" data-testid="diff">
      <p className="diff-sentence" data-testid="diff-sentence">{sentence}</p>
      <div className="row wrap">
        <button type="button" className="disclosure" aria-expanded={open} data-testid="diff-open" onClick={() => setOpen(!open)}>
          <Icon name={open ? "down" : "right"} size={12} /> Probabilities under both runs
        </button>
        <button type="button" className="link" data-testid="show-changed" onClick={() => showUnits("changed")}>units that changed</button>
      </div>
      {open && (compare.isError ? <Failure error={compare.error} again={() => void compare.refetch()} />
        : !compare.data ? <Working what="Reading the steered answer under both runs…" tokens={lengthOf(steered)} asked={name} rows={3} />
          : (
            <div className="table-scroll" tabIndex={0} role="region" aria-label="Tokens of the steered answer under both runs">
              <table className="diff-table">
                <caption className="visually-hidden">Each token of the steered answer: its probability in the plain and the steered run</caption>
                <thead><tr><th scope="col">token</th><th scope="col" className="right">plain</th><th scope="col" className="right">steered</th><th scope="col" className="right">change of log p</th></tr></thead>
                <tbody onMouseLeave={() => shine(null)}>
                  {list.slice(0, 40).map((shift) => (
                    <tr key={shift.position} onMouseEnter={() => shine({ kind: "signed", label: "Change of log p", values: compare.data.edited.map((p, i) => (p ?? 0) - (compare.data.plain[i] ?? 0)) })}>
                      <td><span className="chip-token">{spaced(compare.data.prompt[shift.position]?.text ?? "")}</span></td>
                      <td className="num"><ShareBar share={Math.exp(shift.plain)} />{percent(Math.exp(shift.plain))}</td>
                      <td className="num"><ShareBar share={Math.exp(shift.edited)} />{percent(Math.exp(shift.edited))}</td>
                      <td className={`num ${shift.change < 0 ? "minus-text" : "plus-text"}`}>{signed(shift.change)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          ))}
    </div>
  );
}
