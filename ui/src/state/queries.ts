// What the panels ask about the current run. One place, so that panels showing the same thing share one request;
// a request whose answer nobody waits for any more is aborted by its signal.
import { keepPreviousData, skipToken, useQuery } from "@tanstack/react-query";
import { activations, compare, explain, score, status } from "../api/calls";
import type { Edit, Metric, TextSpec } from "../api/types";
import { exactText } from "../logic/tokens";
import { steerQuery } from "./answering";
import { type Current, finished, type Run, type Target, useCurrent, usePage } from "./page";
import type { SteerSpec, Token } from "../api/types";

export function useStatus() {
  return useQuery({ queryKey: ["status"], queryFn: ({ signal }) => status(signal), staleTime: 5_000, refetchInterval: 15_000 });
}

/** What every request about a run carries: its exact tokens, and the edits it truly ran with. */
export const basis = (run: Run): { text: TextSpec; edits: Edit[] } => ({ text: exactText(run), edits: run.edits });
/** A stopped run keeps its key but may have grown: the length belongs to the name. */
export const nameOf = (run: Run) => [run.key, run.generated.length];

export function metricOf(target: Target, foil: Token | null): Metric {
  return { position: target.at - 1, target: target.token.id, foil: foil?.id ?? null };
}

export function useExplain() {
  const { run } = useCurrent();
  const target = usePage((s) => s.target), foil = usePage((s) => s.foil);
  const range = usePage((s) => s.range), by = usePage((s) => s.by);
  // A range that begins at or after the target can have no effect on it: it is meant for activations.
  const positions = range && target && range[0] < target.at ? range : null;
  return useQuery({
    queryKey: ["explain", run && nameOf(run), target?.at, target?.token.id, foil?.id, positions, by],
    queryFn: finished(run) && target
      ? ({ signal }) => explain({ ...basis(run), metric: metricOf(target, foil), positions, by }, signal)
      : skipToken,
  });
}

/** Clusters are made of units, whatever the table shows. */
export function useClusters() {
  const { run } = useCurrent();
  const target = usePage((s) => s.target), foil = usePage((s) => s.foil), range = usePage((s) => s.range);
  const positions = range && target && range[0] < target.at ? range : null;
  return useQuery({
    queryKey: ["explain", run && nameOf(run), target?.at, target?.token.id, foil?.id, positions, "unit"],
    queryFn: finished(run) && target
      ? ({ signal }) => explain({ ...basis(run), metric: metricOf(target, foil), positions, by: "unit" }, signal)
      : skipToken,
  });
}

export function useActivations(wanted: boolean) {
  const { run } = useCurrent();
  const range = usePage((s) => s.range);
  return useQuery({
    queryKey: ["activations", run && nameOf(run), range],
    queryFn: wanted && finished(run)
      ? ({ signal }) => activations({ ...basis(run), positions: range, top: 300 }, signal)
      : skipToken,
  });
}

export function useScore(run: Run | null, wanted: boolean) {
  return useQuery({
    queryKey: ["score", run && nameOf(run)],
    queryFn: wanted && finished(run) ? ({ signal }) => score({ ...basis(run), top: 8 }, signal) : skipToken,
  });
}

/** The steered answer read twice, plain and with the edits. */
export function useCompare({ steered }: Current, wanted = true) {
  return useQuery({
    queryKey: ["compare", steered && nameOf(steered)],
    queryFn: wanted && finished(steered)
      ? ({ signal }) => compare({ ...basis(steered), top: 100 }, signal)
      : skipToken,
  });
}

export function useSteer(specs: SteerSpec[]) {
  return useQuery({ ...steerQuery(specs), enabled: specs.length > 0, placeholderData: keepPreviousData });
}
