// The map's colours, which a canvas cannot take from the style sheet by itself; they follow the theme.
import { useSyncExternalStore } from "react";
import { ramp } from "../../logic/latents";
import { theme } from "../../state/theme";

type Stops = [number, number, number][];
const LIGHT: Stops = [[196, 203, 226], [94, 156, 222], [84, 82, 196], [112, 12, 98]];
const DARK: Stops = [[62, 66, 100], [86, 104, 196], [150, 140, 250], [255, 224, 150]];
const [light, dark] = [ramp(LIGHT), ramp(DARK)];

const query = typeof matchMedia === "undefined" ? null : matchMedia("(prefers-color-scheme: dark)");
const subscribe = (listener: () => void) => {
  query?.addEventListener("change", listener);
  const leave = theme.subscribe(listener);
  return () => { query?.removeEventListener("change", listener); leave(); };
};
const isDark = () => (theme.get().theme === "system" ? query?.matches ?? false : theme.get().theme === "dark");

export const useDark = (): boolean => useSyncExternalStore(subscribe, isDark);
export const useRamp = (): string[] => (useDark() ? dark : light);
