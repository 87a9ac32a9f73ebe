import { page, usePage } from "../state/page";
import { send } from "../state/answering";

const QUESTIONS = ["What is the capital of France?", "Which is bigger: 9.8 or 9.11?", "Tell me a short story about Alice and Bob."];
const PROMPTS = ["The capital of France is", "When Mary and John went to the store, John gave a drink to", "The keys to the cabinet"];

export function Welcome() {
  const mode = usePage((s) => s.mode);
  const list = mode === "chat" ? QUESTIONS : PROMPTS;
  return (
    <div className="welcome" data-testid="welcome">
      <h3>{mode === "chat" ? "Ask the model something" : "Begin a text"}</h3>
      <p>Then click any word of the answer to see which neurons made the model say it, in plain words.</p>
      <ul>
        {list.map((text) => (
          <li key={text}>
            <button type="button" className="suggestion" onClick={() => { page.set({ panel: "chat" }); void send(text); }}>{text}</button>
          </li>
        ))}
      </ul>
      <p className="faint">Everything runs on this machine. Nothing leaves it.</p>
    </div>
  );
}
