import { Popover } from "radix-ui";
import { cancelJob } from "../api/calls";
import type { Status } from "../api/types";
import { IconButton } from "../components/IconButton";
import { ShareBar } from "../components/Bar";
import { percent } from "../logic/format";
import { AtlasHelp } from "../panels/AtlasHelp";
import { client } from "../state/client";
import { useJobs } from "../state/queries";

/** How far this model's units have been described, and work in progress. */
export function AtlasState({ status }: { status: Status }) {
  const { atlas } = status;
  const active = useJobs();
  return (
    <Popover.Root>
      <Popover.Trigger className={`atlas-chip${atlas ? "" : " is-missing"}`} data-testid="atlas-state">
        {active[0] ? `atlas: ${active[0].total > 0 ? percent(active[0].done / active[0].total) : "starting"}`
          : atlas ? `${atlas.described.toLocaleString("en-GB")} described${atlas.partial ? " · partial" : ""}` : "no atlas yet"}
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content className="popover" sideOffset={6} align="end" collisionPadding={8} aria-label="Atlas">
          {atlas ? (
            <>
              <h3>Atlas of this model</h3>
              <p>{atlas.described.toLocaleString("en-GB")} of {atlas.sides.toLocaleString("en-GB")} sides of {atlas.units.toLocaleString("en-GB")} neurons are described, from {atlas.tokens.toLocaleString("en-GB")} tokens of {atlas.corpus}.</p>
              {atlas.partial && <p className="warn-text">Partial: it is still growing, or was stopped early. What is not described yet has effects but no words.</p>}
              <p className="faint">{atlas.embeddings ? "Search by meaning works." : "No embeddings: concepts are matched by their words, not their meaning."}</p>
            </>
          ) : <AtlasHelp />}
          {active.map((job) => (
            <div key={job.id} className="job" data-testid={`job-${job.id}`}>
              <p>{job.kind}: {job.message || job.state}</p>
              <div className="row"><ShareBar share={job.total > 0 ? job.done / job.total : 0} /><IconButton icon="stop" label="Stop this job" className="quiet tiny" data-testid={`job-stop-${job.id}`} onClick={() => void cancelJob(job.id).finally(() => client.invalidateQueries({ queryKey: ["jobs"] }))} /></div>
            </div>
          ))}
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}
