// What the panels ask about the current run. One place, so that panels showing the same thing share one request;
// a request whose answer nobody waits for any more is aborted by its signal.
import { hashKey, keepPreviousData, type QueryKey, skipToken, useQuery, type UseQueryResult } from "@tanstack/react-query";
import { activations, compare, explain, jobs as fetchJobs, score, status } from "../api/calls";
import type { ActivationsReply, CompareReply, Edit, ExplainReply, Job, Metric, SteerSpec, Sum, TextSpec, Token } from "../api/types";
import { exactText } from "../logic/tokens";
import { steerQuery } from "./answering";
import { type Current, finished, type Run, type Target, useCurrent, usePage } from "./page";
import { stoppable } from "./stopping";

export function useStatus() {
  return useQuery({ queryKey: ["status"], queryFn: ({ signal }) => status(signal), staleTime: 5_000, refetchInterval: 15_000 });
}

const atWork = (job: Job): boolean => job.state === "running" || job.state === "waiting";

/** Building of the model's atlas that goes on beside the page; watched closely only while there is some. */
export function useJobs(): Job[] {
  const jobs = useQuery({
    queryKey: ["jobs"], queryFn: ({ signal }) => fetchJobs(signal), staleTime: 0,
    refetchInterval: (query) => (query.state.data?.some(atWork) ? 1500 : 30_000),
  });
  return jobs.data?.filter((job) => atWork(job) && job.kind === "atlas") ?? [];
}

/** What every request about a run carries: its exact tokens, and the edits it truly ran with. */
export const basis = (run: Run): { text: TextSpec; edits: Edit[] } => ({ text: exactText(run), edits: run.edits });
/** How many tokens such a request is about. */
export const lengthOf = (run: Run | null): number => (run ? run.prompt.length + run.generated.length : 0);
/** A stopped run keeps its key but may have grown: the length belongs to the name. */
export const nameOf = (run: Run) => [run.key, run.generated.length];

export function metricOf(target: Target, foil: Token | null): Metric {
  return { position: target.at - 1, target: target.token.id, foil: foil?.id ?? null };
}

/** A query that may take long: it has a name, by which it can be stopped, and once stopped it waits to be asked for again. */
export interface Asked<T> { query: UseQueryResult<T>; name: string }

function useAsked<T>(key: QueryKey, ask: ((signal: AbortSignal) => Promise<T>) | null): Asked<T> {
  const name = hashKey(key);
  const query = useQuery({ queryKey: key, retryOnMount: false, queryFn: ask ? ({ signal }) => stoppable(name, signal, ask) : skipToken });
  return { query, name };
}

function useExplainBy(by: Sum, dictionary: string | null): Asked<ExplainReply> {
  const { run } = useCurrent();
  const target = usePage((s) => s.target), foil = usePage((s) => s.foil), range = usePage((s) => s.range);
  // A range that begins at or after the target can have no effect on it: it is meant for activations.
  const positions = range && target && range[0] < target.at ? range : null;
  return useAsked(["explain", run && nameOf(run), target?.at, target?.token.id, foil?.id, positions, by, dictionary],
    finished(run) && target ? (signal) => explain({ ...basis(run), metric: metricOf(target, foil), positions, by, dictionary }, signal) : null);
}

export const useExplain = () => useExplainBy(usePage((s) => s.by), usePage((s) => s.dictionary));
/** Clusters are made of neurons, or of a dictionary's latents where the table shows those. */
export function useClusters(): Asked<ExplainReply> {
  const latent = usePage((s) => s.by) === "latent", dictionary = usePage((s) => s.dictionary);
  return useExplainBy(latent ? "latent" : "unit", latent ? dictionary : null);
}

export function useActivations(wanted: boolean): Asked<ActivationsReply> {
  const { run } = useCurrent();
  const range = usePage((s) => s.range);
  return useAsked(["activations", run && nameOf(run), range],
    wanted && finished(run) ? (signal) => activations({ ...basis(run), positions: range, top: 300 }, signal) : null);
}

export function useScore(run: Run | null, wanted: boolean) {
  return useQuery({
    queryKey: ["score", run && nameOf(run)],
    queryFn: wanted && finished(run) ? ({ signal }) => score({ ...basis(run), top: 8 }, signal) : skipToken,
  });
}

/** The steered answer read twice, plain and with the edits. */
export function useCompare({ steered }: Current, wanted = true): Asked<CompareReply> {
  return useAsked(["compare", steered && nameOf(steered)],
    wanted && finished(steered) ? (signal) => compare({ ...basis(steered), top: 100 }, signal) : null);
}

export function useSteer(specs: SteerSpec[]) {
  return useQuery({ ...steerQuery(specs), enabled: specs.length > 0, placeholderData: keepPreviousData });
}
