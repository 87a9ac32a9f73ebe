import { Popover } from "radix-ui";
import { useRef, useState } from "react";
import { saveRun } from "../api/calls";
import { sentence } from "../api/http";
import { IconButton } from "../components/IconButton";
import { download } from "../components/download";
import { runAddress } from "../logic/route";
import { makeRunFile, readRunFile, runFileName } from "../logic/runfile";
import { messagesOf } from "../state/answering";
import { finished, page, useCurrent, usePage } from "../state/page";
import { useStatus } from "../state/queries";
import { showRun } from "../state/sharing";

/** A run as a link and as a file. */
export function ShareMenu() {
  const { turn, plain, steered } = useCurrent();
  const shared = usePage((s) => s.shared);
  const { data: status } = useStatus();
  const [error, setError] = useState<string | null>(null);
  const [copied, setCopied] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const ready = turn !== null && finished(plain) && (steered === null || finished(steered)) && status !== undefined;
  const file = () => makeRunFile({
    status: status!, messages: messagesOf(turn!.id), prompt: plain!.prompt, sampling: plain!.sampling,
    specs: steered?.specs ?? [], edits: steered?.edits ?? [], plain: plain!, steered,
  });
  const link = shared ? `${location.origin}${location.pathname}${runAddress(shared.id)}` : null;
  const make = async () => {
    setError(null);
    setCopied(false);
    try {
      const { id } = await saveRun(file());
      page.set({ shared: { id, of: turn!.id } });
    } catch (failure) {
      setError(sentence(failure));
    }
  };
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(link!);
      setCopied(true);
    } catch {
      input.current?.select();
    }
  };
  const open = async (chosen: File | undefined) => {
    if (!chosen) return;
    const run = readRunFile(await chosen.text());
    if (typeof run === "string") setError(run);
    else void showRun(run);
  };
  return (
    <Popover.Root onOpenChange={() => setError(null)}>
      <Popover.Trigger asChild><IconButton icon="share" label="Share this run" data-testid="share" /></Popover.Trigger>
      <Popover.Portal>
        <Popover.Content className="popover" sideOffset={6} align="end" collisionPadding={8} aria-label="Share this run">
          <h3>Share this run</h3>
          <p className="faint">The prompt's tokens, the model's hash, the settings, the edits and the answers: enough to say the same bytes again.</p>
          {!ready && <p>Ask something first; a run can be shared when its answers are finished.</p>}
          <div className="stack">
            <button type="button" className="button primary" data-testid="share-make" disabled={!ready} onClick={() => void make()}>Make a link</button>
            {link && (
              <div className="row">
                <input ref={input} readOnly aria-label="Link to this run" data-testid="share-link" value={link} onFocus={(event) => event.target.select()} />
                <button type="button" className="button small" onClick={() => void copy()}>{copied ? "Copied" : "Copy"}</button>
              </div>
            )}
            <div className="row">
              <button type="button" className="button small" data-testid="share-download" disabled={!ready} onClick={() => { const run = file(); download(runFileName(run), run); }}>Save as a file</button>
              <label className="button small file-button">Open a file<input type="file" accept="application/json,.json" data-testid="share-upload" onChange={(event) => void open(event.target.files?.[0])} /></label>
            </div>
          </div>
          {error && <p className="error-text" role="alert">{error}</p>}
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}
