import type { LabBehaviour } from "../../api/labtypes";
import { NumberField } from "../../components/Field";
import { Icon } from "../../components/Icon";
import { type LabMethod } from "../../logic/route";
import { mostItems, OWN, setForm, start, useForm, useRun } from "../../state/lab";
import { LabOptions } from "./LabOptions";
import { OwnItems } from "./OwnItems";
import { TaskFields, TextFields } from "./TextForm";

const spoken = (words: string[]) => words.map((word) => `“${word.trim()}”`).join(" or ");

export function LabForm({ method, behaviours }: { method: LabMethod; behaviours: LabBehaviour[] }) {
  const form = useForm();
  const running = useRun(method)?.state === "running";
  const chosen = behaviours.find((one) => one.name === form.source);
  const most = mostItems(method);
  const kind = method === "function" ? "task" : method === "patchscope" && form.into === "text" ? "text" : "behaviour";
  const empty = kind === "task" ? form.task === OWN && form.pairs.trim() === "" : kind === "text" ? form.text.trim() === "" || form.target.trim() === "" : form.source === OWN && form.jsonl.trim() === "";
  const unfit = method === "direction" && chosen && !chosen.classes;
  const send = (event: React.FormEvent) => {
    event.preventDefault();
    if (!running) void start(method);
  };
  return (
    <form className="lab-form" onSubmit={send} aria-label="What is asked">
      {method === "patchscope" && <Into />}
      {kind === "task" && <TaskFields />}
      {kind === "text" && <div className="lab-fields"><TextFields /></div>}
      {kind === "behaviour" && <><div className="lab-fields">
        <div className="field lab-source">
          <label htmlFor="lab-source">Behaviour</label>
          <select id="lab-source" data-testid="lab-source" value={form.source} onChange={(event) => setForm({ source: event.target.value })}>
            {behaviours.map((one) => <option key={one.name} value={one.name}>{one.name}</option>)}
            <option value={OWN}>items of your own</option>
          </select>
        </div>
        <NumberField label={`Items (at most ${most})`} value={Math.min(form.items, most)} min={1} max={most} onChange={(items) => items !== null && setForm({ items })} testid="lab-items" />
        <NumberField label="Seed" value={form.seed} min={0} max={Number.MAX_SAFE_INTEGER} onChange={(seed) => seed !== null && setForm({ seed })} testid="lab-seed" />
        {method !== "behaviour" && <LabOptions method={method} behaviours={behaviours} />}
      </div>
      {chosen && (
        <p className="lab-about" data-testid="lab-about">{chosen.about.replace(" > ", " → ")}. <span className="faint">For instance “{chosen.example.prompt}”: right {spoken(chosen.example.right)}, wrong {spoken(chosen.example.wrong)}.</span></p>
      )}
      {form.source === OWN && <OwnItems example={behaviours[0]?.example ?? null} />}</>}
      {unfit && <p className="warn-text" data-testid="lab-unfit">{form.source} has no two classes of items, and a direction leads from one to the other. Choose another behaviour.</p>}
      <div className="row">
        <button type="submit" className="button primary" data-testid="lab-start" disabled={running || empty || !!unfit}><Icon name="right" size={14} /> Run</button>
      </div>
    </form>
  );
}

const INTO = [["text", "one token of a text"], ["target", "a behaviour, into a target"], ["back", "a behaviour, back into itself"]] as const;

/** What a patchscope reads. */
function Into() {
  const { into } = useForm();
  return (
    <div className="segmented lab-into" role="group" aria-label="What is read">
      {INTO.map(([value, words]) => <button key={value} type="button" aria-pressed={into === value} data-testid={`lab-into-${value}`} onClick={() => setForm({ into: value })}>{words}</button>)}
    </div>
  );
}
