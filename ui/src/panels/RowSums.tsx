import type { RowEffect } from "../api/types";
import { signed } from "../logic/format";

/** What a dictionary's site does in all, and how much of it the dictionary does not explain. */
export function RowSums({ row }: { row: RowEffect }) {
  return (
    <p className="table-note" data-testid="row-sums">
      {row.site} in all <b className="num">{signed(row.whole)}</b>: latents <b className="num">{signed(row.latents)}</b>, not explained <b className="num">{signed(row.error)}</b>, constant <b className="num">{signed(row.constant)}</b>
    </p>
  );
}
