import { unitAddress } from "../logic/route";
import { withoutPolarity } from "../logic/unitname";
import { UnitView } from "./UnitView";

export function UnitPage({ unit }: { unit: string }) {
  const go = (event: React.FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const name = String(new FormData(event.currentTarget).get("unit") ?? "").trim();
    if (name) location.hash = unitAddress(name);
  };
  return (
    <main className="page-view unit-page-view">
      <header className="view-head">
        <h1 className="unit-title">{withoutPolarity(unit)}</h1>
        <form className="row jump" onSubmit={go}><input name="unit" aria-label="Go to a unit" placeholder="mlp_act.3/1054+" /><button type="submit" className="button small">Go</button></form>
      </header>
      <UnitView key={unit} unit={unit} />
    </main>
  );
}
