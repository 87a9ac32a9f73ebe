// A store of one value. Panels subscribe to the part they show, so that a hover in one table does not draw
// two thousand tokens again.
import { useSyncExternalStore } from "react";

export interface Store<S> {
  get: () => S;
  set: (change: Partial<S> | ((state: S) => Partial<S>)) => void;
  subscribe: (listener: () => void) => () => void;
}

export function createStore<S extends object>(initial: S): Store<S> {
  let state = initial;
  const listeners = new Set<() => void>();
  return {
    get: () => state,
    set: (change) => {
      const part = typeof change === "function" ? change(state) : change;
      const keys = Object.keys(part) as (keyof S)[];
      if (keys.every((key) => Object.is(state[key], part[key]))) return;
      state = { ...state, ...part };
      for (const listener of listeners) listener();
    },
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** `pick` must give the same reference for the same state: a field, or something memoised. */
export function useStore<S extends object, T>(store: Store<S>, pick: (state: S) => T): T {
  return useSyncExternalStore(store.subscribe, () => pick(store.get()));
}
