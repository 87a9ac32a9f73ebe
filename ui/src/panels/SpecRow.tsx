import { Switch } from "radix-ui";
import { useState } from "react";
import { Icon } from "../components/Icon";
import { IconButton } from "../components/IconButton";
import { Failure } from "../components/States";
import { describeChange, describePositions, describeWhat } from "../logic/specs";
import type { Listed } from "../state/page";
import { useSteer } from "../state/queries";
import { removeSpec, switchSpec } from "../state/steering";
import { FoundUnits } from "./FoundUnits";

export function SpecRow({ listed, index, onEdit }: { listed: Listed; index: number; onEdit: () => void }) {
  const { id, on, spec } = listed;
  const [open, setOpen] = useState(false);
  const found = useSteer(open ? [spec] : []);
  return (
    <article className={`spec${on ? "" : " is-off"}`} data-testid={`spec-${index}`} aria-label={spec.name}>
      <header>
        <Switch.Root className="switch" checked={on} onCheckedChange={(next) => switchSpec(id, next)} aria-label={`${spec.name}: on`} data-testid={`spec-switch-${index}`}><Switch.Thumb className="thumb" /></Switch.Root>
        <span className="spec-name" title={spec.name}>{spec.name}</span>
        <IconButton icon="edit" label={`Edit ${spec.name}`} className="quiet tiny" data-testid={`spec-edit-${index}`} onClick={onEdit} />
        <IconButton icon="trash" label={`Remove ${spec.name}`} className="quiet tiny" data-testid={`spec-remove-${index}`} onClick={() => removeSpec(id)} />
      </header>
      <button type="button" className="disclosure" aria-expanded={open} onClick={() => setOpen(!open)}>
        <Icon name={open ? "down" : "right"} size={12} />
        <span>{describeWhat(spec)}, {describeChange(spec)}, {describePositions(spec.positions)}</span>
      </button>
      {open && (found.isError ? <Failure error={found.error} /> : <FoundUnits found={found.data?.specs[0]?.units} edits={found.data?.specs[0]?.edits.length} />)}
    </article>
  );
}
