import { useMutation } from "@tanstack/react-query";
import { makeAtlas } from "../api/calls";
import { Failure } from "../components/States";
import { useJobs, useStatus } from "../state/queries";
import { client } from "../state/client";

/** No atlas: what is missing without it, and how to make one. */
export function AtlasHelp() {
  const { data: status } = useStatus();
  const building = useJobs().length > 0;
  const make = useMutation({ mutationFn: () => makeAtlas(20_000), onSettled: () => client.invalidateQueries({ queryKey: ["jobs"] }) });
  return (
    <div className="empty" data-testid="atlas-help">
      <p className="empty-title">This model has no atlas yet</p>
      <div className="empty-text">
        <p>The atlas holds each neuron's description, typical strength and examples. Without it you see effects and raw activations, but no words and no clusters.</p>
        {status?.builds && <p><button type="button" className="button primary" data-testid="build-atlas" disabled={make.isPending || building} onClick={() => make.mutate()}>{building ? "Building…" : "Build a small atlas now"}</button></p>}
        <p className="faint">Or from the command line: <code>pellucid atlas build --model {status?.model.name ?? "MODEL"}</code></p>
        {make.isError && <Failure error={make.error} />}
      </div>
    </div>
  );
}
