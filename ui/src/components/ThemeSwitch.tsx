import { useStore } from "../state/store";
import { setTheme, theme, type Theme } from "../state/theme";
import { IconButton } from "./IconButton";

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };

export function ThemeSwitch() {
  const now = useStore(theme, (s) => s.theme);
  return <IconButton icon={now === "system" ? "auto" : now === "light" ? "sun" : "moon"} label={`Theme: ${now}. Change to ${NEXT[now]}`} data-testid="theme" onClick={() => setTheme(NEXT[now])} />;
}
