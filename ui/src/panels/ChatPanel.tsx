import { useEffect, useMemo, useRef } from "react";
import { Panel } from "../components/Panel";
import { path } from "../logic/tree";
import { currentTurn, usePage } from "../state/page";
import { ChatTools } from "./ChatTools";
import { Composer } from "./Composer";
import { Conversation } from "./Conversation";
import { SystemPrompt } from "./SystemPrompt";
import { Welcome } from "./Welcome";

export function ChatPanel() {
  const tree = usePage((s) => s.tree), mode = usePage((s) => s.mode);
  const turns = useMemo(() => path(tree), [tree]);
  const scroller = useRef<HTMLDivElement>(null), atEnd = useRef(true);
  const run = currentTurn(tree)?.runs?.plain;
  const length = (run?.generated.length ?? 0) + turns.length * 1000;
  // Follow the answer, unless somebody scrolled up to read.
  useEffect(() => {
    const box = scroller.current;
    if (box && atEnd.current) box.scrollTop = box.scrollHeight;
  }, [length]);
  const onScroll = () => {
    const box = scroller.current;
    if (box) atEnd.current = box.scrollHeight - box.scrollTop - box.clientHeight < 60;
  };
  return (
    <Panel name="chat" title={mode === "chat" ? "Chat" : "Text"} tools={<ChatTools />}>
      <div className="chat-scroll" ref={scroller} onScroll={onScroll} tabIndex={-1}>
        {mode === "chat" && <SystemPrompt />}
        {turns.length === 0 ? <Welcome /> : <Conversation turns={turns} />}
      </div>
      <Composer />
    </Panel>
  );
}
