import { useEffect, useRef } from "react";
import { IconButton } from "../components/IconButton";
import { send, stopAll } from "../state/answering";
import { page, useCurrent, usePage } from "../state/page";
import { useStatus } from "../state/queries";

export function Composer() {
  const draft = usePage((s) => s.draft), mode = usePage((s) => s.mode);
  const on = usePage((s) => s.specs.filter((listed) => listed.on).length);
  const { plain, steered, name } = useCurrent();
  const { data: status } = useStatus();
  const box = useRef<HTMLTextAreaElement>(null);
  const busy = [plain, steered].some((run) => run?.state === "waiting" || run?.state === "streaming");
  useEffect(() => {
    const area = box.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight + 2, 220)}px`;
  }, [draft, mode]);
  const go = () => { if (draft.trim() !== "") void send(mode === "text" ? draft : draft.trim()); };
  const state = plain?.state === "failed" ? "The answer failed." : busy ? "The model is answering." : plain ? "The answer is finished." : "";
  return (
    <form className="composer" onSubmit={(event) => { event.preventDefault(); go(); }}>
      <textarea ref={box} data-testid="chat-input" rows={mode === "text" ? 3 : 1} value={draft}
        aria-label={mode === "chat" ? "Your message" : "Text to continue"}
        placeholder={mode === "chat" ? "Ask the model…" : "Text to continue…"}
        onChange={(event) => page.set({ draft: event.target.value })}
        onKeyDown={(event) => {
          const sends = mode === "chat" ? !event.shiftKey : event.ctrlKey || event.metaKey;
          if (event.key === "Enter" && sends && !event.nativeEvent.isComposing) { event.preventDefault(); go(); }
          if (event.key === "Escape") (event.target as HTMLElement).blur();
        }} />
      {busy
        ? <IconButton icon="stop" label="Stop" className="send" data-testid="stop" onClick={stopAll} />
        : <IconButton icon="send" label={mode === "chat" ? "Send (Enter)" : "Continue the text (Ctrl+Enter)"} className="send" data-testid="send" type="submit" disabled={draft.trim() === ""} />}
      <p className="composer-note">
        {on > 0 ? `${on} steering ${on === 1 ? "change is" : "changes are"} on: both a plain and a steered answer will be made.` : ""}
        {steered && mode === "chat" ? ` The conversation goes on from the ${name} answer.` : ""}
        {on === 0 && !steered && (mode === "text" ? "Ctrl+Enter continues the text" : status && !status.model.chat ? "This model has no chat template" : "")}
      </p>
      <p className="visually-hidden" role="status" aria-live="polite" data-testid="live">{state}</p>
    </form>
  );
}
