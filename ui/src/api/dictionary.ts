// A dictionary as a whole: its facts, a few numbers of every latent, their words, and the map of them. Held to the server's
// document in agree.ts.
import { getJson, postJson } from "./http";
import type { Job, Words } from "./types";

export interface DictionaryCard {
  model: string | null; model_hash: string | null; corpus: string | null; window: number | null; trained_rows: number | null; code: string | null;
  rows: number | null; explained_variance: number | null; l0: number | null; silent: number | null;
  loss: number | null; loss_spliced: number | null; loss_zero: number | null; loss_mean: number | null;
  recovered_from_zero: number | null; recovered_from_mean: number | null;
}

export interface DictionaryAtlas {
  path: string; tokens: number; corpus: string; seed: number; code: string;
  described: number; scored: number; above_null: number; median: number | null; median_null: number | null;
  dead: number; ultra_low: number; ultra_low_share: number; dense: number;
  embeddings: boolean;                                        // search by meaning works
}

export interface DictionaryReply {
  name: string; site: string; latents: number; width: number; hash: string;
  format: string | null; path: string | null; activation: string | null;
  card: DictionaryCard | null; card_fault: string | null; card_of_model: boolean | null;
  atlas: DictionaryAtlas | null; atlas_fault: string | null;
  build: string; judge: string;                               // commands that make the atlas and the card's numbers
}

/** Columns by latent; `active` counts tokens above zero of `tokens`. */
export interface LatentsReply { tokens: number; active: number[]; most: number[]; score: (number | null)[]; null: (number | null)[] }

/** From 0 to 65,535, from left to right and from below. */
export interface LatentMap { x: number[]; y: number[] }
export interface LatentMapReply { map: LatentMap | null; job: Job | null }

const of = (name: string | null) => (name === null ? "" : `?name=${encodeURIComponent(name)}`);

export const dictionary = (name: string | null, signal?: AbortSignal) => getJson<DictionaryReply>(`dictionary${of(name)}`, signal);
export const latents = (name: string, signal?: AbortSignal) => getJson<LatentsReply>(`dictionary/latents${of(name)}`, signal);
export const latentWords = (name: string, wanted: number[]) => postJson<{ words: (Words | null)[] }>("dictionary/words", { name, latents: wanted });
export const latentMap = (name: string, signal?: AbortSignal) => postJson<LatentMapReply>("dictionary/map", { name }, signal);
