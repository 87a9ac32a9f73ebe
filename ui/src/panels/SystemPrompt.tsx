import { useState } from "react";
import { Icon } from "../components/Icon";
import { page, usePage } from "../state/page";

export function SystemPrompt() {
  const system = usePage((s) => s.system);
  const [open, setOpen] = useState(false);
  return (
    <div className="system-prompt">
      <button type="button" className="disclosure" aria-expanded={open} aria-controls="system-text" data-testid="system-toggle" onClick={() => setOpen(!open)}>
        <Icon name={open ? "down" : "right"} size={12} /> System prompt
        {!open && <span className="faint ellipsis">{system || "the model's own"}</span>}
      </button>
      {open && (
        <textarea id="system-text" data-testid="system-input" aria-label="System prompt" rows={3} value={system}
          placeholder="Empty: the chat template decides" onChange={(event) => page.set({ system: event.target.value })} />
      )}
    </div>
  );
}
