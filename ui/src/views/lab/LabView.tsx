// The laboratory: a behaviour is measured, and where the model shows it a method explains it, beside its controls.
import { useQuery } from "@tanstack/react-query";
import { labBehaviours } from "../../api/lab";
import type { Asked, CircuitReply, DirectionReply, FunctionReply, KnockoutReply, LadderReply, LensReply, NeuronsReply, PatchscopeReply, TraceReply } from "../../api/labtypes";
import { Empty, Failure, Loading } from "../../components/States";
import { LAB_PAGES, labAddress, type LabMethod, type LabPage } from "../../logic/route";
import { type LabRun, progress, type Replies, start, stop, useRun } from "../../state/lab";
import { CircuitResult } from "./CircuitResult";
import { DirectionResult } from "./DirectionResult";
import { FunctionResult, TaskGateCard } from "./FunctionResult";
import { Gate } from "./Gate";
import { KnockoutResult } from "./KnockoutResult";
import { GraphView } from "./graph/GraphView";
import { LabForm } from "./LabForm";
import { LensResult } from "./LensResult";
import { NeuronsResult } from "./NeuronsResult";
import { StoryStrip } from "./StoryStrip";
import { LadderResult, PatchscopeResult } from "./PatchscopeResult";
import { TraceResult } from "./TraceResult";

export const METHODS: Record<LabPage, { title: string; about: string }> = {
  behaviour: { title: "Behaviour", about: "Does the model do this at all, and how well? Nothing is explained that is not there." },
  lens: { title: "Lens", about: "At which layers the answer wins: every depth read as if the model stopped there, beside another item's answer." },
  trace: { title: "Tracing", about: "Where the answer is decided: values of a clean run put into a corrupted one, layer by layer and token by token, beside a stranger's values." },
  knockout: { title: "Knockout", about: "Which token must be seen, at which layers: attention cut edge by edge, beside a random other edge." },
  patchscope: { title: "Patchscopes", about: "What a value means, said by the model itself: put into another text, or back into its own, at every layer." },
  neurons: { title: "Neurons", about: "What every neuron is predicted to do to the answer; then the foremost are truly replaced, beside random ones and another behaviour." },
  direction: { title: "Directions", about: "The direction between two classes of items: found at every layer on some items, chosen on others, added and ablated on others again, beside a random one." },
  function: { title: "Function vectors", about: "What a few examples tell the model, as one vector: found by its heads' causal effects, added to bare questions, beside random heads and a random vector." },
  circuit: { title: "Circuits", about: "The edges between heads and MLPs that carry the behaviour: scored, then all others cut, beside random edges, the complement and another behaviour." },
  graph: { title: "Graph", about: "The neurons behind a prompt’s next word: what each adds to each, with attention held as it was; pruned, grouped, and the foremost truly zeroed." },
};

export function LabView({ method }: { method: LabPage }) {
  const behaviours = useQuery({ queryKey: ["lab-behaviours"], queryFn: ({ signal }) => labBehaviours(signal) });
  return (
    <main className="page-view lab-view" data-testid="lab-view">
      <header className="view-head"><h1>Lab</h1><p className="faint lead">{METHODS[method].about}</p></header>
      <StoryStrip />
      <nav className="segmented lab-methods" aria-label="Methods">
        {LAB_PAGES.map((one) => <a key={one} href={labAddress(one)} aria-current={one === method ? "page" : undefined} data-testid={`lab-method-${one}`}>{METHODS[one].title}</a>)}
      </nav>
      {method === "graph" ? <GraphView /> : behaviours.isError ? <Failure error={behaviours.error} again={() => void behaviours.refetch()} />
        : !behaviours.data ? <Loading what="Reading the behaviours…" /> : (
          <>
            <LabForm method={method} behaviours={behaviours.data} />
            <LabRunView key={method} method={method} />
          </>
        )}
    </main>
  );
}

const nothing = (method: LabMethod) => method === "function" ? "Choose a task and run it. The gate comes first: do examples help this model at all?"
  : method === "patchscope" ? "Choose what is read and run it." : "Choose a behaviour and run it. The gate comes first: how well the model does this, item by item.";

function LabRunView({ method }: { method: LabMethod }) {
  const run = useRun(method) as LabRun | null;
  if (!run) return <Empty title="Nothing run yet">{nothing(method)}</Empty>;
  const { step, gate } = run;
  return (
    <div className="lab-run" data-testid="lab-run" data-state={run.state}>
      {run.state === "running" && (
        <div className="lab-working">
          <p role="status" className="loading-text">{progress(step)}</p>
          <progress max={step?.total || 1} value={step && step.total > 0 ? step.done : undefined} aria-label={step?.what ?? "waiting"} />
          <button type="button" className="button small" data-testid="lab-stop" onClick={() => stop(method)}>Stop</button>
        </div>
      )}
      {gate && ("task" in gate ? <TaskGateCard gate={gate} /> : <Gate report={gate} stops={method !== "behaviour"} />)}
      {run.state === "failed" && <Failure error={run.error} again={() => void start(method)} stopped={gate ? "Only the gate is shown, since the method was not finished." : undefined} />}
      {run.state === "done" && run.reply && <Result method={method} reply={run.reply} asked={run.asked as Asked} />}
    </div>
  );
}

/** The method's picture; where the gate says no there is none. */
function Result({ method, reply, asked }: { method: LabMethod; reply: Replies[LabMethod]; asked: Asked }) {
  if ("ladder" in reply) return <LadderResult reply={reply as LadderReply} />;
  if (!reply.shown) return null;
  switch (method) {
    case "lens": return <LensResult report={(reply as LensReply).report!} />;
    case "trace": return <TraceResult report={(reply as TraceReply).report!} />;
    case "knockout": return <KnockoutResult report={(reply as KnockoutReply).report!} />;
    case "patchscope": return <PatchscopeResult reply={reply as PatchscopeReply} />;
    case "neurons": return <NeuronsResult report={(reply as NeuronsReply).report!} asked={asked} />;
    case "direction": return <DirectionResult reply={reply as DirectionReply} />;
    case "circuit": return <CircuitResult reply={reply as CircuitReply} />;
    case "function": return <FunctionResult report={(reply as FunctionReply).report!} />;
    default: return null;
  }
}
