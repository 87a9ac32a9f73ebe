import { QueryClientProvider } from "@tanstack/react-query";
import { Tooltip } from "radix-ui";
import { useEffect, useState, useSyncExternalStore } from "react";
import { readRoute } from "../logic/route";
import { client } from "../state/client";
import { keepConversation } from "../state/keeping";
import { page } from "../state/page";
import { useStatus } from "../state/queries";
import { openRun } from "../state/sharing";
import { DictionaryView } from "./dictionary/DictionaryView";
import { ErrorBoundary } from "./ErrorBoundary";
import { Header } from "./Header";
import { HelpDialog } from "./HelpDialog";
import { LabView } from "./lab/LabView";
import { LensView } from "./LensView";
import { Notice } from "./Notice";
import { StoriesView } from "./StoriesView";
import { TokenDialog } from "./TokenDialog";
import { UnitDrawer } from "./UnitDrawer";
import { UnitPage } from "./UnitPage";
import { useHotkeys } from "./useHotkeys";
import { useLayout } from "./useLayout";
import { Workbench } from "./Workbench";

const onHash = (listener: () => void) => {
  addEventListener("hashchange", listener);
  return () => removeEventListener("hashchange", listener);
};

export function App() {
  return (
    <QueryClientProvider client={client}>
      <Tooltip.Provider delayDuration={400} skipDelayDuration={200}>
        <Shell />
      </Tooltip.Provider>
    </QueryClientProvider>
  );
}

function Shell() {
  const hash = useSyncExternalStore(onHash, () => location.hash);
  const route = readRoute(hash);
  const layout = useLayout();
  const [help, setHelp] = useState(false);
  useHotkeys(() => setHelp((now) => !now));
  const { data: status } = useStatus();
  // A base model has no chat: begin with plain text. Once, so that the user's own choice stands.
  const chat = status?.model.chat;
  useEffect(() => { if (chat === false) page.set({ mode: "text" }); }, [chat]);
  const run = route.view === "run" ? route.id : null;
  useEffect(() => { if (run !== null) void openRun(run); }, [run]);
  // After the shared run of the address, which goes before what was kept.
  const model = status?.model.sha256;
  useEffect(() => (model === undefined ? undefined : keepConversation(model)), [model]);
  useEffect(() => {
    document.title = route.view === "unit" ? `${route.unit} · Pellucid` : route.view === "lens" ? "Lens · Pellucid" : route.view === "lab" ? "Lab · Pellucid" : route.view === "dictionary" ? "Dictionary · Pellucid" : route.view === "stories" ? "Stories · Pellucid" : "Pellucid";
  }, [hash]); // eslint-disable-line react-hooks/exhaustive-deps
  return (
    <div className="app">
      <Header route={route} onHelp={() => setHelp(true)} guideToggle={(route.view === "workbench" || route.view === "run") && (layout === "wide" || layout === "three")} />
      <ErrorBoundary key={route.view === "run" ? "workbench" : route.view === "unit" ? hash : route.view}>
        {route.view === "unit" ? <UnitPage unit={route.unit} /> : route.view === "lens" ? <LensView /> : route.view === "lab" ? <LabView method={route.method} /> : route.view === "dictionary" ? <DictionaryView name={route.name} /> : route.view === "stories" ? <StoriesView /> : <Workbench layout={layout} />}
      </ErrorBoundary>
      <UnitDrawer />
      <HelpDialog open={help} onClose={() => setHelp(false)} />
      <TokenDialog />
      <Notice />
    </div>
  );
}
