import { createRoot } from "react-dom/client";
import "./state/theme";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/chat.css";
import "./styles/panels.css";
import "./styles/views.css";
import "./styles/lab.css";
import "./styles/dictionary.css";
import "./styles/graph.css";
import { App } from "./views/App";

createRoot(document.getElementById("root")!).render(<App />);
