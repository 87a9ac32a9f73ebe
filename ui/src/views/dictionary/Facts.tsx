// What the dictionary is, what its card says it is worth, and what its atlas was made of.
import type { ReactNode } from "react";
import type { DictionaryCard, DictionaryReply } from "../../api/dictionary";
import { Hint } from "../../components/Hint";
import { number, percent } from "../../logic/format";

const whole = (n: number) => n.toLocaleString("en-GB");
const short = (hash: string) => (hash.length > 14 ? `${hash.slice(0, 12)}…` : hash);

function Fact({ name, hint, children }: { name: string; hint?: string; children: ReactNode }) {
  const value = <span className="num" tabIndex={hint ? 0 : undefined}>{children}</span>;
  return <div className="fact"><dt>{name}</dt><dd>{hint ? <Hint text={hint}>{value}</Hint> : value}</dd></div>;
}

export function Facts({ of }: { of: DictionaryReply }) {
  return (
    <div className="dictionary-facts" data-testid="dictionary-facts">
      <section aria-labelledby="facts-what">
        <h2 id="facts-what">{of.name}</h2>
        <dl>
          <Fact name="Site"><code>{of.site}</code></Fact>
          <Fact name="Latents" hint={`${number(of.latents / of.width)} for each of the site's ${whole(of.width)} coordinates`}>{whole(of.latents)}</Fact>
          <Fact name="Width">{whole(of.width)}</Fact>
          {of.activation && <Fact name="Activation">{of.activation}</Fact>}
          {of.format && <Fact name="Format" hint={of.path ?? undefined}>{of.format}</Fact>}
          <Fact name="Hash" hint={`sha256 of its numbers: ${of.hash}`}><code>{short(of.hash)}</code></Fact>
        </dl>
      </section>
      <section aria-labelledby="facts-card" data-testid="dictionary-card">
        <h2 id="facts-card">Its card</h2>
        {of.card ? <Card card={of.card} ours={of.card_of_model} /> : (
          <>
            {of.card_fault ? <p className="warn-text">{of.card_fault}</p> : <p className="faint">Its files have no card. This measures explained variance, L0 and recovered loss on text:</p>}
            <pre className="command"><code>{of.judge}</code></pre>
          </>
        )}
      </section>
      {of.atlas && (
        <section aria-labelledby="facts-atlas" data-testid="dictionary-atlas">
          <h2 id="facts-atlas">Its atlas</h2>
          <dl>
            <Fact name="Made of">{whole(of.atlas.tokens)} tokens</Fact>
            <Fact name="Corpus" hint={`sha256 of the corpus: ${of.atlas.corpus}`}><code>{short(of.atlas.corpus)}</code></Fact>
            <Fact name="Described">{whole(of.atlas.described)} of {whole(of.latents)}</Fact>
            <Fact name="Seed">{of.atlas.seed}</Fact>
            <Fact name="Made by" hint={of.atlas.path}>pellucid {of.atlas.code}</Fact>
          </dl>
        </section>
      )}
    </div>
  );
}

const nats = (value: number | null) => (value === null ? "–" : value.toFixed(3));

function Card({ card, ours }: { card: DictionaryCard; ours: boolean | null }) {
  const rows = card.rows === null ? "held-out rows" : `${whole(card.rows)} held-out rows`;
  return (
    <>
      {ours === false && <p className="warn-text">This card is about another model ({short(card.model_hash ?? "")}): its numbers need not hold here.</p>}
      <dl>
        {card.explained_variance !== null && <Fact name="Explained variance" hint={`1 − FVU on ${rows}; each coordinate's mean is removed from the total`}>{percent(card.explained_variance)}</Fact>}
        {card.recovered_from_mean !== null && <Fact name="Loss recovered" hint={`Next-token loss in nats: ${nats(card.loss)} as the model is, ${nats(card.loss_spliced)} with the reconstruction, ${nats(card.loss_mean)} with the site's mean, ${nats(card.loss_zero)} with zeros. Zeros flatter: most of what they cost is the mean.`}>{percent(card.recovered_from_mean)} <span className="faint">of the mean’s cost,</span> {percent(card.recovered_from_zero)} <span className="faint">of zeros’</span></Fact>}
        {card.l0 !== null && <Fact name="L0" hint={`Latents active at a time, on average over ${rows}`}>{number(card.l0)}</Fact>}
        {card.silent !== null && <Fact name="Silent" hint={`Latents that were not active on any of ${rows}`}>{percent(card.silent)}</Fact>}
        {card.trained_rows !== null && <Fact name="Trained on" hint={card.corpus ? `corpus ${card.corpus}` : undefined}>{whole(card.trained_rows)} rows{card.corpus && <> of <code>{short(card.corpus)}</code></>}</Fact>}
        {card.model && <Fact name="Of the model" hint={card.model_hash ?? undefined}>{card.model}</Fact>}
      </dl>
    </>
  );
}
