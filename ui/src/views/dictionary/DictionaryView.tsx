// A dictionary as a whole: its facts, how its latents are spread, where they lie, and which they are.
import { useEffect, useMemo } from "react";
import type { DictionaryReply } from "../../api/dictionary";
import { Empty, Failure, Loading } from "../../components/States";
import { ordered } from "../../logic/latents";
import { dictionaryAddress } from "../../logic/route";
import { look, useDictionary, useDictionaryPage, useFound, useLatents } from "../../state/dictionary";
import { useStatus } from "../../state/queries";
import { Distributions } from "./Distributions";
import { Facts } from "./Facts";
import { LatentList } from "./LatentList";
import { MapPanel } from "./MapPanel";

export function DictionaryView({ name }: { name: string | null }) {
  const { data: status, ...asked } = useStatus();
  const served = status?.dictionaries ?? [], chosen = name ?? served[0]?.name ?? null;
  return (
    <main className="page-view dictionary-view" data-testid="dictionary-view">
      <header className="view-head">
        <h1>Dictionary</h1>
        {served.length > 1 && (
          <label className="inline-field">of
            <select value={chosen ?? ""} data-testid="dictionary-choose" onChange={(event) => { location.hash = dictionaryAddress(event.target.value); }}>
              {chosen !== null && !served.some((one) => one.name === chosen) && <option value={chosen}>{chosen}</option>}
              {served.map((one) => <option key={one.name} value={one.name}>{one.name} at {one.site}</option>)}
            </select>
          </label>
        )}
        <p className="faint lead">All latents of a sparse autoencoder: what they respond to, how often, and where their directions lie.</p>
      </header>
      {!status ? asked.isError ? <Failure error={asked.error} again={() => void asked.refetch()} /> : <Loading what="Looking for dictionaries…" />
        : served.length === 0 ? <NoDictionary model={status.model.name} /> : chosen !== null && <Whole key={chosen} name={chosen} />}
      {name !== null && served.length > 0 && !served.some((one) => one.name === name) && <p className="row wrap">This server has {served.map((one) => <a key={one.name} href={dictionaryAddress(one.name)}>{one.name}</a>)}</p>}
    </main>
  );
}

function NoDictionary({ model }: { model: string }) {
  return (
    <div data-testid="dictionary-none">
      <Empty title="No dictionary is loaded">
        <p>A dictionary (a sparse autoencoder) splits what a site holds into many latents, most of them silent at any time. Their files come from SAELens, Gemma Scope, Llama Scope and others, or from a training of your own. Start the server with one:</p>
        <pre className="command"><code>pellucid serve --model {model} --dictionary NAME=PATH</code></pre>
        <p>One of your own takes minutes to hours:</p>
        <pre className="command"><code>pellucid dict train --model {model} --site resid_post.15 --out PATH</code></pre>
      </Empty>
    </div>
  );
}

function Whole({ name }: { name: string }) {
  useEffect(() => look(name), [name]);
  const of = useDictionary(name);
  if (of.isError && !of.data) return <Failure error={of.error} title="This dictionary cannot be shown" again={() => void of.refetch()} />;
  if (!of.data) return <Loading what="Reading the dictionary…" rows={8} />;
  return <Shown of={of.data} />;
}

function Shown({ of }: { of: DictionaryReply }) {
  // an atlas that has grown is another one
  const made = of.atlas === null ? null : `${of.atlas.path} ${of.atlas.tokens} ${of.atlas.described}`;
  const numbers = useLatents(of.name, made);
  const query = useDictionaryPage((s) => s.query), meaning = useDictionaryPage((s) => s.meaning);
  const selected = useDictionaryPage((s) => s.selected), order = useDictionaryPage((s) => s.order);
  const found = useFound(of.name, made === null ? "" : query, meaning);
  const data = numbers.data ?? null, hits = query.trim() === "" ? null : found.data ?? null;
  const shown = useMemo(() => {
    const all = hits ?? selected ?? Array.from({ length: of.latents }, (_, i) => i);
    const chosen = hits && selected ? new Set(selected) : null;
    return ordered(chosen ? all.filter((latent) => chosen.has(latent)) : all, data, order);
  }, [hits, selected, order, data, of.latents]);
  const marked = useMemo(() => {
    if (!hits && !selected) return null;
    const mask = new Uint8Array(of.latents);
    for (const latent of shown) mask[latent] = 1;
    return mask;
  }, [shown, hits, selected, of.latents]);
  return (
    <>
      <Facts of={of} />
      {of.atlas_fault !== null && <Failure error={of.atlas_fault} title="Its atlas cannot be used" />}
      {of.atlas === null && of.atlas_fault === null && <NoAtlas of={of} />}
      {numbers.isError && <Failure error={numbers.error} title="The numbers of its latents cannot be read" again={() => void numbers.refetch()} />}
      {of.atlas && data && <Distributions atlas={of.atlas} data={data} />}
      {of.atlas && !data && !numbers.isError && <Loading what="Reading the numbers of its latents…" rows={5} />}
      <div className="dictionary-body">
        <MapPanel of={of} made={made} data={data} marked={marked} shown={shown} />
        <LatentList of={of} made={made} data={data} shown={shown} searching={found.isFetching} fault={found.isError ? found.error : null} />
      </div>
    </>
  );
}

function NoAtlas({ of }: { of: DictionaryReply }) {
  return (
    <div className="dictionary-note" data-testid="dictionary-no-atlas">
      <p><strong>These latents have no atlas yet.</strong> So there are no descriptions, no densities and no examples: the map below shows directions alone. This makes it, from text that the model reads:</p>
      <pre className="command"><code>{of.build}</code></pre>
    </div>
  );
}
