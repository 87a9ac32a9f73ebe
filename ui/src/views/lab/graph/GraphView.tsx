// The graph of a prompt's next word: asked here, drawn below.
import { NumberField } from "../../../components/Field";
import { Icon } from "../../../components/Icon";
import { Empty, Failure } from "../../../components/States";
import { graph, MOST_NEURONS, setGraphForm, startGraph, stopGraph, useGraph } from "../../../state/graph";
import { progress } from "../../../state/lab";
import { GraphResult } from "./GraphResult";

export function GraphView() {
  const { state, step, reply, error } = useGraph((s) => s);
  return (
    <>
      <GraphForm />
      {state === "none" && <Empty title="No graph yet">Write a prompt and run it. The neurons that carry most of the model’s next word become nodes; what each adds to each becomes an edge.</Empty>}
      <div className="lab-run" data-testid="graph-run" data-state={state}>
        {state === "running" && (
          <div className="lab-working">
            <p role="status" className="loading-text">{progress(step)}</p>
            <progress max={step?.total || 1} value={step && step.total > 0 ? step.done : undefined} aria-label={step?.what ?? "waiting"} />
            <button type="button" className="button small" data-testid="graph-stop" onClick={stopGraph}>Stop</button>
          </div>
        )}
        {state === "failed" && <Failure error={error} again={() => void startGraph()} />}
        {state === "done" && reply && <GraphResult reply={reply} />}
      </div>
    </>
  );
}

function GraphForm() {
  const form = useGraph((s) => s.form), running = useGraph((s) => s.state === "running");
  const send = (event: React.FormEvent) => {
    event.preventDefault();
    if (graph.get().state !== "running") void startGraph();
  };
  return (
    <form className="lab-form" onSubmit={send} aria-label="What is asked">
      <div className="field">
        <label htmlFor="graph-prompt">Prompt; its next word is explained</label>
        <textarea id="graph-prompt" rows={2} data-testid="graph-prompt" value={form.prompt} onChange={(event) => setGraphForm({ prompt: event.target.value })} />
      </div>
      <div className="lab-fields">
        <div className="field">
          <label htmlFor="graph-target">Word to explain</label>
          <input id="graph-target" data-testid="graph-target" value={form.target} placeholder="the likeliest ones" onChange={(event) => setGraphForm({ target: event.target.value })} />
        </div>
        <div className="field">
          <label htmlFor="graph-foil">and not this word</label>
          <input id="graph-foil" data-testid="graph-foil" value={form.foil} placeholder="the mean of all" disabled={form.target === ""} onChange={(event) => setGraphForm({ foil: event.target.value })} />
        </div>
        <NumberField label={`Neurons (at most ${MOST_NEURONS})`} value={form.neurons} min={1} max={MOST_NEURONS} onChange={(neurons) => neurons !== null && setGraphForm({ neurons })} testid="graph-neurons" />
        <NumberField label="Neurons zeroed as a check" value={form.check} min={0} max={40} onChange={(check) => check !== null && setGraphForm({ check })} testid="graph-check" />
        <NumberField label="Seed" value={form.seed} min={0} max={Number.MAX_SAFE_INTEGER} onChange={(seed) => seed !== null && setGraphForm({ seed })} testid="graph-seed" />
      </div>
      <p className="faint">A word is one token, most often with the space before it: “ Warsaw”.</p>
      <div className="row">
        <button type="submit" className="button primary" data-testid="graph-start" disabled={running || form.prompt.trim() === ""}><Icon name="right" size={14} /> Run</button>
      </div>
    </form>
  );
}
