import { Tabs } from "radix-ui";
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

export function Workbench({ layout }: { layout: Layout }) {
  const guideOpen = usePage((s) => s.guideOpen);
  return (
    <main className={`workbench ${layout}${guideOpen && layout !== "phone" && layout !== "two" ? " with-guide" : ""}`} data-layout={layout}>
      <h1 className="visually-hidden">Pellucid workbench</h1>
      <ReplayBanner />
      {layout === "phone" ? <Tabbed panels={PANELS} />
        : layout === "two" ? <><ChatPanel /><Tabbed panels={PANELS.slice(1)} /></>
          : (
            <>
              <ChatPanel />
              <div className="column"><MattersPanel /><SteeringPanel /></div>
              {layout === "three" && guideOpen ? <div className="column last"><GuidePanel /><UnitsPanel /></div> : <UnitsPanel />}
              {layout === "wide" && guideOpen && <GuidePanel />}
            </>
          )}
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
