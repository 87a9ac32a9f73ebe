import { useCurrent } from "../state/page";

/** Which run a panel shows. Only when there are two is there anything to say. */
export function RunBadge() {
  const { steered, name } = useCurrent();
  if (!steered) return null;
  return <span className={`run-badge ${name}`} data-testid="run-badge">{name} run</span>;
}
