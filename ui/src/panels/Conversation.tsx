import { useEffect, useMemo, useState } from "react";
import type { Message } from "../api/types";
import { TokenFlow } from "../components/TokenFlow";
import { TokenSegment } from "../components/TokenSegment";
import { useHeat } from "../components/useHeat";
import { blocks } from "../logic/blocks";
import { allTokens } from "../logic/tokens";
import { type Turn, useCurrent, usePage } from "../state/page";
import { Answers } from "./Answers";
import { Bubble } from "./Bubble";
import { TemplateTokens } from "./TemplateTokens";

/** The turns that are looked at, as tokens where the model has read them and as text where it has not yet. */
export function Conversation({ turns }: { turns: Turn[] }) {
  const { turn: last, run, name } = useCurrent();
  const system = usePage((s) => s.system), mode = usePage((s) => s.mode);
  const target = usePage((s) => s.target), foil = usePage((s) => s.foil), range = usePage((s) => s.range);
  const heat = useHeat();
  const [unfolded, setUnfolded] = useState<Record<number, boolean>>({});
  useEffect(() => setUnfolded({}), [last?.id]);
  const before = useMemo(() => turns.filter((turn) => turn.id !== last?.id), [turns, last?.id]);
  const hasSystem = mode === "chat" && system.trim() !== "";
  const parts = useMemo(() => {
    const messages: Message[] = before.map((turn) => turn.message);
    return run ? blocks(run.prompt, hasSystem ? [{ role: "system", content: system }, ...messages] : messages) : null;
  }, [run?.prompt, before, hasSystem, system]); // eslint-disable-line react-hooks/exhaustive-deps
  const tokens = useMemo(() => (run ? allTokens(run) : []), [run]);
  const chosen = { target: target?.at ?? null, foilId: foil?.id ?? null, range, changedAt: null };
  const owner = (message: number | null): Turn | null => (message === null ? null : before[hasSystem ? message - 1 : message] ?? null);

  return (
    <div className="conversation" data-conversation="" onDoubleClick={(event) => event.preventDefault()}>
      {run && parts && run.prompt.length > 0 ? (
        <TokenFlow run={run} name={name} tokens={tokens} heat={heat} active part="prompt" drawn={unfolded}>
          {parts.blocks.map(({ segment, message }) => {
            if (segment.role === null && parts.known) {
              return <TemplateTokens key={segment.from} segment={segment} open={unfolded[segment.from] ?? false} chosen={chosen}
                heat={heat} onToggle={() => setUnfolded((now) => ({ ...now, [segment.from]: !now[segment.from] }))} />;
            }
            return (
              <Bubble key={segment.from} turn={owner(message)} role={segment.role ?? (mode === "text" ? "user" : null)}>
                <TokenSegment segment={segment} label={mode === "text" ? "Prompt" : undefined} {...chosen} />
              </Bubble>
            );
          })}
        </TokenFlow>
      ) : before.map((turn) => (
        <Bubble key={turn.id} turn={turn} role={turn.message.role}><span className="tokens">{turn.message.content}</span></Bubble>
      ))}
      {last && <Answers turn={last} heat={heat} />}
      {turns.at(-1)?.runs === null && last && turns.at(-1)!.id !== last.id && (
        <p className="faint">This turn has no answer yet.</p>
      )}
    </div>
  );
}
