import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, useEffect, useMemo, useRef } from "react";
import { Icon } from "../components/Icon";
import type { Row, Sort } from "../logic/table";
import { shine } from "../state/choosing";
import { page, type UnitsTab } from "../state/page";
import { UnitsRow } from "./UnitsRow";

interface Props { rows: Row[]; kind: UnitsTab; relative: boolean; sort: Sort; onSort: (sort: Sort) => void }

const NAMES: Record<UnitsTab, string> = { attribution: "effect", activation: "active", changed: "change" };

/** Only the rows in sight are drawn: there may be thousands. */
export function UnitsTable({ rows, kind, relative, sort, onSort }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const most = useMemo(() => rows.reduce((max, row) => Math.max(max, Math.abs(row.value)), 0), [rows]);
  const list = useVirtualizer({ count: rows.length, getScrollElement: () => scroller.current, estimateSize: () => 66, overscan: 8, getItemKey: (i) => rows[i]!.key });
  useEffect(() => { scroller.current?.scrollTo({ top: 0 }); }, [sort, kind]);
  useEffect(() => () => shine(null), []);

  const head = (by: Sort["by"], label: string, className: string) => (
    <span role="columnheader" className={className} aria-sort={sort.by === by ? (sort.down ? "descending" : "ascending") : "none"}>
      <button type="button" onClick={() => onSort({ by, down: sort.by === by ? !sort.down : by === "value" })}>
        {label}{sort.by === by && <Icon name={sort.down ? "down" : "up"} size={10} />}
      </button>
    </span>
  );
  const onKeyDown = (event: KeyboardEvent) => {
    const row = (event.target as HTMLElement).closest<HTMLElement>("[data-index]");
    if (!row || row !== event.target) return;
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(rows.length - 1, Number(row.dataset.index) + step));
    list.scrollToIndex(next);
    requestAnimationFrame(() => scroller.current?.querySelector<HTMLElement>(`[data-index="${next}"]`)?.focus());
  };
  return (
    <div role="table" aria-label="Units" aria-rowcount={rows.length + 1} className="units-table" data-testid="units-table">
      <div role="rowgroup">
        <div role="row" className="units-row units-headrow" aria-rowindex={1}>
          {head("unit", "unit", "c-unit")}
          {head("value", NAMES[kind], "c-value")}
          <span role="columnheader" className="c-spark">tokens</span>
          {head("words", "description", "c-words")}
          <span role="columnheader" className="c-turns"><span className="visually-hidden">Steer</span></span>
        </div>
      </div>
      <div className="units-scroll" ref={scroller} role="rowgroup" onKeyDown={onKeyDown} onMouseLeave={() => shine(null)}>
        <div role="presentation" style={{ height: list.getTotalSize(), position: "relative" }}>
          {list.getVirtualItems().map((item) => {
            const row = rows[item.index]!;
            return (
              <div key={item.key} role="row" data-index={item.index} ref={list.measureElement} aria-rowindex={item.index + 2} tabIndex={0}
                className={`units-row${row.unit ? " can-open" : ""}`} data-testid={`unit-row-${item.index}`} data-unit={row.unit ?? row.site}
                style={{ transform: `translateY(${item.start}px)` }}
                onMouseEnter={() => light(row, kind)} onFocus={() => light(row, kind)}
                onClick={() => row.unit && page.set({ drawer: row.unit })}
                onKeyDown={(event) => { if (event.key === "Enter" && event.target === event.currentTarget && row.unit) page.set({ drawer: row.unit }); }}>
                <UnitsRow row={row} kind={kind} most={most} relative={relative} />
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}

function light(row: Row, kind: UnitsTab): void {
  shine({ kind: kind === "activation" ? "amount" : "signed", values: row.byPosition, label: `${row.unit ?? row.site}` });
}
