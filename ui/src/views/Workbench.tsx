import { Tabs } from "radix-ui";
import { type Pane, Split } from "../components/Split";
import { ChatPanel } from "../panels/ChatPanel";
import { GuidePanel } from "../panels/GuidePanel";
import { MattersPanel } from "../panels/MattersPanel";
import { ReplayBanner } from "../panels/ReplayBanner";
import { SteeringPanel } from "../panels/SteeringPanel";
import { UnitsPanel } from "../panels/UnitsPanel";
import { page, type PanelName, usePage } from "../state/page";
import type { Layout } from "./useLayout";

const PANELS: { name: PanelName; title: string; show: () => React.ReactNode }[] = [
  { name: "chat", title: "Chat", show: () => <ChatPanel /> }, { name: "matters", title: "Matters", show: () => <MattersPanel /> },
  { name: "units", title: "Units", show: () => <UnitsPanel /> }, { name: "steering", title: "Steering", show: () => <SteeringPanel /> },
  { name: "guide", title: "Guide", show: () => <GuidePanel /> },
];

const CHAT: Pane = { title: "chat", least: 320, initial: "minmax(0, 1.2fr)", content: <ChatPanel /> };
const UNITS: Pane = { title: "units", least: 320, initial: "minmax(0, 1.05fr)", content: <UnitsPanel /> };
const GUIDE: Pane = { title: "guide", least: 200, initial: "280px", content: <GuidePanel /> };
const CAUSES: Pane = {
  title: "what matters and steering", least: 280, initial: "minmax(0, .95fr)",
  content: (
    <Split name="causes" across={false} panes={[
      { title: "what matters", least: 120, initial: "minmax(0, 1.7fr)", content: <MattersPanel /> },
      { title: "steering", least: 110, initial: "minmax(190px, 1fr)", content: <SteeringPanel /> },
    ]} />
  ),
};
const GUIDED_UNITS: Pane = {
  ...UNITS, title: "guide and units",
  content: (
    <Split name="guided" across={false} panes={[
      { ...GUIDE, least: 90, initial: "minmax(170px, .75fr)" }, { ...UNITS, least: 200, initial: "minmax(0, 1.25fr)" },
    ]} />
  ),
};
const WIDE = [{ ...CHAT, least: 400, initial: "minmax(430px, 1.3fr)" }, { ...CAUSES, initial: "minmax(330px, .85fr)" }, { ...UNITS, least: 360, initial: "minmax(430px, 1.1fr)" }];

export function Workbench({ layout }: { layout: Layout }) {
  const guideOpen = usePage((s) => s.guideOpen);
  return (
    <main className={`workbench ${layout}`} data-layout={layout}>
      <h1 className="visually-hidden">Pellucid workbench</h1>
      <ReplayBanner />
      {layout === "phone" ? <Tabbed panels={PANELS} />
        : layout === "two" ? <><ChatPanel /><Tabbed panels={PANELS.slice(1)} /></>
          : layout === "three" ? <Split name="three" across panes={[CHAT, CAUSES, guideOpen ? GUIDED_UNITS : UNITS]} />
            : guideOpen ? <Split key="guided" name="wide-guide" across panes={[...WIDE, GUIDE]} /> : <Split key="wide" name="wide" across panes={WIDE} />}
    </main>
  );
}

/** Where there is no room side by side, panels become tabs. */
function Tabbed({ panels }: { panels: typeof PANELS }) {
  const chosen = usePage((s) => s.panel);
  const value = panels.some((panel) => panel.name === chosen) ? chosen : panels[0]!.name;
  return (
    <Tabs.Root className="tabbed" value={value} onValueChange={(next) => page.set({ panel: next as PanelName })}>
      {panels.map((panel) => <Tabs.Content key={panel.name} value={panel.name} className="tabbed-content" tabIndex={-1}>{panel.show()}</Tabs.Content>)}
      <Tabs.List className="tabbar" aria-label="Panels">
        {panels.map((panel) => <Tabs.Trigger key={panel.name} value={panel.name} data-testid={`panel-tab-${panel.name}`}>{panel.title}</Tabs.Trigger>)}
      </Tabs.List>
    </Tabs.Root>
  );
}
