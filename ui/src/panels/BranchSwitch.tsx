import { siblings } from "../logic/tree";
import { goToBranch } from "../state/answering";
import { type Turn, usePage } from "../state/page";
import { IconButton } from "../components/IconButton";

/** ‹ 1/2 › between the ways this turn has been said. */
export function BranchSwitch({ turn }: { turn: Turn }) {
  const tree = usePage((s) => s.tree);
  const { index, ids } = siblings(tree, turn.id);
  if (ids.length < 2) return null;
  return (
    <span className="branches" role="group" aria-label="Other versions of this turn">
      <IconButton icon="left" label="Earlier version" className="quiet" data-testid="branch-back" disabled={index <= 0} onClick={() => goToBranch(ids[index - 1]!)} />
      <span className="num" data-testid="branch-count">{index + 1}/{ids.length}</span>
      <IconButton icon="right" label="Later version" className="quiet" data-testid="branch-on" disabled={index >= ids.length - 1} onClick={() => goToBranch(ids[index + 1]!)} />
    </span>
  );
}
