// The map of all latents, or how far it is; its colours, and what is chosen on it.
import { useMemo } from "react";
import { cancelJob } from "../../api/calls";
import type { DictionaryReply, LatentsReply } from "../../api/dictionary";
import { Empty, Failure } from "../../components/States";
import { number, percent, two } from "../../logic/format";
import { type Colour, shading, type Shading } from "../../logic/latents";
import { dictionaryPage, select, useDictionaryPage, useLatentMap } from "../../state/dictionary";
import { LatentMap } from "./LatentMap";
import { useRamp } from "./useRamp";

interface Props { of: DictionaryReply; made: string | null; data: LatentsReply | null; marked: Uint8Array | null; shown: number[] }

const COLOURS: { value: Colour; text: string; say: (value: number) => string }[] = [
  { value: "score", text: "score (r)", say: two },
  { value: "density", text: "density", say: percent },
  { value: "most", text: "largest activation", say: number },
];

export function MapPanel({ of, made, data, marked, shown }: Props) {
  const reply = useLatentMap(of.name);
  const wanted = useDictionaryPage((s) => s.colour);
  const colour = data === null ? "none" : wanted;
  const shades = useMemo(() => shading(of.latents, data, colour), [of.latents, data, colour]);
  const map = reply.data?.map ?? null, job = reply.data?.job ?? null;
  return (
    <section className="latent-map panel" aria-labelledby="latent-map-title" data-testid="dictionary-map-panel" data-state={map ? "ready" : reply.isError ? "failed" : "making"}>
      <header className="panel-head">
        <h2 id="latent-map-title">Map</h2>
        <div className="panel-tools">
          {data && (
            <label className="inline-field">colour
              <select value={wanted} data-testid="dictionary-colour" onChange={(event) => dictionaryPage.set({ colour: event.target.value as Colour })}>{COLOURS.map((one) => <option key={one.value} value={one.value}>{one.text}</option>)}</select>
            </label>
          )}
        </div>
      </header>
      {reply.isError ? <div className="latent-frame"><Failure error={reply.error} title="The map could not be made" stopped="The map was not finished; the list has all latents." again={() => void reply.refetch()} /></div>
        : !map ? (
          <div className="latent-frame is-waiting" data-testid="dictionary-map-making">
            <Empty title="Making the map">
              <p>Once for this dictionary: the nearest neighbours of all {of.latents.toLocaleString("en-GB")} directions, then their places. It is kept.</p>
              <progress max={job?.total || 1} value={job && job.total > 0 ? job.done : undefined} aria-label={job?.message || "waiting"} />
              <p className="faint num" role="status">{job?.message || "waiting"}{job && job.total > 0 ? `, ${percent(job.done / job.total)}` : ""}</p>
              {job && <button type="button" className="button small" data-testid="dictionary-map-stop" onClick={() => void cancelJob(job.id)}>Stop</button>}
            </Empty>
          </div>
        ) : <LatentMap of={of} made={made} data={data} map={map} shading={shades} marked={marked} onSelect={(latents) => select(latents.length > 0 ? latents : null, "selected on the map")} />}
      <footer className="latent-foot">
        {data && colour !== "none" && <Legend shading={shades} say={COLOURS.find((one) => one.value === colour)!.say} name={COLOURS.find((one) => one.value === colour)!.text} />}
        <p className="faint">UMAP of decoder directions by cosine, 15 neighbours. Alike directions tend to lie close, but a plane keeps few of their neighbours, and how far groups lie apart says little.{marked ? ` ${shown.length.toLocaleString("en-GB")} are marked.` : ""}</p>
      </footer>
    </section>
  );
}

function Legend({ shading: { ends, shades }, say, name }: { shading: Shading; say: (value: number) => string; name: string }) {
  const colours = useRamp();
  const lacking = shades.reduce((sum, shade) => sum + Number(shade < 0), 0);
  return (
    <p className="latent-legend" aria-label={`Colours: ${name} from ${say(ends[0])} to ${say(ends[1])}`} role="img">
      <span className="num">{say(ends[0])}</span><span className="latent-ramp" style={{ background: `linear-gradient(90deg, ${colours.join(", ")})` }} /><span className="num">{say(ends[1])}</span>
      {lacking > 0 && <><span className="latent-lacking" />none: <span className="num">{lacking.toLocaleString("en-GB")}</span></>}
    </p>
  );
}
