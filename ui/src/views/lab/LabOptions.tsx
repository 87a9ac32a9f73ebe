import { useId } from "react";
import type { LabBehaviour } from "../../api/labtypes";
import { NumberField } from "../../components/Field";
import type { LabMethod } from "../../logic/route";
import { type Form, setForm, useForm } from "../../state/lab";

interface ChoiceProps<K extends keyof Form> { label: string; field: K; options: [Form[K] & string, string][]; testid?: string }

function ChoiceField<K extends keyof Form>({ label, field, options, testid }: ChoiceProps<K>) {
  const id = useId(), form = useForm();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <select id={id} data-testid={testid} value={String(form[field])} onChange={(event) => setForm({ [field]: event.target.value } as Partial<Form>)}>
        {options.map(([value, words]) => <option key={value} value={value}>{words}</option>)}
      </select>
    </div>
  );
}

function TextField({ label, field, testid }: { label: string; field: "ends"; testid: string }) {
  const id = useId(), form = useForm();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input id={id} data-testid={testid} value={form[field]} placeholder="logits, or z.9/h6:q" maxLength={200} onChange={(event) => setForm({ [field]: event.target.value })} />
    </div>
  );
}

export function LabOptions({ method, behaviours }: { method: LabMethod; behaviours: LabBehaviour[] }) {
  const form = useForm();
  const number = (field: keyof Form, label: string, min: number, max: number, more: { step?: number; empty?: string } = {}) => (
    <NumberField label={label} value={form[field] as number | null} min={min} max={max} testid={`lab-${field}`} {...more}
      onChange={(value) => (value !== null || more.empty !== undefined) && setForm({ [field]: value } as Partial<Form>)} />
  );
  const others: [string, string][] = behaviours.filter((one) => one.name !== form.source).map((one) => [one.name, one.name]);
  const offTask = <ChoiceField label="Off-task behaviour" field="offTask" testid="lab-off-task" options={[["", `usual (${form.source === "capitals" ? "agreement" : "capitals"})`], ...others]} />;
  switch (method) {
    case "trace": return (
      <>
        <ChoiceField label="What is patched" field="at" testid="lab-at" options={[["resid_pre", "the stream, by token"], ["attn_out_post", "what attention adds"], ["mlp_out_post", "what MLPs add"], ["z", "heads"], ["paths", "paths from heads"]]} />
        {form.at === "paths" && <TextField label="Paths end at" field="ends" testid="lab-ends" />}
        <ChoiceField label="Which values go where" field="towards" testid="lab-towards" options={[["denoise", "clean into corrupted"], ["noise", "corrupted into clean"]]} />
        <ChoiceField label="Corrupted by" field="corrupt" testid="lab-corrupt" options={[["counterfactual", "the counterfactual"], ["noise", "noise on what differs"]]} />
        {form.at !== "paths" && number("window", "Layers patched together", 1, 99)}
      </>
    );
    case "knockout": return (
      <>
        {number("query", "Position that looks (−1 is the last)", -999, 999)}
        {number("cutWindow", "Layers cut together", 1, 99)}
      </>
    );
    case "patchscope": return (
      <>
        <ChoiceField label="Whose value" field="from" testid="lab-from" options={[["last", "the last token’s"], ["subject", "the subject’s (what the counterfactual changes)"]]} />
        {number("every", "Every how manieth layer", 1, 99)}
      </>
    );
    case "neurons": return (
      <>
        {number("top", "Neurons replaced", 1, 32)}
        <ChoiceField label="Foremost by" field="by" options={[["direct", "direct effect"], ["gradient", "gradient effect"]]} />
        {offTask}
      </>
    );
    case "direction": return (
      <>
        <ChoiceField label="Found by" field="method" testid="lab-found-by" options={[["mean", "difference of means"], ["pairs", "mean of the pairs' differences"], ["pca", "principal component"], ["logistic", "logistic regression"]]} />
        {number("positions", "Positions from the end", 1, 4)}
        {number("layer", "Layer that is tested", 0, 999, { empty: "the rule's choice" })}
        {number("strength", "Times it is added", -100, 100, { step: 0.5 })}
        {offTask}
      </>
    );
    case "circuit": return (
      <>
        <ChoiceField label="Edges scored by" field="scoring" testid="lab-scoring" options={[["eap", "EAP"], ["eap_ig", "EAP-IG"], ["clean_corrupted", "clean-corrupted"]]} />
        {form.scoring === "eap_ig" && number("steps", "Points on the way", 1, 20)}
        <ChoiceField label="A cut edge carries" field="ablation" options={[["counterfactual", "the counterfactual's value"], ["mean", "the mean"], ["zero", "nothing"]]} />
        <ChoiceField label="Edges chosen by" field="choice" options={[["size", "size of their score"], ["signed", "sign: what helps most"], ["greedy", "greedy, from the logits on"]]} />
        {number("edges", "Edges listed", 1, 20_000, { empty: "enough for .8" })}
        {offTask}
      </>
    );
    default: return null;
  }
}
