// The conversation outlives a reload: it is kept in this tab, by model, and comes back unless something else was opened.
import { type Kept, readKept, withoutBranches, writeKept } from "../logic/kept";
import { page } from "./page";
import { replay } from "./sharing";
import { readStored, writeStored } from "./stored";

const storage = () => sessionStorage;
const PAUSE = 400;
const PARTS = ["mode", "system", "draft", "tree", "specs", "sampling"] as const satisfies (keyof Kept)[];

/** Begins to keep this model's conversation, after bringing back what was kept of it. */
export function keepConversation(model: string): () => void {
  const key = `pellucid.conversation.${model}`;
  if (nothingBegun()) {
    const kept = readKept(readStored(storage, key));
    if (kept) page.set(kept);
  }
  let last = page.get(), said = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const save = () => {
    clearTimeout(timer);
    timer = undefined;
    const { mode, system, draft, tree, specs, sampling } = page.get();
    const kept: Kept = { mode, system, draft, tree, specs, sampling };
    if (writeStored(storage, key, writeKept(kept))) return;
    const part = writeStored(storage, key, writeKept({ ...kept, tree: withoutBranches(tree) }));
    // An older state of it must not come back as if it were this one.
    if (!part) writeStored(storage, key, null);
    if (!said) page.set({ notice: `This conversation is too long for the browser to keep${part ? " whole: after a reload only the branch shown here comes back" : ": save it as a file before you leave"}.` });
    said = true;
  };
  const stop = page.subscribe(() => {
    const now = page.get();
    if (PARTS.every((part) => now[part] === last[part])) return;
    last = now;
    clearTimeout(timer);
    timer = setTimeout(save, PAUSE);
  });
  const leave = () => { if (timer !== undefined) save(); };
  addEventListener("pagehide", leave);
  return () => {
    leave();
    stop();
    removeEventListener("pagehide", leave);
  };
}

function nothingBegun(): boolean {
  const { tree, draft } = page.get();
  return Object.keys(tree.nodes).length === 0 && draft === "" && replay.get().state === "none";
}
