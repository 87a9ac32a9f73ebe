import { useSyncExternalStore } from "react";

export type Layout = "wide" | "three" | "two" | "phone";

const WIDE = "(min-width: 1500px)", THREE = "(min-width: 1080px)", TWO = "(min-width: 700px)";

function read(): Layout {
  return matchMedia(WIDE).matches ? "wide" : matchMedia(THREE).matches ? "three" : matchMedia(TWO).matches ? "two" : "phone";
}

function subscribe(listener: () => void): () => void {
  const queries = [WIDE, THREE, TWO].map((query) => matchMedia(query));
  for (const query of queries) query.addEventListener("change", listener);
  return () => { for (const query of queries) query.removeEventListener("change", listener); };
}

export const useLayout = (): Layout => useSyncExternalStore(subscribe, read);
