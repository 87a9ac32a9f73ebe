// Addresses after the hash, so that a server of plain files suffices.
export const LAB_METHODS = ["behaviour", "lens", "trace", "knockout", "patchscope", "neurons", "direction", "circuit", "function"] as const;
export type LabMethod = (typeof LAB_METHODS)[number];
/** Methods that explain a behaviour, and the graph, which explains a prompt. */
export const LAB_PAGES = [...LAB_METHODS, "graph"] as const;
export type LabPage = (typeof LAB_PAGES)[number];

export type Route =
  | { view: "workbench" } | { view: "lens" } | { view: "stories" }
  | { view: "lab"; method: LabPage }
  | { view: "dictionary"; name: string | null }
  | { view: "unit"; unit: string } | { view: "run"; id: string };

export function readRoute(hash: string): Route {
  const raw = hash.replace(/^#\/?/, "").split("?")[0] ?? "";
  const slash = raw.indexOf("/");
  const head = slash < 0 ? raw : raw.slice(0, slash);
  let rest = slash < 0 ? "" : raw.slice(slash + 1);
  try {
    rest = decodeURIComponent(rest);
  } catch {
    // A stray % in a typed address: take it as it stands.
  }
  if (head === "unit" && rest) return { view: "unit", unit: rest };
  if (head === "run" && rest) return { view: "run", id: rest };
  if (head === "lens") return { view: "lens" };
  if (head === "lab") return { view: "lab", method: LAB_PAGES.find((method) => method === rest) ?? "behaviour" };
  if (head === "dictionary") return { view: "dictionary", name: rest || null };
  if (head === "stories") return { view: "stories" };
  return { view: "workbench" };
}

export function unitAddress(unit: string): string {
  return `#/unit/${unit}`;
}

export function dictionaryAddress(name: string | null): string {
  return name === null ? "#/dictionary" : `#/dictionary/${encodeURIComponent(name)}`;
}

export function labAddress(method: LabPage): string {
  return method === "behaviour" ? "#/lab" : `#/lab/${method}`;
}

export function runAddress(id: string): string {
  return `#/run/${encodeURIComponent(id)}`;
}
