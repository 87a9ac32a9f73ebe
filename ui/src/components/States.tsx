// Empty, loading and failed: every panel says which in words.
import type { ReactNode } from "react";
import { sentence } from "../api/http";
import { Stopped } from "../state/stopping";

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return <div className="empty"><p className="empty-title">{title}</p>{children && <div className="empty-text">{children}</div>}</div>;
}

export function Loading({ what, rows = 4 }: { what: string; rows?: number }) {
  return (
    <div className="loading" role="status" aria-label={what}>
      <span className="loading-text">{what}</span>
      <Bones rows={rows} />
    </div>
  );
}

export const Bones = ({ rows }: { rows: number }) => Array.from({ length: rows }, (_, i) => <span key={i} className="bone" style={{ width: `${92 - ((i * 23) % 40)}%` }} />);

export function Failure({ error, again, title = "This did not work", stopped = "Nothing is shown, since it was not finished." }: { error: unknown; again?: () => void; title?: string; stopped?: string }) {
  if (error instanceof Stopped) {
    return (
      <div className="failure is-stopped" role="status" data-testid="stopped">
        <p><strong>Stopped.</strong> {stopped}</p>
        {again && <button type="button" className="button small" data-testid="run-again" onClick={again}>Run it again</button>}
      </div>
    );
  }
  return (
    <div className="failure" role="alert">
      <p><strong>{title}.</strong> {typeof error === "string" ? error : sentence(error)}</p>
      {again && <button type="button" className="button small" data-testid="retry" onClick={again}>Try again</button>}
    </div>
  );
}
