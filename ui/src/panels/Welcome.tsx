import { examples } from "../logic/examples";
import { page, usePage } from "../state/page";
import { useStatus } from "../state/queries";
import { send } from "../state/answering";

export function Welcome() {
  const mode = usePage((s) => s.mode);
  const layers = useStatus().data?.model.layers;
  return (
    <div className="welcome" data-testid="welcome">
      <h3>{mode === "chat" ? "Ask the model something" : "Begin a text"}</h3>
      <p>Then click any word of the answer to see which neurons made the model say it, in plain words.</p>
      <ul>
        {examples(mode, layers).map((text) => (
          <li key={text}>
            <button type="button" className="suggestion" onClick={() => { page.set({ panel: "chat" }); void send(text); }}>{text}</button>
          </li>
        ))}
      </ul>
      <p className="faint">Everything runs on this machine. Nothing leaves it.</p>
    </div>
  );
}
