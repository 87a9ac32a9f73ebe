import { Tabs } from "radix-ui";
import { useDeferredValue, useMemo, useState } from "react";
import { Panel } from "../components/Panel";
import { Empty, Failure } from "../components/States";
import { Working } from "../components/Working";
import { count } from "../logic/format";
import { activeRows, changedRows, effectRows, type Filter, filterRows, noFilter, type Row, type Sort, sortRows } from "../logic/table";
import { finished, page, type UnitsTab, useCurrent, usePage } from "../state/page";
import { lengthOf, useActivations, useCompare, useExplain, useStatus } from "../state/queries";
import type { Sum } from "../api/types";
import { RowSums } from "./RowSums";
import { UnitsFilter } from "./UnitsFilter";
import { UnitsTable } from "./UnitsTable";

const DOING: Record<UnitsTab, string> = { attribution: "Attributing…", activation: "Reading activations…", changed: "Comparing the runs…" };
const ORDER: Sort = { by: "value", down: true };

export function UnitsPanel() {
  const now = useCurrent();
  const tab = usePage((s) => s.unitsTab), target = usePage((s) => s.target), by = usePage((s) => s.by), dictionary = usePage((s) => s.dictionary), range = usePage((s) => s.range);
  const [filter, setFilter] = useState<Filter>(noFilter);
  const [sort, setSort] = useState<Sort>(ORDER);
  const late = useDeferredValue(filter);
  const explained = useExplain(), active = useActivations(tab === "activation"), compared = useCompare(now, tab === "changed");
  const { data: status } = useStatus();
  const { query, name } = { attribution: explained, activation: active, changed: compared }[tab];
  const effects = explained.query.data, activity = active.query.data, changes = compared.query.data;
  const rows = useMemo((): Row[] => {
    if (tab === "attribution") return effects ? effectRows(effects.units) : [];
    if (tab === "activation") return activity ? activeRows(activity.units) : [];
    return changes ? changedRows(changes.units) : [];
  }, [tab, effects, activity, changes]);
  const shown = useMemo(() => sortRows(filterRows(rows, late), sort), [rows, late, sort]);
  const relative = tab === "activation" && rows.some((row) => row.relative !== null);

  const empty = !finished(now.run) ? <Empty title="Nothing asked yet">The units of a run appear here when it has answered.</Empty>
    : tab === "attribution" && !target ? <Empty title="No token chosen">Attribution needs a target: click a token. Activation needs none.</Empty>
      : tab === "changed" && !now.steered ? <Empty title="Only one run">When a steered answer stands beside the plain one, the units that differ between them are listed here.</Empty>
        : tab === "changed" && !finished(now.steered) ? <Empty title="The steered answer is not finished" /> : null;

  return (
    <Panel name="units" title="Units" badge={tab !== "changed"} tools={tab === "attribution" && (
      <label className="inline-field"><span className="visually-hidden">Attribution by</span>
        <select data-testid="by" value={by === "latent" ? `latent ${dictionary ?? ""}` : by} onChange={(event) => {
          const [sum = "unit", name] = event.target.value.split(" ");
          page.set({ by: sum as Sum, dictionary: name ?? null });
        }}>
          <option value="unit">by unit</option><option value="head">by head</option><option value="layer">by layer</option>
          {status?.dictionaries.map((one) => <option key={one.name} value={`latent ${one.name}`}>by latent of {one.name}</option>)}
        </select>
      </label>
    )}>
      <Tabs.Root value={tab} onValueChange={(value) => { setSort(ORDER); page.set({ unitsTab: value as UnitsTab }); }} className="fill">
        <Tabs.List className="tabs" aria-label="What the units are listed by">
          <Tabs.Trigger value="attribution" data-testid="tab-attribution">Attribution</Tabs.Trigger>
          <Tabs.Trigger value="activation" data-testid="tab-activation">Activation</Tabs.Trigger>
          <Tabs.Trigger value="changed" data-testid="tab-changed">Changed</Tabs.Trigger>
        </Tabs.List>
        <Tabs.Content value={tab} className="fill" tabIndex={-1}>
          {empty ?? (query.isError ? <Failure error={query.error} again={() => void query.refetch()} />
            : !query.data ? <Working what={DOING[tab]} tokens={tab === "attribution" ? target?.at ?? 0 : lengthOf(tab === "changed" ? now.steered : now.run)} asked={name} rows={10} />
              : (
                <>
                  <UnitsFilter filter={filter} onChange={setFilter} layers={status?.model.layers ?? 1} signed={tab !== "activation"} latents={tab === "attribution" && by === "latent"} />
                  <p className="table-note" aria-live="polite">
                    {count(shown.length, tab !== "attribution" ? "unit" : by === "layer" ? "part" : by === "latent" ? "latent" : "unit")}
                    {tab === "activation" && activity && activity.found > rows.length ? ` of ${activity.found.toLocaleString("en-GB")} active` : shown.length < rows.length ? ` of ${rows.length}` : ""}
                    {tab === "activation" && (relative ? ", by each one's own typical strength" : ", raw activation: there is no atlas to scale by")}
                    {tab === "changed" && ", largest change first"}
                    {range && tab !== "changed" && `, tokens ${range[0]} to ${range[1] - 1}`}
                  </p>
                  {tab === "attribution" && effects?.row && <RowSums row={effects.row} />}
                  {shown.length === 0 ? <Empty title={rows.length === 0 ? "No units" : "No unit fits the filter"}>{rows.length > 0 && <button type="button" className="link" onClick={() => setFilter(noFilter)}>Clear the filter</button>}</Empty>
                    : <UnitsTable rows={shown} kind={tab} relative={relative} sort={sort} onSort={setSort} />}
                </>
              ))}
        </Tabs.Content>
      </Tabs.Root>
    </Panel>
  );
}
