// Loaded when first needed: the plotting library is the heaviest part of the page.
import * as Plot from "@observablehq/plot";
import { useEffect, useRef } from "react";
import { number } from "../logic/format";

interface Bin { low: number; high: number; count: number }

export default function Histogram({ bins, scale }: { bins: Bin[]; scale: number }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = box.current;
    const data = bins.filter((bin) => bin.count > 0 && bin.low > 0);
    if (!element || data.length === 0) return;
    const draw = () => {
      const plot = Plot.plot({
        width: Math.max(220, element.clientWidth), height: 160, marginLeft: 44, marginBottom: 36, marginTop: 16, marginRight: 26,
        style: { background: "transparent", color: "var(--ink-2)", fontSize: "11px", fontFamily: "inherit" },
        x: { type: "log", label: "|activation|", ticks: 4, tickFormat: (x: number) => number(x) },
        y: { type: "log", label: null, ticks: 3, tickFormat: (y: number) => number(y), grid: true, domain: [0.8, Math.max(...data.map((bin) => bin.count)) * 1.3] },
        marks: [
          Plot.rect(data, { x1: "low", x2: "high", y1: 0.8, y2: "count", fill: "var(--accent)", fillOpacity: 0.75, insetRight: 0.5, title: (bin: Bin) => `${number(bin.low)} to ${number(bin.high)}: ${bin.count.toLocaleString("en-GB")} tokens` }),
          ...(scale > 0 ? [Plot.ruleX([scale], { stroke: "var(--ink)", strokeDasharray: "3 2" }), Plot.text([scale], { x: (d: number) => d, text: () => "typical", frameAnchor: "top", dy: -10, fill: "var(--ink)" })] : []),
        ],
      });
      // The drawing is one image with one name; the library names its groups, which have no role to carry a name.
      for (const group of plot.querySelectorAll("g[aria-label]")) group.removeAttribute("aria-label");
      plot.setAttribute("role", "img");
      plot.setAttribute("aria-label", "Histogram of the activation's size over the corpus, both axes logarithmic");
      element.replaceChildren(plot);
    };
    draw();
    const observer = new ResizeObserver(draw);
    observer.observe(element);
    return () => observer.disconnect();
  }, [bins, scale]);
  if (bins.every((bin) => bin.count === 0 || bin.low <= 0)) return <p className="faint">No activations on this side.</p>;
  return <div ref={box} className="plot" data-testid="histogram" />;
}
