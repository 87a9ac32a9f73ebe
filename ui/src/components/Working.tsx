// A request under way: what is done, and, once it takes long, to how much, since when, and a way to stop it.
import { useEffect, useState } from "react";
import { count } from "../logic/format";
import { since, stop } from "../state/stopping";
import { Bones } from "./States";

const LONG = 1000, TICK = 500;

interface Props { what: string; tokens: number; asked: string; rows?: number }

export function Working({ what, tokens, asked, rows = 4 }: Props) {
  const [taken, setTaken] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setTaken(performance.now() - since(asked)), TICK);
    return () => clearInterval(timer);
  }, [asked]);
  const long = taken >= LONG;
  return (
    <div className="loading">
      <div className="working">
        <p className="loading-text" role="status">{what}{long && ` ${count(tokens, "token")}`}</p>
        {long && (
          <>
            <span className="loading-text num" data-testid="elapsed">{Math.floor(taken / 1000)} s</span>
            <button type="button" className="button small" data-testid="cancel" onClick={() => stop(asked)}>Cancel</button>
          </>
        )}
      </div>
      <Bones rows={rows} />
    </div>
  );
}
