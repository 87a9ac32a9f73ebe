// Neurons: what was predicted, what replacing each truly did, and its controls; one neuron's doses on demand.
import { hashKey, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { labEvents } from "../../api/lab";
import type { Asked, Changes, Correlation, Interval, NeuronsReply, NeuronsReport } from "../../api/labtypes";
import { SignedBar } from "../../components/Bar";
import { Failure, Loading } from "../../components/States";
import { number, signed, two } from "../../logic/format";
import { unitAddress } from "../../logic/route";
import { stoppable } from "../../state/stopping";
import { useStatus } from "../../state/queries";
import { type Line, LineChart, type Look } from "./LineChart";

const sizes = (changes: Changes) => [changes.zero.value, changes.mean.value, changes.resample?.value ?? 0].map(Math.abs);
const within = (of: Interval) => `${signed(of.value)} (95% interval ${signed(of.low)} to ${signed(of.high)}, ${of.n} items)`;

/** A change with its bar; what could not be measured says so. */
function Change({ of, most, wide }: { of: Interval | null; most: number; wide?: boolean }) {
  if (!of) return <td className="num lab-change" title="Some item has no counterfactual of its length">–</td>;
  return <td className={`num lab-change${wide ? " is-first" : ""}`} title={within(of)}>{signed(of.value)}<SignedBar value={of.value} most={most} /></td>;
}

const Three = ({ of, most }: { of: Changes; most: number }) => <><Change of={of.zero} most={most} wide /><Change of={of.mean} most={most} /><Change of={of.resample} most={most} /></>;

const Heads = ({ first, off }: { first: React.ReactNode; off: string }) => (
  <thead>
    <tr>{first}<th colSpan={3} scope="colgroup">change of the log-odds when replaced by</th><th scope="colgroup" className="is-first">off-task</th><th colSpan={3} scope="colgroup" className="is-first">random neurons of the same layers</th></tr>
    <tr><th scope="col" className="num is-first">zero</th><th scope="col" className="num">mean</th><th scope="col" className="num">resample</th><th scope="col" className="num is-first">{off}: zero</th><th scope="col" className="num is-first">zero</th><th scope="col" className="num">mean</th><th scope="col" className="num">resample</th></tr>
  </thead>
);

export function NeuronsResult({ report, asked }: { report: NeuronsReport; asked: Asked }) {
  const [unit, setUnit] = useState<string | null>(null);
  const atlas = useStatus().data?.atlas != null;
  const off = report.off_task?.behaviour ?? "";
  const most = Math.max(...report.measured.flatMap((one) => [...sizes(one.change), ...sizes(one.random_change), Math.abs(one.off_task.value)]));
  return (
    <>
      <section className="lab-card" aria-labelledby="lab-neurons-title" data-testid="lab-neurons">
        <h2 id="lab-neurons-title">Neurons by {report.by} effect</h2>
        <p className="faint">Predicted: the direct path to the logits, and all paths to first order. Then truly replaced, at every token but the first. A neuron that helps has a positive prediction and a negative change. Choose one to see its dose and response.</p>
        <div className="lab-scroll" tabIndex={0} role="group" aria-labelledby="lab-neurons-title">
          <table className="lab-table lab-neurons">
            <Heads off={off} first={<><th scope="col" rowSpan={2}>neuron</th><th scope="col" rowSpan={2} className="num">direct</th><th scope="col" rowSpan={2} className="num">gradient</th></>} />
            <tbody>
              {report.ranked.map((effect, i) => {
                const one = report.measured[i]!;
                return (
                  <tr key={effect.unit} className={effect.unit === unit ? "is-chosen" : ""}>
                    <th scope="row"><button type="button" className="unit-name link" aria-expanded={effect.unit === unit} data-testid={`lab-unit-${i}`} data-unit={effect.unit} onClick={() => setUnit(effect.unit === unit ? null : effect.unit)}>{effect.unit}</button></th>
                    <td className="num">{signed(effect.direct)}</td><td className="num">{signed(effect.gradient)}</td>
                    <Three of={one.change} most={most} /><Change of={one.off_task} most={most} wide /><Three of={one.random_change} most={most} />
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
        <Agreement name="direct" of={report.direct_rank_correlation} /><Agreement name="gradient" of={report.gradient_rank_correlation} />
      </section>
      {unit && <Doses key={unit} unit={unit} asked={asked} atlas={atlas} />}
      <Groups report={report} off={off} />
    </>
  );
}

function Agreement({ name, of }: { name: string; of: Correlation | null }) {
  if (!of) return null;
  return <p className="faint">The {name} effect and the truth (zero) agree in rank by {two(of.rho)} ({two(of.low)} to {two(of.high)}) over {of.n} neurons, half of them random.</p>;
}

function Groups({ report, off }: { report: NeuronsReport; off: string }) {
  const most = Math.max(...report.groups.flatMap((group) => [...sizes(group.change), ...sizes(group.random_change), Math.abs(group.off_task.value)]));
  return (
    <section className="lab-card" aria-labelledby="lab-groups-title" data-testid="lab-groups">
      <h2 id="lab-groups-title">Together</h2>
      <p className="faint">The foremost neurons replaced at once. Accuracy is under zero: {two(report.gate.accuracy.value)} as the model is.</p>
      <div className="lab-scroll" tabIndex={0} role="group" aria-labelledby="lab-groups-title">
        <table className="lab-table lab-neurons">
          <Heads off={off} first={<><th scope="col" rowSpan={2} className="num">foremost</th><th scope="col" rowSpan={2} className="num">accuracy</th><th scope="col" rowSpan={2} className="num">of random ones</th></>} />
          <tbody>
            {report.groups.map((group) => (
              <tr key={group.k}><th scope="row" className="num">{group.k}</th><td className="num" title={within(group.change.accuracy)}>{two(group.change.accuracy.value)}</td><td className="num">{two(group.random_change.accuracy.value)}</td>
                <Three of={group.change} most={most} /><Change of={group.off_task} most={most} wide /><Three of={group.random_change} most={most} /></tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

const LOOKS: Look[] = ["second", "third", "fourth"];

/** One neuron's activation multiplied, and what the model then answers. */
function Doses({ unit, asked, atlas }: { unit: string; asked: Asked; atlas: boolean }) {
  const { what, items, seed } = asked;
  const key = ["lab-doses", what, items, seed, unit];
  const reply = useQuery({
    queryKey: key,
    queryFn: ({ signal }) => stoppable(hashKey(key), signal, async (stops) => {
      for await (const event of labEvents<NeuronsReply>("neurons", { what, items, seed, unit }, stops)) if (event.kind === "done" && event.reply.report) return event.reply.report.doses;
      throw new Error("The answer broke off.");
    }),
  });
  const doses = reply.data ?? [];
  const classes = Object.keys(doses[0]?.by_class ?? {});
  const lines: Line[] = [
    { name: "all items", look: "main", points: doses.map((dose) => [dose.factor, dose.log_odds.value]), band: doses.map((dose) => [dose.factor, dose.log_odds.low, dose.log_odds.high]) },
    ...classes.map((name, i): Line => ({ name, look: LOOKS[i % 3]!, points: doses.map((dose) => [dose.factor, dose.by_class[name] ?? NaN]) })),
  ];
  return (
    <section className="lab-card" aria-labelledby="lab-doses-title" data-testid="lab-doses">
      <div className="row wrap"><h2 id="lab-doses-title"><span className="unit-name">{unit}</span>: dose and response</h2><span className="spacer" /><a className="link" href={unitAddress(unit)} data-testid="lab-unit-page">{atlas ? "What it responds to" : "The unit’s page"}</a></div>
      {reply.isError ? <Failure error={reply.error} again={() => void reply.refetch()} /> : !reply.data ? <Loading what="Multiplying its activation…" rows={6} /> : (
        <>
          <LineChart name={`Log-odds against the factor on the activation of ${unit}`} x="factor on its activation (1: as the model is, 0: off)" y="log-odds of right against wrong; the band is the 95% interval of all items" lines={lines} always={[0]} at={1} testid="lab-dose-chart" />
          <div className="lab-scroll" tabIndex={0} role="group" aria-label="The numbers of the curve">
            <table className="lab-table"><thead><tr><th scope="col" className="num">factor</th><th scope="col" className="num">log-odds</th><th scope="col" className="num">interval</th><th scope="col" className="num">accuracy</th>{classes.map((name) => <th key={name} scope="col" className="num">{name}</th>)}</tr></thead>
              <tbody>{doses.map((dose) => <tr key={dose.factor}><th scope="row" className="num">{number(dose.factor)}</th><td className="num">{signed(dose.log_odds.value)}</td><td className="num">{signed(dose.log_odds.low)} to {signed(dose.log_odds.high)}</td><td className="num">{two(dose.accuracy.value)}</td>{classes.map((name) => <td key={name} className="num">{signed(dose.by_class[name])}</td>)}</tr>)}</tbody></table>
          </div>
        </>
      )}
    </section>
  );
}
