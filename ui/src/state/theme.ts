import { createStore } from "./store";

export type Theme = "system" | "light" | "dark";
const KEY = "pellucid.theme";

function stored(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "system";
  } catch {
    return "system";
  }
}

export const theme = createStore<{ theme: Theme }>({ theme: stored() });

function apply(value: Theme): void {
  if (value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
}

export function setTheme(value: Theme): void {
  try {
    localStorage.setItem(KEY, value);
  } catch {
    // Then it holds for this visit only.
  }
  theme.set({ theme: value });
  apply(value);
}

apply(theme.get().theme);
