import { IconButton } from "../components/IconButton";
import type { Turn } from "../logic/specs";
import { turnUnits } from "../state/steering";

const TURNS: { turn: Turn; label: string; icon: "close" | "down" | "up" }[] = [
  { turn: "off", label: "Turn off", icon: "close" }, { turn: "down", label: "Turn down (half)", icon: "down" }, { turn: "up", label: "Turn up (double)", icon: "up" },
];

/** Off, down, up: each adds a steering spec, and the steered answer follows. */
export function TurnButtons({ label, units, sites, testid, words }: { label: string; units: string[]; sites?: string[]; testid: string; words?: boolean }) {
  return (
    <span className="turns" role="group" aria-label={`Steer ${label}`}>
      {TURNS.map(({ turn, label: text, icon }) => words ? (
        <button key={turn} type="button" className="button small quiet" data-testid={testid.replace("{}", turn)} onClick={() => turnUnits(turn, label, units, sites)}>
          {text.replace(/ \(.*/, "")}
        </button>
      ) : (
        <IconButton key={turn} icon={icon} label={`${text}: ${label}`} className="quiet tiny" data-testid={testid.replace("{}", turn)}
          onClick={(event) => { event.stopPropagation(); turnUnits(turn, label, units, sites); }} />
      ))}
    </span>
  );
}
