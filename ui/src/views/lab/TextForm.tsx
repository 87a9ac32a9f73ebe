// What is asked where it is no behaviour: a text and a token of it, or a task's pairs.
import { useQuery } from "@tanstack/react-query";
import { useId } from "react";
import { labTasks } from "../../api/lab";
import { NumberField } from "../../components/Field";
import { Failure } from "../../components/States";
import { OWN, setForm, useForm } from "../../state/lab";

/** A text, the token whose value is read, and the text that it is put into. */
export function TextFields() {
  const form = useForm(), id = useId();
  return (
    <>
      <div className="field wide">
        <label htmlFor={`${id}t`}>Text</label>
        <textarea id={`${id}t`} data-testid="lab-text" rows={2} maxLength={2000} value={form.text} onChange={(event) => setForm({ text: event.target.value })} />
      </div>
      <NumberField label="Token (−1 is the last)" value={form.position} min={-9999} max={9999} onChange={(position) => position !== null && setForm({ position })} testid="lab-position" />
      <NumberField label="Layers put back" value={form.backBy} min={1} max={99} onChange={(backBy) => backBy !== null && setForm({ backBy })} testid="lab-back-by" />
      <div className="field lab-target-field">
        <label htmlFor={`${id}g`}>Target: description, identity, or a text with {"{}"}</label>
        <input id={`${id}g`} data-testid="lab-target" value={form.target} maxLength={1000} onChange={(event) => setForm({ target: event.target.value })} />
      </div>
    </>
  );
}

/** A task and how it is taught. */
export function TaskFields() {
  const form = useForm(), id = useId();
  const tasks = useQuery({ queryKey: ["lab-tasks"], queryFn: ({ signal }) => labTasks(signal) });
  const chosen = tasks.data?.find((one) => one.name === form.task);
  if (tasks.isError) return <Failure error={tasks.error} again={() => void tasks.refetch()} />;
  return (
    <>
      <div className="lab-fields">
        <div className="field">
          <label htmlFor={`${id}k`}>Task</label>
          <select id={`${id}k`} data-testid="lab-task" value={form.task} onChange={(event) => setForm({ task: event.target.value })}>
            {(tasks.data ?? [{ name: form.task }]).map((one) => <option key={one.name} value={one.name}>{one.name}</option>)}
            <option value={OWN}>pairs of your own</option>
          </select>
        </div>
        <NumberField label="Examples before a question" value={form.shots} min={1} max={16} onChange={(shots) => shots !== null && setForm({ shots })} testid="lab-shots" />
        <NumberField label="Heads in the vector" value={form.heads} min={1} max={64} onChange={(heads) => heads !== null && setForm({ heads })} testid="lab-heads-number" />
        <NumberField label="Seed" value={form.seed} min={0} max={Number.MAX_SAFE_INTEGER} onChange={(seed) => seed !== null && setForm({ seed })} testid="lab-seed" />
      </div>
      {chosen && <p className="lab-about" data-testid="lab-about">{chosen.about.replaceAll(" > ", " → ")}. <span className="faint">{chosen.pairs} pairs, written as “Q: … A: …”; seven tenths are shown, the others asked.</span></p>}
      {form.task === OWN && (
        <div className="field">
          <label htmlFor={`${id}p`}>Pairs, one JSON object a line; an answer is one token of the model</label>
          <textarea id={`${id}p`} data-testid="lab-pairs-own" rows={6} spellCheck={false} value={form.pairs} placeholder={'{"x": "walk", "y": "walked"}'} onChange={(event) => setForm({ pairs: event.target.value })} />
        </div>
      )}
    </>
  );
}
