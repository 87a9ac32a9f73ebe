import { type ReactNode, useEffect, useId, useState } from "react";

/** A labelled number that may be empty; what is typed is kept as typed until it is a number within bounds. */
export function NumberField({ label, value, onChange, min, max, step = 1, empty, testid }: {
  label: ReactNode; value: number | null; onChange: (value: number | null) => void; min?: number; max?: number; step?: number; empty?: string; testid?: string;
}) {
  const id = useId();
  const [text, setText] = useState(value === null ? "" : String(value));
  useEffect(() => setText((now) => (now !== "" && Number(now) === value ? now : value === null ? "" : String(value))), [value]);
  const read = (raw: string) => {
    setText(raw);
    if (raw.trim() === "") { if (empty !== undefined) onChange(null); return; }
    const number = Number(raw);
    if (Number.isFinite(number) && (min === undefined || number >= min) && (max === undefined || number <= max)) onChange(number);
  };
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input id={id} type="number" data-testid={testid} value={text} min={min} max={max} step={step} placeholder={empty} onChange={(event) => read(event.target.value)} />
    </div>
  );
}
