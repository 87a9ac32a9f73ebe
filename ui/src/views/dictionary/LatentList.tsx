// The latents that are shown, row by row: everything that the map says, for keys and readers.
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, memo, useEffect, useMemo, useRef } from "react";
import type { DictionaryReply, LatentsReply } from "../../api/dictionary";
import type { Words } from "../../api/types";
import { Icon } from "../../components/Icon";
import { Failure } from "../../components/States";
import { interval, number, percent, two } from "../../logic/format";
import { type SortBy, valueOf } from "../../logic/latents";
import { unitAddress } from "../../logic/route";
import { dictionaryPage, FOUND, pointing, search, select, useDictionaryPage, useWords } from "../../state/dictionary";
import { useStore } from "../../state/store";

interface Props { of: DictionaryReply; made: string | null; data: LatentsReply | null; shown: number[]; searching: boolean; fault: unknown }

const ROW = 46;
const address = (of: DictionaryReply, latent: number) => unitAddress(`sae:${of.name}/${latent}`);

export function LatentList({ of, made, data, shown, searching, fault }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const order = useDictionaryPage((s) => s.order), query = useDictionaryPage((s) => s.query), selected = useDictionaryPage((s) => s.selected);
  const list = useVirtualizer({ count: shown.length, getScrollElement: () => scroller.current, estimateSize: () => ROW, overscan: 10, getItemKey: (i) => shown[i]! });
  const items = list.getVirtualItems();
  const wanted = useMemo(() => items.map((item) => shown[item.index]!), [items, shown]);
  const { words, error } = useWords(of.name, made, wanted);
  useEffect(() => { scroller.current?.scrollTo({ top: 0 }); }, [order, query, selected]);
  useEffect(() => () => pointing.set({ latent: null }), []);
  const onKeyDown = (event: KeyboardEvent) => {
    const row = event.target as HTMLElement;
    if (row.dataset.index === undefined) return;
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(shown.length - 1, Number(row.dataset.index) + step));
    list.scrollToIndex(next);
    requestAnimationFrame(() => scroller.current?.querySelector<HTMLElement>(`[data-index="${next}"]`)?.focus());
  };
  return (
    <section className="latent-list panel" aria-label="Latents" data-testid="dictionary-list">
      <Search of={of} enabled={made !== null} />
      <Chips shown={shown.length} all={of.latents} searching={searching} />
      {fault !== null && <Failure error={fault} title="The search failed" />}
      {error && <Failure error={error} title="Descriptions cannot be read" />}
      <div role="table" aria-label="Latents" aria-rowcount={shown.length + 1} className="latent-table" data-testid="dictionary-table" data-rows={shown.length}>
        <div role="rowgroup">
          <div role="row" aria-rowindex={1} className="latent-row latent-head">
            <Head by="index" label="latent" down={false} /><span role="columnheader" className="l-words">description</span>
            <Head by="score" label="r" title="How well the description tells the activation on held-out text" /><Head by="density" label="active" title="Share of tokens with a value above 0" /><Head by="most" label="max" title="The largest activation in the atlas's corpus" />
          </div>
        </div>
        <div ref={scroller} className="latent-scroll" role="rowgroup" onKeyDown={onKeyDown} onMouseLeave={() => pointing.set({ latent: null })}>
          <div role="presentation" style={{ height: list.getTotalSize(), position: "relative" }}>
            {items.map((item) => (
              <Row key={item.key} of={of} latent={shown[item.index]!} index={item.index} top={item.start} data={data} words={words(shown[item.index]!)} />
            ))}
          </div>
          {shown.length === 0 && !searching && <p className="faint latent-none">{query.trim() ? `No description ${dictionaryPage.get().meaning ? "means" : "holds"} “${query.trim()}”${selected ? " among those selected" : ""}.` : "None."}</p>}
        </div>
      </div>
    </section>
  );
}

function Search({ of, enabled }: { of: DictionaryReply; enabled: boolean }) {
  const query = useDictionaryPage((s) => s.query), meaning = useDictionaryPage((s) => s.meaning);
  return (
    <div className="latent-search">
      <input type="search" value={query} disabled={!enabled} data-testid="dictionary-search" data-hotkey="filter" aria-label="Search descriptions" placeholder={enabled ? "Search descriptions (/)" : "No descriptions to search without an atlas"} onChange={(event) => search(event.target.value)} />
      {of.atlas?.embeddings && (
        <div className="segmented" role="group" aria-label="Search by">
          <button type="button" aria-pressed={!meaning} data-testid="dictionary-by-words" title="All words must stand in the description" onClick={() => dictionaryPage.set({ meaning: false })}>words</button>
          <button type="button" aria-pressed={meaning} data-testid="dictionary-by-meaning" title="The nearest in meaning" onClick={() => dictionaryPage.set({ meaning: true })}>meaning</button>
        </div>
      )}
    </div>
  );
}

/** What the list is of, and how to have all of it again. */
function Chips({ shown, all, searching }: { shown: number; all: number; searching: boolean }) {
  const query = useDictionaryPage((s) => s.query), selected = useDictionaryPage((s) => s.selected), by = useDictionaryPage((s) => s.selectedBy);
  const order = useDictionaryPage((s) => s.order);
  const searched = query.trim() !== "";
  return (
    <div className="latent-chips" role="status" data-testid="dictionary-shown">
      <span className="num">{searching ? "searching…" : searched || selected ? `${shown.toLocaleString("en-GB")} of ${all.toLocaleString("en-GB")} latents` : `${all.toLocaleString("en-GB")} latents`}{searched && shown === FOUND ? ", the nearest ones" : ""}</span>
      {searched && order.by !== "near" && <button type="button" className="link" onClick={() => dictionaryPage.set({ order: { by: "near", down: true } })}>nearest first</button>}
      {selected && <button type="button" className="chip" data-testid="dictionary-unselect" title="Show all again" onClick={() => select(null)}>{by}<Icon name="close" size={11} /><span className="visually-hidden">: let go</span></button>}
    </div>
  );
}

function Head({ by, label, title, down = true }: { by: SortBy; label: string; title?: string; down?: boolean }) {
  const order = useDictionaryPage((s) => s.order), on = order.by === by;
  return (
    <span role="columnheader" className={`l-${by}`} aria-sort={on ? (order.down ? "descending" : "ascending") : "none"}>
      <button type="button" title={title} data-testid={`dictionary-sort-${by}`} onClick={() => dictionaryPage.set({ order: { by, down: on ? !order.down : down } })}>{label}{on && <Icon name={order.down ? "down" : "up"} size={10} />}</button>
    </span>
  );
}

interface RowProps { of: DictionaryReply; latent: number; index: number; top: number; data: LatentsReply | null; words: Words | null | undefined }

const Row = memo(function Row({ of, latent, index, top, data, words }: RowProps) {
  const pointed = useStore(pointing, (s) => s.latent === latent);
  const score = valueOf(data, "score", latent);
  const open = () => { location.hash = address(of, latent); };
  return (
    <div role="row" aria-rowindex={index + 2} data-index={index} data-latent={latent} data-testid={`dictionary-row-${index}`} tabIndex={0} className={`latent-row can-open${pointed ? " is-pointed" : ""}`} style={{ transform: `translateY(${top}px)` }}
      onMouseEnter={() => pointing.set({ latent })} onFocus={() => pointing.set({ latent })} onClick={(event) => { if (!(event.target as HTMLElement).closest("a")) open(); }}
      onKeyDown={(event) => { if (event.key === "Enter" && event.target === event.currentTarget) open(); }}>
      <span role="cell" className="l-index"><a className="unit-name" href={address(of, latent)} tabIndex={-1}>/{latent}</a></span>
      <span role="cell" className="l-words">{words === undefined ? <span className="bone" /> : words ? <span className="words-text" title={words.text}>{words.text}</span> : <span className="no-words">no description</span>}</span>
      <span role="cell" className="l-score num" title={words?.score != null ? `r ${two(words.score)}${words.interval ? `, 95% interval ${interval(words.interval)}` : ""}${words.null !== null ? `; another latent's words reach ${two(words.null)}` : ""}. Written by ${words.explainer}.` : undefined}>{two(score)}</span>
      <span role="cell" className="l-density num">{percent(valueOf(data, "density", latent))}</span>
      <span role="cell" className="l-most num">{number(valueOf(data, "most", latent))}</span>
    </div>
  );
});
