import type { Route } from "../logic/route";
import { IconButton } from "../components/IconButton";
import { ThemeSwitch } from "../components/ThemeSwitch";
import { connection } from "../state/connection";
import { page, usePage } from "../state/page";
import { useStatus } from "../state/queries";
import { useStore } from "../state/store";
import { AtlasState } from "./AtlasState";

export function Header({ route, onHelp, guideToggle }: { route: Route; onHelp: () => void; guideToggle: boolean }) {
  const status = useStatus();
  const waiting = useStore(connection, (s) => s.waiting), running = useStore(connection, (s) => s.running);
  const guideOpen = usePage((s) => s.guideOpen);
  const load = status.data?.load;
  // whoever has none is not shown a page of nothing; its address says how to get one
  const dictionaries = (status.data?.dictionaries.length ?? 0) > 0 || route.view === "dictionary";
  const link = (view: Route["view"], href: string, text: string) => <a href={href} aria-current={route.view === view || (view === "workbench" && route.view === "run") ? "page" : undefined} data-testid={`nav-${view}`}>{text}</a>;
  return (
    <header className="topbar">
      <a href="#/" className="brand" aria-label="Pellucid, to the workbench"><img src="./icon.svg" alt="" width="22" height="22" /><span>Pellucid</span></a>
      <nav aria-label="Views">{link("workbench", "#/", "Workbench")}{link("lens", "#/lens", "Lens")}{link("lab", "#/lab", "Lab")}{dictionaries && link("dictionary", "#/dictionary", "Dictionary")}{link("stories", "#/stories", "Stories")}</nav>
      <div className="topbar-state">
        {waiting ? <span className="busy is-waiting" role="status" data-testid="busy">busy, trying again in {Math.ceil(waiting.seconds)} s ({waiting.attempt}/{waiting.of})</span>
          : running > 0 ? <span className="busy" data-testid="busy"><span className="dot" aria-hidden="true" />working</span>
            : load && load.running + load.waiting > 0 ? <span className="busy faint">{load.running} running{load.waiting > 0 ? `, ${load.waiting} waiting` : ""}</span> : null}
        {status.isError && !status.data ? <span className="error-text" role="alert">no server</span> : (
          <span className="model-name" data-testid="model-name" title={status.data ? `${status.data.model.architecture}, ${status.data.model.layers} layers, ${status.data.model.storage}; sha256 ${status.data.model.sha256}` : ""}>{status.data?.model.name ?? "…"}</span>
        )}
        {status.data && <AtlasState status={status.data} />}
      </div>
      <div className="topbar-tools">
        {guideToggle && <IconButton icon="guide" label={guideOpen ? "Hide the guide" : "Show the guide"} aria-pressed={guideOpen} data-testid="guide-toggle" onClick={() => page.set({ guideOpen: !guideOpen })} />}
        <ThemeSwitch />
        <IconButton icon="keyboard" label="Keys and help (?)" data-testid="help" onClick={onHelp} />
      </div>
    </header>
  );
}
