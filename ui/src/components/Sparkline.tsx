import { memo } from "react";
import { sparkline, thin } from "../logic/heat";

export const Sparkline = memo(function Sparkline({ values, before, width = 84, height = 22 }: { values: number[]; before?: number[]; width?: number; height?: number }) {
  if (values.length === 0) return null;
  const all = thin(values, width);
  const { line, zero } = sparkline(all, width, height);
  const earlier = before && before.length > 0 ? sparkline(thin(before, width), width, height).line : null;
  return (
    <svg className="sparkline" width={width} height={height} viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
      <line x1="0" x2={width} y1={zero} y2={zero} className="zero" />
      {earlier && <path d={earlier} className="before" />}
      <path d={line} className="now" />
    </svg>
  );
});
