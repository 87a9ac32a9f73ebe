// What the dictionary's page shows, kept while one looks at a unit and comes back; and what it asks the server for.
import { keepPreviousData, skipToken, useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import { find, jobs } from "../api/calls";
import { dictionary, type LatentMapReply, latentMap, latents, latentWords } from "../api/dictionary";
import { ApiError, sentence } from "../api/http";
import type { Words } from "../api/types";
import type { Colour, Order } from "../logic/latents";
import { parseUnit } from "../logic/unitname";
import { client } from "./client";
import { Stopped } from "./stopping";
import { createStore, useStore } from "./store";

/** What part of the map is in sight: pixels of the map's corner, and pixels for its width. */
export interface Sight { x: number; y: number; scale: number }

export interface DictionaryPage {
  name: string | null;
  query: string;
  meaning: boolean;
  selected: number[] | null;
  /** How they were selected, for a reader. */
  selectedBy: string;
  order: Order;
  colour: Colour;
  sight: Sight | null;
  lasso: boolean;
}

const fresh: DictionaryPage = { name: null, query: "", meaning: false, selected: null, selectedBy: "", order: { by: "score", down: true }, colour: "score", sight: null, lasso: false };
export const dictionaryPage = createStore<DictionaryPage>(fresh);
export const useDictionaryPage = <T,>(pick: (state: DictionaryPage) => T): T => useStore(dictionaryPage, pick);

/** Another dictionary has other latents: nothing of the last one's view holds. */
export function look(name: string): void {
  if (dictionaryPage.get().name !== name) dictionaryPage.set({ ...fresh, colour: dictionaryPage.get().colour, name });
}

export const select = (selected: number[] | null, selectedBy = ""): void => dictionaryPage.set({ selected, selectedBy });

/** A search orders by nearness; without one there is nothing to be near to. */
export function search(query: string): void {
  const { order, query: before } = dictionaryPage.get();
  const begins = query.trim() !== "" && before.trim() === "", ends = query.trim() === "" && order.by === "near";
  dictionaryPage.set({ query, ...(begins ? { order: { by: "near", down: true } } : ends ? { order: fresh.order } : {}) });
}

/** The latent that list or map point at. A store of its own: it changes with every move of the pointer. */
export const pointing = createStore<{ latent: number | null }>({ latent: null });

export const useDictionary = (name: string | null) =>
  useQuery({ queryKey: ["dictionary", name], queryFn: ({ signal }) => dictionary(name, signal), staleTime: 15_000 });

/** `made` tells one atlas from the next: numbers of a finished one do not change. */
export const useLatents = (name: string, made: string | null) =>
  useQuery({ queryKey: ["latents", name, made], queryFn: made === null ? skipToken : ({ signal }) => latents(name, signal) });

/** Most latents that a search finds. */
export const FOUND = 2000;

export const useFound = (name: string, query: string, meaning: boolean) =>
  useQuery({
    queryKey: ["latents-found", name, query.trim(), meaning], placeholderData: query.trim() === "" ? undefined : keepPreviousData,
    queryFn: query.trim() === "" ? skipToken : async ({ signal }) => {
      // an atlas may have been made under another name of the same dictionary: what counts is the index
      const hits = await find({ query: query.trim(), words: !meaning, dictionary: name, k: FOUND, sort: "nearest" }, signal);
      return hits.flatMap((hit) => parseUnit(hit.unit)?.index ?? []);
    },
  });

/** The map, or the job that makes it, which is followed until it ends. */
export function useLatentMap(name: string) {
  const key = ["latent-map", name];
  return useQuery<LatentMapReply>({
    queryKey: key, staleTime: 0,
    refetchInterval: (query) => (query.state.status !== "error" && query.state.data?.job ? 700 : false),
    queryFn: async ({ signal }) => {
      const kept = client.getQueryData<LatentMapReply>(key);
      if (kept?.map) return kept;
      // after a failure it is asked for anew
      const before = client.getQueryState(key)?.status === "error" ? null : kept?.job;
      const now = before && (await jobs(signal)).find((job) => job.id === before.id);
      if (now?.state === "running") return { map: null, job: now };
      if (now?.state === "cancelled") throw new Stopped();
      if (now?.state === "failed") throw new ApiError("failed", now.message, 500);
      return latentMap(name, signal);
    },
  });
}

// ---------------------------------------------------------------- words, in batches

interface Kept { words: Map<number, Words | null>; turn: number; error: string | null }
const kept = createStore<{ of: string; now: Kept }>({ of: "", now: { words: new Map(), turn: 0, error: null } });
let wanted = new Set<number>(), timer: ReturnType<typeof setTimeout> | null = null;
/** Half of what the server takes at a time. */
const BATCH = 500, PAUSE = 40;

async function fetchWords(of: string): Promise<void> {
  timer = null;
  const asked = [...wanted].slice(0, BATCH), name = of.split("\n")[0]!;
  try {
    const { words } = await latentWords(name, asked);
    if (kept.get().of !== of) return;
    const { now } = kept.get();
    asked.forEach((latent, i) => now.words.set(latent, words[i] ?? null));
    kept.set({ now: { ...now, turn: now.turn + 1, error: null } });
  } catch (error) {
    if (kept.get().of === of) kept.set(({ now }) => ({ now: { ...now, error: sentence(error) } }));
  }
  asked.forEach((latent) => wanted.delete(latent));
  if (wanted.size > 0 && kept.get().of === of && kept.get().now.error === null) timer = setTimeout(() => void fetchWords(of), PAUSE);
}

/** The words of some latents, fetched where they are not here: undefined until they come, null where there are none. */
export function useWords(name: string, made: string | null, latents: number[]) {
  const now = useStore(kept, (state) => state.now), of = `${name}\n${made ?? ""}`;
  useEffect(() => {
    if (kept.get().of !== of) {
      wanted = new Set();
      kept.set({ of, now: { words: new Map(), turn: 0, error: null } });
    }
    if (made === null) return;
    for (const latent of latents) if (!kept.get().now.words.has(latent)) wanted.add(latent);
    if (wanted.size > 0 && timer === null) timer = setTimeout(() => void fetchWords(of), PAUSE);
  });
  return { words: (latent: number) => (made === null ? null : now.words.get(latent)), error: now.error };
}
