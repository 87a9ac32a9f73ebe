import type { Filter } from "../logic/table";

interface Props { filter: Filter; onChange: (filter: Filter) => void; layers: number; signed: boolean; latents: boolean }

export function UnitsFilter({ filter, onChange, layers, signed, latents }: Props) {
  const [low, high] = filter.layers ?? [0, layers - 1];
  const setLayers = (from: number, to: number) =>
    onChange({ ...filter, layers: from <= 0 && to >= layers - 1 ? null : [Math.min(from, to), Math.max(from, to)] });
  const options = Array.from({ length: layers }, (_, i) => <option key={i} value={i}>{i}</option>);
  return (
    <div className="filter" role="search" aria-label="Filter units">
      <input type="search" data-testid="units-filter" data-hotkey="filter" aria-label="Filter by words or name" placeholder="Filter  /" value={filter.text}
        onChange={(event) => onChange({ ...filter, text: event.target.value })}
        onKeyDown={(event) => { if (event.key === "Escape") { event.stopPropagation(); onChange({ ...filter, text: "" }); } }} />
      {!latents && <><span className="layer-range">
        <span className="faint">layers</span>
        <select aria-label="From layer" value={low} onChange={(event) => setLayers(Number(event.target.value), high)}>{options}</select>
        <span className="faint">–</span>
        <select aria-label="To layer" value={high} onChange={(event) => setLayers(low, Number(event.target.value))}>{options}</select>
      </span>
      <select aria-label="Polarity" data-testid="filter-polarity" value={filter.polarity ?? ""} onChange={(event) => onChange({ ...filter, polarity: (event.target.value || null) as Filter["polarity"] })}>
        <option value="">± polarity</option><option value="+">+ side</option><option value="-">− side</option>
      </select></>}
      {signed && (
        <select aria-label="Sign" data-testid="filter-sign" value={filter.sign ?? ""} onChange={(event) => onChange({ ...filter, sign: (event.target.value || null) as Filter["sign"] })}>
          <option value="">± sign</option><option value="+">positive</option><option value="-">negative</option>
        </select>
      )}
    </div>
  );
}
