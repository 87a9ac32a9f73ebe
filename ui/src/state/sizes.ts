// How wide and how high somebody wants the panels, in this browser.
import { readSizes, type Sizes } from "../logic/sizes";
import { createStore } from "./store";
import { readStored, writeStored } from "./stored";

const KEY = "pellucid.sizes.1";
const storage = () => localStorage;

export const sizes = createStore<{ sizes: Sizes }>({ sizes: readSizes(readStored(storage, KEY)) });

/** Null: as they were made. */
export function setSizes(split: string, value: number[] | null): void {
  const { [split]: _, ...others } = sizes.get().sizes;
  const next = value ? { ...others, [split]: value.map((size) => Math.round(size)) } : others;
  sizes.set({ sizes: next });
  writeStored(storage, KEY, JSON.stringify(next));
}
