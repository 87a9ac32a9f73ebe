import { useState } from "react";
import { download } from "../components/download";
import { Icon } from "../components/Icon";
import { IconButton } from "../components/IconButton";
import { Panel } from "../components/Panel";
import { Empty, Failure } from "../components/States";
import { readSteeringFile } from "../logic/specs";
import { activeSpecs, runSteered } from "../state/answering";
import { page, useCurrent, usePage } from "../state/page";
import { useSteer } from "../state/queries";
import { addSpec } from "../state/steering";
import { SpecEditor } from "./SpecEditor";
import { SpecRow } from "./SpecRow";

export function SteeringPanel() {
  const specs = usePage((s) => s.specs), runAtOnce = usePage((s) => s.runAtOnce), failed = usePage((s) => s.steeringError);
  const { turn, plain, steered } = useCurrent();
  const [editing, setEditing] = useState<string | "new" | null>(null);
  const [error, setError] = useState<string | null>(null);
  const on = specs.filter((listed) => listed.on).map((listed) => listed.spec);
  const found = useSteer(on);
  const edits = found.data?.specs.reduce((n, spec) => n + spec.edits.length, 0) ?? 0;
  const read = async (file: File | undefined) => {
    if (!file) return;
    const result = readSteeringFile(await file.text(), file.name);
    if (typeof result === "string") setError(result);
    else { setError(null); result.forEach(addSpec); }
  };
  const save = () => download("pellucid-edits.json", found.data?.specs.flatMap((spec) => spec.edits) ?? []);
  return (
    <Panel name="steering" title="Steering" tools={
      <>
        <IconButton icon="plus" label="Add a change" data-testid="steer-add" onClick={() => setEditing("new")} />
        <label className="icon-button file-button" title="Open edits or specs (JSON)"><Icon name="upload" /><input type="file" aria-label="Open edits or specs" data-testid="steer-upload" accept="application/json,.json" onChange={(event) => { void read(event.target.files?.[0]); event.target.value = ""; }} /></label>
        <IconButton icon="download" label="Save the edits that are on (JSON)" data-testid="steer-download" disabled={on.length === 0 || !found.data} onClick={save} />
        <IconButton icon="file" label="Save the specs (JSON)" disabled={specs.length === 0} onClick={() => download("pellucid-steering.json", { specs: specs.map((listed) => listed.spec) })} />
      </>
    }>
      <div className="steer-scroll" data-testid="steer-list">
        {error && <Failure title="The file was not read" error={error} />}
        {failed && <Failure title="The steering could not be made" error={failed} />}
        {specs.length === 0 && editing === null && (
          <Empty title="Nothing is changed">
            <p>Turn a cluster or a unit off, down or up; or name a concept in plain words.</p>
            <button type="button" className="button" data-testid="steer-concept" onClick={() => setEditing("new")}>Steer by a concept…</button>
          </Empty>
        )}
        {specs.map((listed, i) => editing === listed.id
          ? <SpecEditor key={listed.id} listed={listed} onClose={() => setEditing(null)} />
          : <SpecRow key={listed.id} listed={listed} index={i} onEdit={() => setEditing(listed.id)} />)}
        {editing === "new" && <SpecEditor listed={null} onClose={() => setEditing(null)} />}
      </div>
      {specs.length > 0 && (
        <footer className="steer-foot">
          <label className="check-label"><input type="checkbox" checked={runAtOnce} onChange={(event) => page.set({ runAtOnce: event.target.checked })} /> run at once when changed</label>
          <span className="faint num">{on.length > 0 && found.data ? `${edits} ${edits === 1 ? "edit" : "edits"}` : ""}</span>
          {turn && plain && on.length > 0 && (
            <button type="button" className="button small" data-testid="steer-run" disabled={steered?.state === "waiting" || steered?.state === "streaming"}
              onClick={() => { if (activeSpecs().length > 0) void runSteered(turn.id); }}>Run steered</button>
          )}
        </footer>
      )}
    </Panel>
  );
}
