// One neuron or latent: what it responds to, in examples, numbers and words.
import { useQuery } from "@tanstack/react-query";
import { Tabs } from "radix-ui";
import { useState } from "react";
import { unit as fetchUnit } from "../api/calls";
import { Failure, Loading, Empty } from "../components/States";
import { number, percent } from "../logic/format";
import { parseUnit, withoutPolarity, withPolarity } from "../logic/unitname";
import { TurnButtons } from "../panels/TurnButtons";
import { UnitSide } from "./UnitSide";
import { UnitTest } from "./UnitTest";
import { TokenChips } from "./TokenChips";

export function UnitView({ unit }: { unit: string }) {
  const name = parseUnit(unit);
  const base = withoutPolarity(unit);
  const [side, setSide] = useState<"+" | "-">(name?.polarity ?? "+");
  const reply = useQuery({ queryKey: ["unit", base], queryFn: ({ signal }) => fetchUnit(base, 8, signal), enabled: name !== null && !name.head });
  if (!name) return <Empty title="Not a unit">“{unit}” is not the name of a unit. Names look like mlp_act.3/1054+.</Empty>;
  if (name.head) return <Empty title={`Attention head ${name.index} of layer ${name.layer}`}>Heads have effects and can be steered, but no page of their own yet: the atlas describes neurons.</Empty>;
  if (reply.isError) return <Failure error={reply.error} title="This unit could not be read" again={() => void reply.refetch()} />;
  if (!reply.data) return <Loading what="Reading the unit…" rows={10} />;
  const data = reply.data;
  const here = data.sides.find((one) => one.polarity === side);
  const minus = side === "-";
  return (
    <div className="unit-view" data-testid="unit-page" data-unit={unit}>
      <div className="unit-facts">
        {name.dictionary === null ? <span>layer <b className="num">{data.layer}</b></span> : <span>latent of <b>{name.dictionary}</b> at <b className="num">{data.site}</b></span>}<span>index <b className="num">{data.index}</b></span>
        {data.statistics && <><span>mean <b className="num">{number(data.statistics.mean)}</b> ± <b className="num">{number(data.statistics.deviation)}</b></span>
          <span>from <b className="num">{number(data.statistics.min)}</b> to <b className="num">{number(data.statistics.max)}</b></span>
          <span>over <b className="num">{data.statistics.count.toLocaleString("en-GB")}</b> tokens</span></>}
        {here && <><span>typical strength <b className="num">{number(here.scale)}</b></span><span>active on <b className="num">{percent(here.density)}</b> of tokens</span></>}
        <span className="spacer" />
        <TurnButtons label={withPolarity(base, side)} units={[withPolarity(base, side)]} testid="unit-page-{}" words />
      </div>
      <div className="unit-tokens">
        <TokenChips title={minus ? "Suppresses, when negative" : "Promotes"} sign={minus ? "-" : "+"} tokens={data.promoted} />
        <TokenChips title={minus ? "Promotes, when negative" : "Suppresses"} sign={minus ? "+" : "-"} tokens={data.suppressed} />
      </div>
      <UnitTest unit={withPolarity(base, side)} side={side} />
      <Tabs.Root value={side} onValueChange={(value) => setSide(value as "+" | "-")}>
        {name.dictionary === null && <Tabs.List className="tabs" aria-label="Polarity">
          <Tabs.Trigger value="+" data-testid="side-plus">+ positive side</Tabs.Trigger>
          <Tabs.Trigger value="-" data-testid="side-minus">− negative side</Tabs.Trigger>
        </Tabs.List>}
        <Tabs.Content value={side} tabIndex={-1}>
          {here ? <UnitSide unit={withPolarity(base, side)} base={base} side={here} />
            : <Empty title={data.sides.length === 0 ? "No atlas" : "Nothing on this side"}>{data.sides.length === 0 ? "Without an atlas there are no examples, descriptions or typical strength. The text box above still shows live activations." : "The corpus held no activation of this sign."}</Empty>}
        </Tabs.Content>
      </Tabs.Root>
    </div>
  );
}
