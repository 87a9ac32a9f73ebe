import type { ReactNode } from "react";
import { RunBadge } from "./RunBadge";

interface Props { name: string; title: string; badge?: boolean; tools?: ReactNode; children: ReactNode; testid?: string }

/** A panel's frame: its title says which run it shows. */
export function Panel({ name, title, badge, tools, children, testid }: Props) {
  return (
    <section className={`panel panel-${name}`} aria-labelledby={`${name}-title`} data-testid={testid ?? `panel-${name}`}>
      <header className="panel-head">
        <h2 id={`${name}-title`}>{title}</h2>
        {badge && <RunBadge />}
        <div className="panel-tools">{tools}</div>
      </header>
      <div className="panel-body">{children}</div>
    </section>
  );
}
