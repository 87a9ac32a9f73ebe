import { IconButton } from "../components/IconButton";
import { otherModel } from "../logic/runfile";
import { useStatus } from "../state/queries";
import { closeReplay, replay } from "../state/sharing";
import { useStore } from "../state/store";

/** Whether a shared run says the same bytes here. */
export function ReplayBanner() {
  const { file, state, result, error } = useStore(replay, (s) => s);
  const { data: status } = useStatus();
  if (state === "none") return null;
  const other = file && status ? otherModel(file, status) : null;
  const kind = state === "failed" ? "bad" : state === "done" ? (result?.same ? "good" : "bad") : "wait";
  return (
    <div className={`banner ${kind}`} role="status" data-testid="run-banner">
      <div>
        {state === "loading" && <p>Opening the shared run…</p>}
        {state === "replaying" && <p>Replaying the shared run…</p>}
        {state === "failed" && <p role="alert"><strong>The run could not be shown.</strong> {error}</p>}
        {state === "done" && result && (
          <p data-testid="run-same" data-same={result.same}>
            {result.same
              ? <><strong>✓ Same bytes.</strong> Replayed here, {file?.edited ? "both answers are" : "the answer is"} the same as in the file.</>
              : <><strong>✗ Not the same.</strong> {result.why ?? "The answers differ."}</>}
          </p>
        )}
        {other && <p>{other}</p>}
      </div>
      <IconButton icon="close" label="Close this notice" className="quiet" onClick={() => { closeReplay(); if (location.hash.startsWith("#/run")) location.hash = "#/"; }} />
    </div>
  );
}
