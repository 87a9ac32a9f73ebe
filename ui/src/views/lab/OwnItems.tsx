import type { Item } from "../../api/labtypes";
import { setForm, useForm } from "../../state/lab";

const FIELDS: [string, string, string][] = [
  ["prompt", "must", "what the model reads"],
  ["right, wrong", "must", "lists of next tokens, each one token of the model, with its leading space if it has one"],
  ["counterfactual", "may", "a prompt that differs in what decides the answer; one of as many tokens can be resampled from"],
  ["class", "may", "which of two kinds the item is of; a direction needs it"],
  ["group", "may", "items of one group are never split between fitting and testing"],
  ["chat", "may", "true where the prompt is what a user says in a chat; the answer's first token is asked for"],
];

/** A place to paste items, with what a line holds beside it. */
export function OwnItems({ example }: { example: Item | null }) {
  const { jsonl } = useForm();
  return (
    <div className="lab-own">
      <div className="field">
        <label htmlFor="lab-jsonl">Items, one JSON object a line</label>
        <textarea id="lab-jsonl" data-testid="lab-jsonl" rows={6} spellCheck={false} value={jsonl} aria-describedby="lab-jsonl-fields"
          placeholder={example ? JSON.stringify(example) : ""} onChange={(event) => setForm({ jsonl: event.target.value })} />
        {example && jsonl === "" && <p><button type="button" className="button small" onClick={() => setForm({ jsonl: `${JSON.stringify(example)}\n` })}>Begin with an example</button></p>}
      </div>
      <table className="lab-table" id="lab-jsonl-fields">
        <caption className="visually-hidden">What a line holds; any other field is an error</caption>
        <thead><tr><th scope="col">field</th><th scope="col"><span className="visually-hidden">whether it must be there</span></th><th scope="col">content</th></tr></thead>
        <tbody>{FIELDS.map(([field, must, what]) => <tr key={field}><th scope="row"><code>{field}</code></th><td className="faint">{must}</td><td>{what}</td></tr>)}</tbody>
      </table>
    </div>
  );
}
