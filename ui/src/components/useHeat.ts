import { useMemo } from "react";
import type { Heat } from "../logic/heat";
import { usePage } from "../state/page";
import { useActivations, useExplain } from "../state/queries";

/** What the tokens are shaded by: what is pointed at in another panel, else the chosen kind of heat. */
export function useHeat(): Heat | null {
  const mode = usePage((s) => s.heat), spotlight = usePage((s) => s.spotlight);
  const explained = useExplain().query.data, active = useActivations(mode === "activation").query.data;
  return useMemo(() => {
    if (spotlight) return spotlight;
    if (mode === "attribution" && explained) return { kind: "signed", values: explained.tokens, label: "Effect on the target" };
    if (mode === "activation" && active) return { kind: "amount", values: active.heat, label: "Activation, summed" };
    return null;
  }, [spotlight, mode, explained, active]);
}
