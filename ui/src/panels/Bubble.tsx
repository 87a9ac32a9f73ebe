import { type ReactNode, useState } from "react";
import type { Role } from "../api/types";
import { IconButton } from "../components/IconButton";
import { roleName } from "../logic/tokens";
import { resend } from "../state/answering";
import { page, type Turn } from "../state/page";
import { BranchSwitch } from "./BranchSwitch";

/** A turn in the past: its tokens, and the way to say it differently. */
export function Bubble({ turn, role, children }: { turn: Turn | null; role: Role | null; children: ReactNode }) {
  const [draft, setDraft] = useState<string | null>(null);
  const editable = turn !== null && turn.message.role === "user";
  const save = () => {
    const text = draft?.trim();
    setDraft(null);
    if (turn && text) { page.set({ draft: "" }); void resend(turn.id, text); }
  };
  return (
    <article className={`bubble ${role ?? "template"}`} aria-label={`${roleName(role)}'s turn`.replace("You's", "Your")}>
      <header>
        <span className="bubble-role">{roleName(role)}</span>
        {turn && <BranchSwitch turn={turn} />}
        {editable && draft === null && (
          <IconButton icon="edit" label="Edit and send again" className="quiet" data-testid={`edit-${turn.id}`} onClick={() => setDraft(turn.message.content)} />
        )}
      </header>
      {draft === null ? children : (
        <form className="edit-turn" onSubmit={(event) => { event.preventDefault(); save(); }} onKeyDown={(event) => event.stopPropagation()}>
          <textarea aria-label="Edit this turn" data-testid="edit-input" value={draft} rows={3} autoFocus onChange={(event) => setDraft(event.target.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); save(); }
              if (event.key === "Escape") setDraft(null);
            }} />
          <div className="row end">
            <button type="button" className="button small quiet" onClick={() => setDraft(null)}>Cancel</button>
            <button type="submit" className="button small primary" data-testid="edit-send">Send again</button>
          </div>
        </form>
      )}
    </article>
  );
}
