import { hashKey, useMutation } from "@tanstack/react-query";
import { memo, useEffect, useMemo } from "react";
import { ablate } from "../api/calls";
import type { Cluster, ExplainReply } from "../api/types";
import { SignedBar } from "../components/Bar";
import { DescriptionWords } from "../components/DescriptionWords";
import { Icon } from "../components/Icon";
import { Failure } from "../components/States";
import { Working } from "../components/Working";
import { coherence, count, signed } from "../logic/format";
import { shortUnit } from "../logic/unitname";
import { verdict } from "../logic/verdict";
import { shine } from "../state/choosing";
import { page, type Run, usePage } from "../state/page";
import { basis, metricOf, nameOf } from "../state/queries";
import { stop, stoppable } from "../state/stopping";
import { CheckResult } from "./CheckResult";
import { TurnButtons } from "./TurnButtons";

interface Props { cluster: Cluster; index: number; most: number; reply: ExplainReply; run: Run }

export const ClusterCard = memo(function ClusterCard({ cluster, index, most, reply, run }: Props) {
  const open = usePage((s) => s.openCluster === index);
  const members = useMemo(() => cluster.members.map((id) => reply.units.find((unit) => unit.unit === id)).filter((unit) => unit !== undefined), [cluster, reply]);
  const target = reply.metric.target.text;
  const asked = useMemo(() => hashKey(["ablate", nameOf(run), reply.metric, cluster.members]), [run, reply, cluster]);
  const check = useMutation({
    mutationFn: () => {
      const { target: chosen, foil } = page.get();
      const metric = chosen ? metricOf(chosen, foil) : { position: reply.metric.position, target: reply.metric.target.id };
      return stoppable(asked, null, (signal) => ablate({ ...basis(run), metric, units: cluster.members }, signal));
    },
    onSuccess: (result) => page.set({ checked: verdict(result, cluster.effect, cluster.members.length, target) }),
  });
  // A card that is gone shows no result: the target is another by then.
  useEffect(() => () => stop(asked), [asked]);
  const light = () => shine({ kind: "signed", values: cluster.by_position, label: `Effect of \u201c${cluster.label}\u201d` });
  return (
    <article className={`cluster${open ? " is-open" : ""}`} data-testid={`cluster-${index}`} onMouseEnter={light} onFocus={light} onBlur={() => shine(null)}>
      <button type="button" className="cluster-head" aria-expanded={open} data-testid={`cluster-open-${index}`}
        onClick={() => page.set({ openCluster: open ? null : index })}>
        <span className="cluster-label">{cluster.label}</span>
        <span className={`cluster-effect num ${cluster.effect < 0 ? "minus-text" : "plus-text"}`}>{signed(cluster.effect)}</span>
        <SignedBar value={cluster.effect} most={most} />
        <span className="cluster-meta">{count(cluster.members.length, "unit")} · {coherence(cluster.coherence, cluster.chance)} · {cluster.effect < 0 ? "suppresses" : "promotes"}</span>
        <Icon name={open ? "up" : "down"} size={12} />
      </button>
      {open && (
        <ul className="members" aria-label="Units of this cluster">
          {members.map((unit) => (
            <li key={unit.unit}>
              <button type="button" className="member" onMouseEnter={() => shine({ kind: "signed", values: unit.by_position, label: `Effect of ${unit.unit}` })} onMouseLeave={light}
                onClick={() => page.set({ drawer: unit.unit })}>
                <span className="unit-name">{shortUnit(unit.unit!)}</span>
                <span className={`num ${unit.effect < 0 ? "minus-text" : "plus-text"}`}>{signed(unit.effect)}</span>
                <DescriptionWords words={unit.words} />
              </button>
            </li>
          ))}
        </ul>
      )}
      <div className="cluster-actions">
        <TurnButtons label={cluster.label} units={cluster.members} testid={`cluster-{}-${index}`} words />
        <span className="spacer" />
        <button type="button" className="button small" data-testid={`cluster-check-${index}`} disabled={check.isPending} onClick={() => check.mutate()}>
          {check.isPending ? "Checking…" : "Check"}
        </button>
      </div>
      {check.isPending && <Working what={`Removing ${count(cluster.members.length, "unit")}, then as many at random…`} tokens={reply.metric.position + 1} asked={asked} rows={1} />}
      {check.isError && <Failure error={check.error} title="The check did not run" again={() => check.mutate()} />}
      {check.data && <CheckResult reply={check.data} effect={cluster.effect} size={cluster.members.length} target={target} index={index} />}
    </article>
  );
});
