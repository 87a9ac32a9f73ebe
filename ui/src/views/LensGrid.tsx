import { type KeyboardEvent, useMemo, useRef } from "react";
import type { LensReply } from "../api/types";
import { number, percent } from "../logic/format";
import { type LensColour, shade, shownRank } from "../logic/lensgrid";
import { spaced, visible } from "../logic/tokens";
import type { CellAt } from "./LensView";

interface Props { reply: LensReply; colour: LensColour; watched: boolean; chosen: CellAt | null; onChoose: (at: CellAt) => void; stale: boolean }

export function LensGrid({ reply, colour, watched, chosen, onChoose, stale }: Props) {
  const grid = useRef<HTMLTableElement>(null);
  const most = useMemo(() => Math.max(0, ...reply.rows.flatMap((row) => row.cells.map((cell) => cell.kl))), [reply]);
  // Deep layers on top: the answer rises through the page as it does through the model.
  const rows = useMemo(() => reply.rows.map((row, index) => ({ ...row, index })).reverse(), [reply]);
  const focusAt: CellAt = chosen ?? { row: rows[0]?.index ?? 0, column: reply.positions.length - 1 };
  const onKeyDown = (event: KeyboardEvent) => {
    const cell = (event.target as HTMLElement).closest<HTMLElement>("[data-row]");
    const step = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!cell || !step) return;
    const next = grid.current?.querySelector<HTMLElement>(`[data-row="${Number(cell.dataset.row) + step[0]!}"][data-column="${Number(cell.dataset.column) + step[1]!}"]`);
    if (!next) return;
    event.preventDefault();
    grid.current?.querySelectorAll<HTMLElement>('[data-row][tabindex="0"]').forEach((other) => { other.tabIndex = -1; });
    next.tabIndex = 0;
    next.focus();
  };
  return (
    <div className={`lens-scroll${stale ? " is-stale" : ""}`}>
      <table role="grid" className="lens-grid" aria-label="Layers by tokens" data-testid="lens-grid" ref={grid} onKeyDown={onKeyDown}>
        <thead>
          <tr>
            <th scope="col" className="corner">layer</th>
            {reply.positions.map((position, i) => {
              const token = reply.prompt[position] ?? reply.prompt[i];
              return <th key={position} scope="col"><span className="chip-token" title={`token ${position}`}>{spaced(token?.text ?? "")}</span></th>;
            })}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.site}>
              <th scope="row" title={row.site}>{row.site.replace("resid_post.", "").replace("resid_mid.", "mid ")}</th>
              {row.cells.map((cell, column) => {
                const top = cell.top[0], watch = cell.watched[0];
                const heat = shade(cell, colour, most);
                const is = chosen?.row === row.index && chosen.column === column;
                return (
                  <td key={column} role="gridcell" aria-selected={is}>
                    <button type="button" data-row={row.index} data-column={column} data-testid={`lens-${row.site}-${reply.positions[column]}`} style={{ "--heat": heat.toFixed(2) } as React.CSSProperties}
                      tabIndex={row.index === focusAt.row && column === focusAt.column ? 0 : -1}
                      className={`${is ? "is-chosen" : ""}${heat > 0.55 ? " is-hot" : ""}`} onClick={() => onChoose({ row: row.index, column })}
                      aria-label={`${row.site}, token ${reply.positions[column]}: ${visible(top?.text ?? "")} ${percent(top?.probability)}${watch ? `, chosen token rank ${watch.rank}` : ""}`}>
                      <span className="lens-token">{spaced(top?.text ?? "")}</span>
                      <span className="lens-number num">{colour === "rank" && watched && watch ? shownRank(watch.rank) : colour === "kl" ? number(cell.kl) : percent(top?.probability)}</span>
                    </button>
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
